// Two digit rows' weights as one operand of the multipliers: w0 + w1 2^22 = {upper, sign of lower
// ..., lower}, upper being w1 less one where w0 is negative; registered once, as the low bits of both.
module two_digits (
    input  logic            clk_i,
    input  logic [1:0][3:0] w_i,
    output logic      [8:0] w_o,  // {upper, lower}
    output logic [1:0][1:0] low_o
);
  always_ff @(posedge clk_i) begin
    w_o   <= {5'($signed(w_i[1])) - 5'(w_i[0][3]), w_i[0]};
    low_o <= {w_i[1][1:0], w_i[0][1:0]};
  end
endmodule
