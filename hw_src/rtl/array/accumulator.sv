// An accumulator of the array: acc <= sum + (first ? 0 : acc), while valid.
module accumulator
  import datapath_pkg::*;
(
    input  logic                clk_i,
    input  logic                valid_i,
    input  logic                first_i,
    input  logic [        15:0] sum_i,
    output logic [ACC_BITS-1:0] acc_o
);
  // Named, since Yosys takes two LUTs a bit for the expression in one piece.
  logic [ACC_BITS-1:0] sum, held;
  assign sum = ACC_BITS'($signed(sum_i));
  assign held = first_i ? '0 : acc_o;
  always_ff @(posedge clk_i) if (valid_i) acc_o <= sum + held;
endmodule
