// rtl/accumulator.sv with a carry, which comes in one bit below:
// acc <= sum + carry + (first ? 0 : acc), while valid.
module carry_accumulator
  import datapath_pkg::*;
(
    input  logic                clk_i,
    input  logic                valid_i,
    input  logic                first_i,
    input  logic [        15:0] sum_i,
    input  logic                carry_i,
    output logic [ACC_BITS-1:0] acc_o
);
  logic [ACC_BITS-1:0] sum, held;
  logic [ACC_BITS:0] chain;
  assign sum = ACC_BITS'($signed(sum_i));
  assign held = first_i ? '0 : acc_o;
  assign chain = {sum, 1'b1} + {held, carry_i};
  always_ff @(posedge clk_i) if (valid_i) acc_o <= chain[ACC_BITS:1];

  logic unused;
  assign unused = chain[0];
endmodule
