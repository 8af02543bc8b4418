// rtl/packed_dot.sv's sum, taken apart afterwards:
//
//   P = L0 + L1 2^10 + (L2 + L3 2^10) 2^23,  |L| <= 4064 < 2^12
//   |L0 + L1 2^10| <= 4 * 8 * 127 * 1025 < 2^22, so P[22] is the sign of the lower half and
//       P >> 23 = (L2 - P[22]) + L3 2^10
//   three low bits of L1 and L3 take the halves apart (separate.sv), L2 - P[22] as L2
//
// P[22] goes with the sums, and an adder behind takes it as its carry. Operands as in rtl/packed_dot.sv;
// sum_o and carry_o follow 7 cycles after the unskewed ones.
module separated_dot
  import datapath_pkg::*;
(
    input  logic                  clk_i,
    input  packed_digits_t [3:0]  w_i,
    input  logic [3:0][17:0]      x_i,
    input  logic [3:0][2:0]       w0_low_i,
    input  logic [3:0][2:0]       w1_low_i,
    input  logic [3:0][2:0]       x1_low_i,
    output logic [1:0][1:0][12:0] sum_o,   // [token][digit row]
    output logic                  carry_o  // to be added to sum_o[0][1]
);
  logic signed [3:0][47:0] p, cascade;
  for (genvar i = 0; i < 4; i++) begin : g_multiplier
    dsp #(
        .INPUTS(i == 0 ? 1 : 2),
        .ADDEND(i == 0 ? 0 : 2)
    ) u_dsp (
        .clk_i,
        .a_i({w_i[i].upper, {19{w_i[i].lower[3]}}, w_i[i].lower}),
        .b_i(x_i[i]),
        .c_i('0),
        .cascade_i(i == 0 ? 48'd0 : cascade[(i+3)%4]),
        .p_o(p[i]),
        .cascade_o(cascade[i])
    );
  end

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
  // The wait for the cascade: registers, see rtl/packed_dot.sv.
  localparam int unsigned WAIT = 5;
  (* keep = "true" *) logic [1:0][2:0] low_q[WAIT];
  always_ff @(posedge clk_i) begin
    low_q[0] <= low;
    for (int unsigned i = 1; i < WAIT; i++) low_q[i] <= low_q[i-1];
    carry_o <= p[3][22];
  end

  for (genvar r = 0; r < 2; r++) begin : g_row
    logic [1:0][12:0] sum;
    separate u_separate (
        .clk_i,
        .both_i(p[3][23*r+:23]),
        .low_i (low_q[WAIT-1][r]),
        .sum_o (sum)
    );
    for (genvar t = 0; t < 2; t++) begin : g_token
      assign sum_o[t][r] = sum[t];
    end
  end

  // Bits above the highest sum repeat its sign; below the last multiplier only the cascade is used.
  logic unused;
  assign unused = ^{p[3][47:46], p[2], p[1], p[0], cascade[3]};
endmodule
