// Two tokens' activations as one operand of the multipliers: x0 + x1 2^10, registered once and
// delayed by SKEW cycles more; beside it the low bits of x1, registered once (packed_dot.sv).
//
// A token that does not exist may hold -128, which would overflow the operand and with it the sums
// of the one that exists: it counts as -127.
module pack_tokens #(
    parameter int unsigned SKEW = 0
) (
    input  logic             clk_i,
    input  logic [1:0][ 7:0] x_i,
    output logic      [17:0] x_o,
    output logic      [ 2:0] low_o
);
  logic [7:0] x1;
  // Kept: registers instead of a shift register's LUTs.
  (* keep = "true" *) logic [17:0] x_q[SKEW+1];
  assign x1 = {x_i[1][7:1], x_i[1][0] | (x_i[1][7:1] == 7'h40)};

  always_ff @(posedge clk_i) begin
    x_q[0] <= {x1 - 8'(x_i[0][7]), {2{x_i[0][7]}}, x_i[0]};
    for (int unsigned i = 1; i <= SKEW; i++) x_q[i] <= x_q[i-1];
    low_o <= x1[2:0];
  end
  assign x_o = x_q[SKEW];
endmodule
