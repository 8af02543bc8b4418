// Two digit rows times two tokens over DEPTH inputs, from cascades of two: as rtl/dot_cell.sv, but
// both digits may be -8 and nothing comes skewed. |sum| <= 32 * 8 * 127 < 2^15.
module two_cell #(
    parameter int unsigned DEPTH = 16
) (
    input  logic                             clk_i,
    input  logic           [DEPTH-1:0][ 8:0] w_i,
    input  logic           [DEPTH-1:0][17:0] x_i,
    input  logic           [DEPTH-1:0][ 1:0] w0_low_i,
    input  logic           [DEPTH-1:0][ 1:0] w1_low_i,
    input  logic           [DEPTH-1:0][ 1:0] x1_low_i,
    output logic      [1:0][      1:0][15:0] sum_o,   // [token][digit row]
    output logic                             carry_o  // to be added to sum_o[0][1]
);
  localparam int unsigned LEAVES = DEPTH / 2;
  logic [1:0][1:0][LEAVES-1:0][11:0] part;
  logic [LEAVES-1:0] carry;
  for (genvar c = 0; c < LEAVES; c++) begin : g_cascade
    logic [1:0][1:0][11:0] sum;
    two_dot u_dot (
        .clk_i,
        .w_i(w_i[2*c+:2]),
        .x_i(x_i[2*c+:2]),
        .w0_low_i(w0_low_i[2*c+:2]),
        .w1_low_i(w1_low_i[2*c+:2]),
        .x1_low_i(x1_low_i[2*c+:2]),
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
        .BITS  (12),
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
