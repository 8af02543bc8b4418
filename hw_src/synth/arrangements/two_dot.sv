// Two digit rows times two tokens over two inputs, exactly, in a cascade of two multipliers:
//
//   P = sum over i of (w0 + w1 2^22) (x0 + x1 2^10) = L0 + L1 2^10 + (L2 + L3 2^10) 2^22
//
// with x in [-127, 127] and both digits in [-8, 7]. Then
//
//   |w0 + w1 2^22| <= 8 * 2^22 + 8 < 2^26: no operand overflows
//   |L0 + L1 2^10| <= 2 * 8 * 127 * 1025 < 2^21, so P[21] is the sign of the lower half
//   |L| <= 2032 < 2^11: two low bits of L1 and L3 take the halves apart (separate.sv)
//
// P[21] goes with the sums, to be added to L2. Both inputs come unskewed; sum_o and carry_o follow
// 5 cycles later.
module two_dot (
    input  logic                  clk_i,
    input  logic      [1:0][ 8:0] w_i,  // two_digits.sv
    input  logic      [1:0][17:0] x_i,
    input  logic      [1:0][ 1:0] w0_low_i,
    input  logic      [1:0][ 1:0] w1_low_i,
    input  logic      [1:0][ 1:0] x1_low_i,
    output logic [1:0][1:0][11:0] sum_o,   // [token][digit row]
    output logic                  carry_o  // to be added to sum_o[0][1]
);
  logic signed [1:0][47:0] p, cascade;
  for (genvar i = 0; i < 2; i++) begin : g_multiplier
    dsp #(
        .INPUTS(i + 1),
        .ADDEND(2 * i)
    ) u_dsp (
        .clk_i,
        .a_i({w_i[i][8:4], {18{w_i[i][3]}}, w_i[i][3:0]}),
        .b_i(x_i[i]),
        .c_i('0),
        .cascade_i(i == 0 ? 48'd0 : cascade[0]),
        .p_o(p[i]),
        .cascade_o(cascade[i])
    );
  end

  // L1 and L3 modulo 4, and the wait for the cascade: registers, see rtl/packed_dot.sv.
  localparam int unsigned WAIT = 4;
  (* keep = "true" *) logic [1:0][1:0] low_q[WAIT];
  function automatic logic [1:0] low(input logic [1:0][1:0] w, input logic [1:0][1:0] x);
    low[0] = (w[0][0] & x[0][0]) ^ (w[1][0] & x[1][0]);
    low[1] = (w[0][1] & x[0][0]) ^ (w[0][0] & x[0][1]) ^ (w[1][1] & x[1][0]) ^ (w[1][0] & x[1][1]) ^
        (w[0][0] & x[0][0] & w[1][0] & x[1][0]);
  endfunction
  always_ff @(posedge clk_i) begin
    low_q[0] <= {low(w1_low_i, x1_low_i), low(w0_low_i, x1_low_i)};
    for (int unsigned i = 1; i < WAIT; i++) low_q[i] <= low_q[i-1];
    carry_o <= p[1][21];
  end

  for (genvar r = 0; r < 2; r++) begin : g_row
    logic [1:0][11:0] sum;
    separate #(
        .LOW(2)
    ) u_separate (
        .clk_i,
        .both_i(p[1][22*r+:22]),
        .low_i (low_q[WAIT-1][r]),
        .sum_o (sum)
    );
    for (genvar t = 0; t < 2; t++) begin : g_token
      assign sum_o[t][r] = sum[t];
    end
  end

  // Bits above the highest sum repeat its sign; of the first multiplier only the cascade is used.
  logic unused;
  assign unused = ^{p[1][47:44], p[0], cascade[1]};
endmodule
