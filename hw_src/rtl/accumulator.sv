// An accumulator of the array: acc <= first ? sum : acc + sum, while valid.
module accumulator
  import datapath_pkg::*;
(
    input  logic                clk_i,
    input  logic                valid_i,
    input  logic                first_i,
    input  logic [        15:0] sum_i,
    output logic [ACC_BITS-1:0] acc_o
);
  always_ff @(posedge clk_i) begin
    if (valid_i) acc_o <= ACC_BITS'($signed(sum_i)) + (first_i ? '0 : acc_o);
  end
endmodule
