// A DSP48E2 as the array and the lanes use it: P <= A x B + addend, on 27 and 18 bits.
//
//   INPUTS   registers of A and B, up to two; one behind the product and one at the end follow
//   ADDEND   0 none; 1 c_i, registered once; 2 the cascade, the P of the DSP below; 3 both;
//            4 -c_i - 1
//
// p_o comes INPUTS + 2 cycles after its operands; the addend is there one cycle before it. Synthesis
// instantiates the primitive, so that all its registers are used; simulation the behaviour beside it.
// QUASAR_PRIMITIVE takes the primitive in simulation as well: a test compares both
// (hw_src/synth/dsp48e2.sv).
`ifdef SYNTHESIS
`define QUASAR_PRIMITIVE
`endif

module dsp #(
    parameter int unsigned INPUTS = 1,
    parameter int unsigned ADDEND = 0
) (
    input  logic               clk_i,
    input  logic signed [26:0] a_i,
    input  logic signed [17:0] b_i,
    input  logic signed [47:0] c_i,
    input  logic signed [47:0] cascade_i,
    output logic signed [47:0] p_o,
    output logic signed [47:0] cascade_o
);
  if (INPUTS > 2 || ADDEND > 4) begin : g_check
    $error("INPUTS is at most 2, ADDEND at most 4");
  end

`ifdef QUASAR_PRIMITIVE
  // Multiplexers W, Z, Y, X: product in X and Y, addend in Z, which may be inverted, and W.
  localparam logic [4:0] WZ[5] = '{5'b00_000, 5'b00_011, 5'b00_001, 5'b11_001, 5'b00_011};
  DSP48E2 #(
      .AREG(INPUTS),
      .BREG(INPUTS),
      .ACASCREG(INPUTS),
      .BCASCREG(INPUTS),
      .ADREG(0),
      .DREG(0),
      .CREG(1),
      .MREG(1),
      .PREG(1),
      .ALUMODEREG(0),
      .INMODEREG(0),
      .OPMODEREG(0),
      .CARRYINREG(0),
      .CARRYINSELREG(0)
  ) u_dsp (
      .CLK(clk_i),
      .A({{3{a_i[26]}}, a_i}),
      .B(b_i),
      .C(c_i),
      .D(27'd0),
      .PCIN(cascade_i),
      .ACIN(30'd0),
      .BCIN(18'd0),
      .CARRYCASCIN(1'b0),
      .MULTSIGNIN(1'b0),
      .CARRYIN(1'b0),
      .CARRYINSEL(3'd0),
      .ALUMODE(ADDEND == 4 ? 4'b0001 : 4'b0000),
      .INMODE(5'd0),
      .OPMODE({WZ[ADDEND], 4'b0101}),
      .CEA1(1'b1),
      .CEA2(1'b1),
      .CEB1(1'b1),
      .CEB2(1'b1),
      .CEC(1'b1),
      .CEM(1'b1),
      .CEP(1'b1),
      .CEAD(1'b0),
      .CED(1'b0),
      .CEALUMODE(1'b0),
      .CEINMODE(1'b0),
      .CECTRL(1'b0),
      .CECARRYIN(1'b0),
      .RSTA(1'b0),
      .RSTB(1'b0),
      .RSTC(1'b0),
      .RSTD(1'b0),
      .RSTM(1'b0),
      .RSTP(1'b0),
      .RSTALUMODE(1'b0),
      .RSTINMODE(1'b0),
      .RSTCTRL(1'b0),
      .RSTALLCARRYIN(1'b0),
      .P(p_o),
      .PCOUT(cascade_o)
  );
`else
  logic signed [26:0] a_q[INPUTS+1];
  logic signed [17:0] b_q[INPUTS+1];
  logic signed [47:0] product_q, c_q, addend;
  assign a_q[0] = a_i;
  assign b_q[0] = b_i;

  always_ff @(posedge clk_i) begin
    for (int unsigned i = 1; i <= INPUTS; i++) begin
      a_q[i] <= a_q[i-1];
      b_q[i] <= b_q[i-1];
    end
    product_q <= 48'(a_q[INPUTS]) * 48'(b_q[INPUTS]);
    c_q <= c_i;
    p_o <= product_q + addend;
  end
  always_comb begin
    case (ADDEND)
      1: addend = c_q;
      2: addend = cascade_i;
      3: addend = cascade_i + c_q;
      4: addend = ~c_q;
      default: addend = '0;
    endcase
  end
  assign cascade_o = p_o;
`endif
endmodule
