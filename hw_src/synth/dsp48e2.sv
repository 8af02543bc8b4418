// The DSP48E2 primitive as far as rtl/dsp.sv and the arrangements beside this file use it, from its
// data sheet's block diagram: pipeline registers, multiplexers X, Y, Z, W and the adder. For a
// simulation that compares it with the behaviour in dsp.sv, and as the declaration that synthesis
// takes for a black box.
//
// Not modelled, and refused when asked for: pre-adder, pattern detection, SIMD, inversions but that of
// Z, resets, registers of the control inputs.
module DSP48E2 #(
    parameter int AREG = 1,
    parameter int BREG = 1,
    parameter int ACASCREG = 1,
    parameter int BCASCREG = 1,
    parameter int ADREG = 1,
    parameter int DREG = 1,
    parameter int CREG = 1,
    parameter int MREG = 1,
    parameter int PREG = 1,
    parameter int ALUMODEREG = 1,
    parameter int INMODEREG = 1,
    parameter int OPMODEREG = 1,
    parameter int CARRYINREG = 1,
    parameter int CARRYINSELREG = 1
) (
    input  logic        CLK,
    input  logic [29:0] A,
    input  logic [17:0] B,
    input  logic [47:0] C,
    input  logic [26:0] D,
    input  logic [47:0] PCIN,
    input  logic [29:0] ACIN,
    input  logic [17:0] BCIN,
    input  logic        CARRYCASCIN,
    input  logic        MULTSIGNIN,
    input  logic        CARRYIN,
    input  logic [ 2:0] CARRYINSEL,
    input  logic [ 3:0] ALUMODE,
    input  logic [ 4:0] INMODE,
    input  logic [ 8:0] OPMODE,
    input  logic        CEA1,
    input  logic        CEA2,
    input  logic        CEB1,
    input  logic        CEB2,
    input  logic        CEC,
    input  logic        CEM,
    input  logic        CEP,
    input  logic        CEAD,
    input  logic        CED,
    input  logic        CEALUMODE,
    input  logic        CEINMODE,
    input  logic        CECTRL,
    input  logic        CECARRYIN,
    input  logic        RSTA,
    input  logic        RSTB,
    input  logic        RSTC,
    input  logic        RSTD,
    input  logic        RSTM,
    input  logic        RSTP,
    input  logic        RSTALUMODE,
    input  logic        RSTINMODE,
    input  logic        RSTCTRL,
    input  logic        RSTALLCARRYIN,
    output logic [47:0] P,
    output logic [47:0] PCOUT
);
  if (PREG != 1 || ALUMODEREG + INMODEREG + OPMODEREG + CARRYINREG + CARRYINSELREG != 0)
  begin : g_registers
    $error("only PREG = 1 and control inputs without registers are modelled");
  end

  // Operands: stage 1 is skipped with one register, both with none.
  logic [29:0] a1, a2, a;
  logic [17:0] b1, b2, b;
  logic [47:0] c_q, c;
  always_ff @(posedge CLK) begin
    if (CEA1) a1 <= A;
    if (CEA2) a2 <= AREG == 2 ? a1 : A;
    if (CEB1) b1 <= B;
    if (CEB2) b2 <= BREG == 2 ? b1 : B;
    if (CEC) c_q <= C;
  end
  assign a = AREG == 0 ? A : a2;
  assign b = BREG == 0 ? B : b2;
  assign c = CREG == 0 ? C : c_q;

  // The multiplier takes 27 bits of A.
  logic [44:0] product, m_q, m;
  assign product = 45'($signed(a[26:0])) * 45'($signed(b));
  always_ff @(posedge CLK) if (CEM) m_q <= product;
  assign m = MREG == 0 ? product : m_q;

  logic [47:0] x, y, z, w;
  always_comb begin
    // X and Y together are the product.
    x = OPMODE[3:0] == 4'b0101 ? 48'($signed(m)) : '0;
    y = '0;
    case (OPMODE[6:4])
      3'b001:  z = PCIN;
      3'b010:  z = P;
      3'b011:  z = c;
      3'b101:  z = 48'($signed(PCIN) >>> 17);
      3'b110:  z = 48'($signed(P) >>> 17);
      default: z = '0;
    endcase
    case (OPMODE[8:7])
      2'b01:   w = P;
      2'b11:   w = c;
      default: w = '0;
    endcase
  end
  // ALUMODE 0000 adds all, 0001 all but Z, of which it adds the complement, -Z - 1.
  always_ff @(posedge CLK) if (CEP) P <= (ALUMODE[0] ? ~z : z) + w + x + y + 48'(CARRYIN);
  assign PCOUT = P;

  always_comb begin
    assert (OPMODE[3:0] == 4'b0101);
    assert (OPMODE[6:4] != 3'b100 && OPMODE[6:4] != 3'b111 && OPMODE[8:7] != 2'b10);
    assert (ALUMODE[3:1] == 0 && INMODE == 0 && CARRYINSEL == 0);
    assert ({RSTA, RSTB, RSTC, RSTM, RSTP} == 0);
  end
endmodule
