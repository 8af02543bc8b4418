// An accumulator of the array: acc <= sum + carry + (first ? 0 : acc), while valid. Where there is
// a CARRY, it comes in one bit below.
module accumulator
  import datapath_pkg::*;
#(
    parameter bit CARRY = 1'b0
) (
    input  logic                clk_i,
    input  logic                valid_i,
    input  logic                first_i,
    input  logic [        15:0] sum_i,
    input  logic                carry_i,
    output logic [ACC_BITS-1:0] acc_o
);
  logic [ACC_BITS-1:0] sum, held;
  assign sum = ACC_BITS'($signed(sum_i));
  assign held = first_i ? '0 : acc_o;
  if (CARRY) begin : g_carry
    logic [ACC_BITS:0] chain;
    assign chain = {sum, 1'b1} + {held, carry_i};
    always_ff @(posedge clk_i) if (valid_i) acc_o <= chain[ACC_BITS:1];
    logic unused;
    assign unused = chain[0];
  end else begin : g_plain
    always_ff @(posedge clk_i) if (valid_i) acc_o <= sum + held;
    logic unused;
    assign unused = carry_i;
  end
endmodule
