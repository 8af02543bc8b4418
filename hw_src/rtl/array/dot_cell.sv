// Two digit rows times two tokens over DEPTH inputs: sum_o[t][r] = sum over k of x[t][k] w[r][k],
// cell_latency(DEPTH) cycles after the unskewed operands. |sum| <= 32 * 8 * 127 < 2^15.
//
// DEPTH / 4 cascades of multipliers and an adder tree. Each lane of a cascade comes with 2^12
// (packed_dot.sv), which DEPTH / 4 times is the value of the whole sum's highest bit: less that, the
// bit counts the other way.
module dot_cell
  import datapath_pkg::*;
#(
    parameter int unsigned DEPTH = 16
) (
    input  logic                             clk_i,
    input  packed_digits_t [DEPTH-1:0]       w_i,  // skewed by skew(k)
    input  logic           [DEPTH-1:0][17:0] x_i,  // skewed by skew(k)
    input  logic           [DEPTH-1:0][ 2:0] w0_low_i,
    input  logic           [DEPTH-1:0][ 2:0] w1_low_i,
    input  logic           [DEPTH-1:0][ 2:0] x1_low_i,
    output logic      [1:0][      1:0][15:0] sum_o  // [token][digit row]
);
  localparam int unsigned LEAVES = DEPTH / 4;
  localparam int unsigned STAGES = ($clog2(LEAVES) + 1) / 2;
  localparam int unsigned BITS = 13 + $clog2(LEAVES);

  // tree[s] holds ceil(LEAVES / 4^s) partial sums; its other entries are never read.
  logic [1:0][1:0][BITS-1:0] tree[STAGES+1][LEAVES];
  for (genvar c = 0; c < LEAVES; c++) begin : g_cascade
    logic [1:0][1:0][12:0] part;
    packed_dot u_dot (
        .clk_i,
        .w_i(w_i[4*c+:4]),
        .x_i(x_i[4*c+:4]),
        .w0_low_i(w0_low_i[4*c+:4]),
        .w1_low_i(w1_low_i[4*c+:4]),
        .x1_low_i(x1_low_i[4*c+:4]),
        .sum_o(part)
    );
    for (genvar l = 0; l < 4; l++) begin : g_lane
      assign tree[0][c][l/2][l%2] = BITS'(part[l/2][l%2]);
    end
  end
  for (genvar s = 0; s < STAGES; s++) begin : g_stage
    localparam int unsigned IN = (LEAVES + 4 ** s - 1) / 4 ** s;
    localparam int unsigned OUT = (IN + 3) / 4;
    for (genvar o = 0; o < OUT; o++) begin : g_sum
      for (genvar l = 0; l < 4; l++) begin : g_lane
        // Kept, so that each addition is a carry chain of its own: a LUT a bit.
        (* keep = "true" *) logic [BITS-1:0] even, odd;
        assign even = tree[s][4*o][l/2][l%2] + tree[s][4*o+1][l/2][l%2];
        assign odd = IN > 2 ?
            tree[s][(4*o+2)%LEAVES][l/2][l%2] + tree[s][(4*o+3)%LEAVES][l/2][l%2] : '0;
        always_ff @(posedge clk_i) tree[s+1][o][l/2][l%2] <= even + odd;
      end
    end
  end
  for (genvar l = 0; l < 4; l++) begin : g_sign
    logic [BITS-1:0] sum;
    assign sum = tree[STAGES][0][l/2][l%2];
    assign sum_o[l/2][l%2] = {{(17 - BITS) {~sum[BITS-1]}}, sum[BITS-2:0]};
  end
endmodule
