// The sum of four products modulo 8, by bits, each a LUT or two; carry chains would take more. The
// products are registered; low_o follows them without a register.
module low_sum (
    input  logic            clk_i,
    input  logic [3:0][2:0] a_i,
    input  logic [3:0][2:0] b_i,
    output logic      [2:0] low_o
);
  function automatic logic [2:0] times(input logic [2:0] a, input logic [2:0] b);
    times[0] = a[0] & b[0];
    times[1] = (a[1] & b[0]) ^ (a[0] & b[1]);
    times[2] = (a[2] & b[0]) ^ (a[1] & b[1]) ^ (a[0] & b[2]) ^ (a[1] & b[0] & a[0] & b[1]);
  endfunction
  logic [3:0][2:0] product_q;
  always_ff @(posedge clk_i) begin
    for (int unsigned i = 0; i < 4; i++) product_q[i] <= times(a_i[i], b_i[i]);
  end

  logic [3:0] ones, twos;
  logic carry;  // of the ones, to the twos
  for (genvar i = 0; i < 4; i++) begin : g_product
    assign ones[i] = product_q[i][0];
    assign twos[i] = product_q[i][1];
  end
  assign carry = (^ones[1:0] & ^ones[3:2]) ^ (&ones[1:0]) ^ (&ones[3:2]);
  assign low_o[0] = ^ones;
  assign low_o[1] = ^twos ^ carry;
  // The twos' carry: of their number with `carry`, the bit of weight two.
  assign low_o[2] = product_q[0][2] ^ product_q[1][2] ^ product_q[2][2] ^ product_q[3][2] ^ (&ones) ^
      (^twos[1:0] & ^twos[3:2]) ^ (&twos[1:0]) ^ (&twos[3:2]) ^ (^twos & carry);
endmodule
