// Two rows' weights as one operand of the multipliers, a register and SKEW cycles more:
//
//   8-bit   wa + wb 2^19, from the nibbles {wb, wa}
//   4-bit   w0 + w1 2^23 = w0 + {w1, 0000} 2^19, from the outer nibbles
//
// In both, the operand is {upper, sign of lower ..., lower}, upper less one where lower is negative.
// The low bits are those of the digits, registered once (separate.sv).
module dual_digits #(
    parameter int unsigned SKEW = 0
) (
    input  logic            clk_i,
    input  logic            wide_i,  // 8-bit
    input  logic [3:0][3:0] w_i,
    output logic     [15:0] w_o,  // {upper, lower}
    output logic [1:0][2:0] low_o
);
  logic [7:0] upper, lower;
  assign lower = {wide_i ? w_i[1] : {4{w_i[0][3]}}, w_i[0]};
  assign upper = {w_i[3], wide_i ? w_i[2] : 4'd0};

  // Kept: registers instead of a shift register's LUTs.
  (* keep = "true" *) logic [15:0] w_q[SKEW+1];
  always_ff @(posedge clk_i) begin
    w_q[0] <= {upper - 8'(lower[7]), lower};
    for (int unsigned i = 1; i <= SKEW; i++) w_q[i] <= w_q[i-1];
    low_o <= {w_i[3][2:0], w_i[0][2:0]};
  end
  assign w_o = w_q[SKEW];
endmodule
