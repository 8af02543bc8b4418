// One lane of the epilogue: up to two multiplications, each with a rounding right shift
// rs(x, n) = (x + 2^(n-1)) >> n, computed as (((2 x) >> n) + 1) >> 1, which is right for n = 0 too.
//
//   v      = two ? sat18(rs(a * b + c, shift_a)) : acc        cycles 1 to 5
//   result = clamp(rs(v * multiplier, shift), low, high)      cycles 6 to 10
//
//   LINEAR     acc = accumulator with bias, 32 bits
//   ATTENTION  a = value sum, b = reciprocal of the sum of the numerators, c = 0: the weighted mean
//   LAYERNORM  a = D y, b = x, c = -S1 y: (D x - S1) y, the normalised value with 12 fraction bits
//
// Parameters come when they are used: the epilogue delays them once for all lanes. Products: 27x18
// with addition (one DSP), 32x15 (two).
module requantise
  import datapath_pkg::*;
(
    input  logic                       clk_i,
    input  logic signed [        31:0] acc_i,
    input  logic signed [        26:0] a_i,
    input  logic signed [        17:0] b_i,
    input  logic signed [SUM_BITS-1:0] c_i,
    input  logic        [         2:0] shift_a_coarse_i,  // cycle 3: eights
    input  logic        [         2:0] shift_a_fine_i,    // cycle 4: ones
    input  logic                       two_i,             // cycle 5
    input  logic        [        14:0] multiplier_i,      // cycle 6
    input  logic        [         2:0] shift_coarse_i,    // cycle 8
    input  logic        [         2:0] shift_fine_i,      // cycle 9
    input  logic signed [        15:0] low_i,
    input  logic signed [        15:0] high_i,
    output logic signed [        15:0] result_o
);
  // First multiplication.
  logic signed [SUM_BITS-1:0] product1_q, c1_q, sum2_q;
  logic signed [SUM_BITS:0] coarse3_q, fine4;
  logic signed [19:0] fine4_q;
  logic signed [19:0] rounded5;
  logic signed [31:0] acc1_q, acc2_q, acc3_q, acc4_q, value5_q;

  assign fine4 = coarse3_q >>> shift_a_fine_i;
  assign rounded5 = 20'((21'(fine4_q) + 21'sd1) >>> 1);

  always_ff @(posedge clk_i) begin
    product1_q <= SUM_BITS'(a_i) * SUM_BITS'(b_i);
    c1_q <= c_i;
    sum2_q <= product1_q + c1_q;
    coarse3_q <= $signed({sum2_q, 1'b0}) >>> {shift_a_coarse_i, 3'b000};
    // Beyond 20 bits the value saturates below anyway.
    if (fine4 > 45'sh7_FFFF) fine4_q <= 20'sh7_FFFF;
    else if (fine4 < -45'sh8_0000) fine4_q <= 20'sh8_0000;
    else fine4_q <= fine4[19:0];
    acc1_q <= acc_i;
    acc2_q <= acc1_q;
    acc3_q <= acc2_q;
    acc4_q <= acc3_q;
    if (!two_i) value5_q <= acc4_q;
    else if (rounded5 > 20'sd131071) value5_q <= 32'sd131071;
    else if (rounded5 < -20'sd131072) value5_q <= -32'sd131072;
    else value5_q <= 32'(rounded5);
  end

  // Second multiplication, v = upper * 2^17 + lower.
  logic [31:0] lower6_q;
  logic signed [29:0] upper6_q;
  logic signed [46:0] product7_q;
  logic signed [47:0] coarse8_q, fine9;
  logic signed [17:0] fine9_q;
  logic signed [17:0] rounded10;

  assign fine9 = coarse8_q >>> shift_fine_i;
  assign rounded10 = 18'((19'(fine9_q) + 19'sd1) >>> 1);

  always_ff @(posedge clk_i) begin
    lower6_q <= 32'(value5_q[16:0]) * 32'(multiplier_i);
    upper6_q <= 30'($signed(value5_q[31:17])) * $signed({15'd0, multiplier_i});
    product7_q <= $signed({upper6_q, 17'd0}) + $signed({15'd0, lower6_q});
    coarse8_q <= $signed({product7_q, 1'b0}) >>> {shift_coarse_i, 3'b000};
    if (fine9 > 48'sh1_FFFF) fine9_q <= 18'sh1_FFFF;
    else if (fine9 < -48'sh2_0000) fine9_q <= 18'sh2_0000;
    else fine9_q <= fine9[17:0];
    if (rounded10 > 18'(high_i)) result_o <= high_i;
    else if (rounded10 < 18'(low_i)) result_o <= low_i;
    else result_o <= rounded10[15:0];
  end
endmodule
