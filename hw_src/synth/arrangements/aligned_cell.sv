// Two digit rows times two tokens over DEPTH inputs, from aligned cascades: as rtl/dot_cell.sv, but
// each lane of a cascade comes with 2^12 and none with a carry.
module aligned_cell
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
  logic [1:0][1:0][LEAVES-1:0][12:0] part;
  for (genvar c = 0; c < LEAVES; c++) begin : g_cascade
    logic [1:0][1:0][12:0] sum;
    aligned_dot u_dot (
        .clk_i,
        .w_i(w_i[4*c+:4]),
        .x_i(x_i[4*c+:4]),
        .w0_low_i(w0_low_i[4*c+:4]),
        .w1_low_i(w1_low_i[4*c+:4]),
        .x1_low_i(x1_low_i[4*c+:4]),
        .sum_o(sum)
    );
    for (genvar l = 0; l < 4; l++) begin : g_lane
      assign part[l/2][l%2][c] = sum[l/2][l%2];
    end
  end
  // Less DEPTH / 4 times 2^12: the highest bit of a lane's sum counts the other way.
  localparam int unsigned BITS = 13 + $clog2(LEAVES);
  for (genvar l = 0; l < 4; l++) begin : g_lane
    logic [15:0] sum;
    logic none;
    lane_tree #(
        .LEAVES(LEAVES),
        .SIGNED(1'b0)
    ) u_tree (
        .clk_i,
        .value_i(part[l/2][l%2]),
        .carry_i('0),
        .sum_o  (sum),
        .carry_o(none)
    );
    assign sum_o[l/2][l%2] = {{(17 - BITS) {~sum[BITS-1]}}, sum[BITS-2:0]};
    logic unused;
    assign unused = ^{sum[15:BITS-1], none};
  end
endmodule
