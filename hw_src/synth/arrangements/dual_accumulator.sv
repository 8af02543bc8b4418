// As rtl/accumulator.sv, of BITS bits for sums of either mode.
module dual_accumulator #(
    parameter  int unsigned BITS  = 27,
    parameter  bit          CARRY = 1'b0,
    localparam int unsigned OUT   = 27
) (
    input  logic            clk_i,
    input  logic            valid_i,
    input  logic            first_i,
    input  logic [    19:0] sum_i,
    input  logic            carry_i,
    output logic [ OUT-1:0] acc_o
);
  logic [BITS-1:0] acc_q, sum, held;
  assign sum = BITS'($signed(sum_i));
  assign held = first_i ? '0 : acc_q;
  if (CARRY) begin : g_carry
    logic [BITS:0] chain;
    assign chain = {sum, 1'b1} + {held, carry_i};
    always_ff @(posedge clk_i) if (valid_i) acc_q <= chain[BITS:1];
    logic unused;
    assign unused = chain[0];
  end else begin : g_plain
    always_ff @(posedge clk_i) if (valid_i) acc_q <= sum + held;
    logic unused;
    assign unused = carry_i;
  end
  assign acc_o = OUT'($signed(acc_q));
endmodule
