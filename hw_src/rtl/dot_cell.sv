// Two digit rows times two tokens over DEPTH inputs: sum_o[t][r] = sum over k of x[t][k] w[r][k],
// cell_latency(DEPTH) cycles after the unskewed operands. |sum| <= 32 * 8 * 127 < 2^15.
//
// DEPTH / 4 cascades of multipliers and an adder tree. Each cascade leaves a carry to be added to
// sum_o[0][1] (packed_dot.sv): the tree's adders take all but one of them, which is carry_o.
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
    output logic      [1:0][      1:0][15:0] sum_o,   // [token][digit row]
    output logic                             carry_o  // to be added to sum_o[0][1]
);
  localparam int unsigned LEAVES = DEPTH / 4;
  localparam int unsigned STAGES = ($clog2(LEAVES) + 1) / 2;

  // tree[s] holds ceil(LEAVES / 4^s) partial sums; its other entries are never read.
  logic [1:0][1:0][15:0] tree[STAGES+1][LEAVES];
  logic [LEAVES-1:0] carry[STAGES+1];
  for (genvar c = 0; c < LEAVES; c++) begin : g_cascade
    logic [1:0][1:0][12:0] part;
    packed_dot u_dot (
        .clk_i,
        .w_i(w_i[4*c+:4]),
        .x_i(x_i[4*c+:4]),
        .w0_low_i(w0_low_i[4*c+:4]),
        .w1_low_i(w1_low_i[4*c+:4]),
        .x1_low_i(x1_low_i[4*c+:4]),
        .sum_o(part),
        .carry_o(carry[0][c])
    );
    for (genvar l = 0; l < 4; l++) begin : g_lane
      assign tree[0][c][l/2][l%2] = 16'($signed(part[l/2][l%2]));
    end
  end
  for (genvar s = 0; s < STAGES; s++) begin : g_stage
    localparam int unsigned IN = (LEAVES + 4 ** s - 1) / 4 ** s;
    localparam int unsigned OUT = (IN + 3) / 4;
    for (genvar o = 0; o < OUT; o++) begin : g_sum
      // Where there is one, the fourth carry is left over, otherwise the second.
      localparam int unsigned LEFT = IN > 2 ? 4 * o + 3 : 1;
      always_ff @(posedge clk_i) carry[s+1][o] <= carry[s][LEFT];
      for (genvar l = 0; l < 4; l++) begin : g_lane
        logic [15:0] a, b, c, d;
        assign a = tree[s][4*o][l/2][l%2];
        assign b = tree[s][4*o+1][l/2][l%2];
        assign c = IN > 2 ? tree[s][(4*o+2)%LEAVES][l/2][l%2] : 16'd0;
        assign d = IN > 2 ? tree[s][(4*o+3)%LEAVES][l/2][l%2] : 16'd0;
        // Kept, so that each addition is a carry chain of its own: a LUT a bit. A carry comes in
        // one bit below.
        if (l != 1) begin : g_plain
          (* keep = "true" *) logic [15:0] even, odd;
          assign even = a + b;
          assign odd = c + d;
          always_ff @(posedge clk_i) tree[s+1][o][l/2][l%2] <= even + odd;
        end else begin : g_carry
          logic [2:0] take;
          (* keep = "true" *) logic [16:0] even, odd;
          logic [16:0] both;
          assign take = {carry[s][(4*o+1)%LEAVES] && IN > 2, carry[s][(4*o+2)%LEAVES] && IN > 2,
                         carry[s][4*o]};
          assign even = {a, 1'b1} + {b, take[0]};
          assign odd = {c, 1'b1} + {d, take[1]};
          assign both = {even[16:1], 1'b1} + {odd[16:1], take[2]};
          always_ff @(posedge clk_i) tree[s+1][o][l/2][l%2] <= both[16:1];
          logic unused;
          assign unused = ^{even[0], odd[0], both[0]};
        end
      end
    end
  end
  assign sum_o = tree[STAGES][0];
  assign carry_o = carry[STAGES][0];
endmodule
