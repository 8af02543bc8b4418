// Two digit rows' weights as one operand of the multipliers: w0 + w1 2^23, registered once and
// delayed by SKEW cycles more; beside it the low bits of both, registered once (packed_dot.sv).
module pack_digits
  import datapath_pkg::*;
#(
    parameter int unsigned SKEW = 0
) (
    input  logic                 clk_i,
    input  logic           [1:0][3:0] w_i,
    output packed_digits_t       w_o,
    output logic           [1:0][2:0] low_o
);
  // Kept: registers instead of a shift register's LUTs.
  (* keep = "true" *) packed_digits_t w_q[SKEW+1];

  always_ff @(posedge clk_i) begin
    w_q[0] <= '{upper: w_i[1] - 4'(w_i[0][3]), lower: w_i[0]};
    for (int unsigned i = 1; i <= SKEW; i++) w_q[i] <= w_q[i-1];
    low_o <= {w_i[1][2:0], w_i[0][2:0]};
  end
  assign w_o = w_q[SKEW];
endmodule
