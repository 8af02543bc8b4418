// A DSP48E2 whose adder is controlled, all of whose registers are used but those of the controls:
// P <= A x B and what opmode_i and alumode_i choose of C and the cascade. p_o comes INPUTS + 2 cycles
// after its operands, one cycle after opmode_i and two after c_i.
module controlled_dsp #(
    parameter int unsigned INPUTS = 1
) (
    input  logic        clk_i,
    input  logic [26:0] a_i,
    input  logic [17:0] b_i,
    input  logic [47:0] c_i,
    input  logic [ 4:0] opmode_i,   // multiplexers W and Z; X and Y are the product
    input  logic [ 3:0] alumode_i,
    input  logic [47:0] cascade_i,
    output logic [47:0] p_o,
    output logic [47:0] cascade_o
);
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
      .ALUMODE(alumode_i),
      .INMODE(5'd0),
      .OPMODE({opmode_i, 4'b0101}),
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
endmodule
