// Two digit rows times two tokens over four inputs, in a cascade of four multipliers. With w0 in
// [-8, 7], w1 in [-7, 7] and activations in [-127, 127],
//
//   S = sum of (w0 + w1 2^23) (x0 + x1 2^10) = L0 + L1 2^10 + (L2 + L3 2^10) 2^23,  |L| <= 4064
//
// L1 and L3 modulo 8 are summed in LUTs. The first multiplier subtracts them, through its C, before
// the others add their products; the second adds BIAS, 2^12 in every lane. Then S comes in fields, and
// nothing is left to take apart. Of the lower half (the upper half likewise, 23 bits above):
//
//   L1 + 2^12 - L1 mod 8 = 8 K with K in [4, 1020], and L0 + 2^12 in [32, 8160]
//   (L0 + 2^12) + 8 K 2^10 = {K, L0 + 2^12}: 10 and 13 bits, each field below its width, no borrow
//
// and L1 + 2^12 = {K, L1 mod 8}. sum_o is L + 2^12 of each lane, never negative.
//
// The first multiplier's adder gives A x B - C - 1; BIAS makes up for the 1. Input i comes skewed by
// skew(i) cycles, as the cascade passes it; the low bits come unskewed. sum_o follows 6 cycles after
// the unskewed operands, straight from P.
module packed_dot
  import datapath_pkg::*;
(
    input  logic                  clk_i,
    input  packed_digits_t [3:0]  w_i,
    input  logic [3:0][17:0]      x_i,
    input  logic [3:0][2:0]       w0_low_i,
    input  logic [3:0][2:0]       w1_low_i,
    input  logic [3:0][2:0]       x1_low_i,
    output logic [1:0][1:0][12:0] sum_o  // [token][digit row]
);
  localparam logic [47:0] BIAS = 48'd1 + (48'd1 << 12) + (48'd1 << 22) + (48'd1 << 35) +
      (48'd1 << 45);
  localparam int unsigned ADDEND[4] = '{4, 3, 2, 2};  // as dsp.sv numbers them

  logic [1:0][2:0] low;  // [digit row]
  low_sum u_low0 (
      .clk_i,
      .a_i  (w0_low_i),
      .b_i  (x1_low_i),
      .low_o(low[0])
  );
  low_sum u_low1 (
      .clk_i,
      .a_i  (w1_low_i),
      .b_i  (x1_low_i),
      .low_o(low[1])
  );

  logic signed [3:0][47:0] p, cascade;
  for (genvar i = 0; i < 4; i++) begin : g_multiplier
    dsp #(
        .INPUTS(i == 0 ? 1 : 2),
        .ADDEND(ADDEND[i])
    ) u_dsp (
        .clk_i,
        .a_i({w_i[i].upper, {19{w_i[i].lower[3]}}, w_i[i].lower}),
        .b_i(x_i[i]),
        .c_i(i == 0 ? {12'd0, low[1], 20'd0, low[0], 10'd0} : i == 1 ? BIAS : '0),
        .cascade_i(i == 0 ? 48'd0 : cascade[(i+3)%4]),
        .p_o(p[i]),
        .cascade_o(cascade[i])
    );
  end

  // The low bits wait for the cascade. Kept: registers, which are there beside the LUTs, while a shift
  // register takes a LUT a bit.
  localparam int unsigned WAIT = 5;
  (* keep = "true" *) logic [1:0][2:0] low_q[WAIT];
  always_ff @(posedge clk_i) begin
    low_q[0] <= low;
    for (int unsigned i = 1; i < WAIT; i++) low_q[i] <= low_q[i-1];
  end
  for (genvar r = 0; r < 2; r++) begin : g_row
    assign sum_o[0][r] = p[3][23*r+:13];
    assign sum_o[1][r] = {p[3][23*r+13+:10], low_q[WAIT-1][r]};
  end

  // The sum has 46 bits; below the last multiplier only the cascade is used.
  logic unused;
  assign unused = ^{p[3][47:46], p[2], p[1], p[0], cascade[3]};
endmodule
