// One lane of the epilogue: up to two multiplications, each with a rounding right shift
// rs(x, n) = (x + 2^(n-1)) >> n, computed as (((2 x) >> n) + 1) >> 1, which is right for n = 0 too.
//
//   v      = two ? sat18(rs(a * b + c, shift_a)) : acc        cycles 1 to 5
//   result = clamp(rs(v * multiplier, shift), low, high)      cycles 6 to 10
//
//   LINEAR     acc = accumulator with bias, 32 bits: acc_i is its lower 17, a = acc >> 17, b =
//              multiplier, c = 0, so that the first product is the upper part of the second
//   ATTENTION  a = value sum, b = reciprocal of the sum of the numerators, c = 0: the weighted mean
//   LAYERNORM  a = D y, b = x, c = -S1 y: (D x - S1) y, the normalised value with 12 fraction bits
//
// Parameters come when they are used: the epilogue delays them once for all lanes.
module requantise
  import datapath_pkg::*;
(
    input  logic                       clk_i,
    input  logic        [        16:0] acc_i,
    input  logic signed [        26:0] a_i,
    input  logic signed [        17:0] b_i,
    input  logic signed [SUM_BITS-1:0] c_i,
    input  logic        [         3:0] shift_a_coarse_i,  // cycle 3: fours
    input  logic        [         1:0] shift_a_fine_i,    // cycle 4: ones
    input  logic                       two_i,             // cycle 5
    input  logic        [        14:0] multiplier_i,      // cycle 6
    input  logic        [         3:0] shift_coarse_i,    // cycle 8
    input  logic        [         1:0] shift_fine_i,      // cycle 9
    input  logic signed [        15:0] low_i,
    input  logic signed [        15:0] high_i,
    output logic signed [        15:0] result_o
);
  logic signed [47:0] sum2, product7, unused_cascade1, unused_cascade2;

  // First multiplication. v is 18 bits: twice it, before rounding, 19.
  dsp #(
      .INPUTS(0),
      .ADDEND(1)
  ) u_first (
      .clk_i,
      .a_i,
      .b_i,
      .c_i(48'(c_i)),
      .cascade_i('0),
      .p_o(sum2),
      .cascade_o(unused_cascade1)
  );
  logic [18:0] twice4;
  logic over4, sign4, limit5, negative5;
  logic [17:0] rounded5, value5_q;
  shift_down #(
      .IN (SUM_BITS + 1),
      .OUT(19)
  ) u_shift_a (
      .clk_i,
      .x_i({sum2[SUM_BITS-1:0], 1'b0}),
      .coarse_i(shift_a_coarse_i),
      .fine_i(shift_a_fine_i),
      .y_o(twice4),
      .over_o(over4),
      .sign_o(sign4)
  );
  // Rounding may take the largest value over the limit, and -1/2 to 0.
  assign rounded5 = twice4[18:1] + 18'(twice4[0]);
  assign negative5 = sign4 && (over4 || rounded5[17]);
  assign limit5 = over4 || (!sign4 && rounded5[17]);

  // Kept: registers instead of a shift register's LUTs.
  (* keep = "true" *) logic [16:0] acc1_q, acc2_q, acc3_q, acc4_q;
  logic [29:0] upper3_q, upper4_q, upper5_q;
  always_ff @(posedge clk_i) begin
    acc1_q <= acc_i;
    acc2_q <= acc1_q;
    acc3_q <= acc2_q;
    acc4_q <= acc3_q;
    value5_q <= {1'b0, acc4_q};
    if (two_i) value5_q <= {negative5, limit5 ? {17{!sign4}} : rounded5[16:0]};
    upper3_q <= sum2[29:0];
    upper4_q <= upper3_q;
    upper5_q <= two_i ? '0 : upper4_q;
  end

  // Second multiplication. Twice the result, before rounding and the limits of 16 bits, is 17 bits.
  dsp #(
      .INPUTS(0),
      .ADDEND(1)
  ) u_second (
      .clk_i,
      .a_i(27'($signed(value5_q))),
      .b_i({3'd0, multiplier_i}),
      .c_i({upper5_q[29], upper5_q, 17'd0}),
      .cascade_i('0),
      .p_o(product7),
      .cascade_o(unused_cascade2)
  );
  logic [16:0] twice9;
  logic over9, sign9, above, below;
  logic [15:0] rounded10;
  shift_down #(
      .IN (48),
      .OUT(17)
  ) u_shift (
      .clk_i,
      .x_i({product7[46:0], 1'b0}),
      .coarse_i(shift_coarse_i),
      .fine_i(shift_fine_i),
      .y_o(twice9),
      .over_o(over9),
      .sign_o(sign9)
  );
  // (t + 1) >> 1 > high is t > 2 high, (t + 1) >> 1 <= low is t <= 2 low.
  assign rounded10 = twice9[16:1] + 16'(twice9[0]);
  assign above = over9 ? !sign9 : $signed(twice9) > $signed({high_i, 1'b0});
  assign below = over9 ? sign9 : $signed(twice9) <= $signed({low_i, 1'b0});
  always_ff @(posedge clk_i) result_o <= above ? high_i : below ? low_i : rounded10;

  logic unused;
  assign unused = ^{sum2[47:SUM_BITS], product7[47], unused_cascade1, unused_cascade2};
endmodule
