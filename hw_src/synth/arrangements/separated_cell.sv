// rtl/dot_cell.sv, from cascades whose sums are taken apart. Each leaves a carry to be added to
// sum_o[0][1]: the tree's adders take all but one of them, which is carry_o.
module separated_cell
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
  logic [1:0][1:0][LEAVES-1:0][12:0] part;
  logic [LEAVES-1:0] carry;
  for (genvar c = 0; c < LEAVES; c++) begin : g_cascade
    logic [1:0][1:0][12:0] sum;
    separated_dot u_dot (
        .clk_i,
        .w_i(w_i[4*c+:4]),
        .x_i(x_i[4*c+:4]),
        .w0_low_i(w0_low_i[4*c+:4]),
        .w1_low_i(w1_low_i[4*c+:4]),
        .x1_low_i(x1_low_i[4*c+:4]),
        .sum_o(sum),
        .carry_o(carry[c])
    );
    for (genvar l = 0; l < 4; l++) begin : g_lane
      assign part[l/2][l%2][c] = sum[l/2][l%2];
    end
  end
  for (genvar l = 0; l < 4; l++) begin : g_lane
    logic left;
    lane_tree #(
        .LEAVES(LEAVES),
        .CARRY (l == 1)
    ) u_tree (
        .clk_i,
        .value_i(part[l/2][l%2]),
        .carry_i(l == 1 ? carry : '0),
        .sum_o  (sum_o[l/2][l%2]),
        .carry_o(left)
    );
    if (l == 1) begin : g_carry
      assign carry_o = left;
    end else begin : g_none
      logic unused;
      assign unused = left;
    end
  end
endmodule
