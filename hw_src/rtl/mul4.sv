// Four exact products of two 4-bit digits and two activations in one 27x18 multiplier:
//
//   P = (w0 + w1 * 2^22) * (x0 + x1 * 2^10),   w in [-8, 7], x in [-127, 127]
//     = w0 x0 + w0 x1 * 2^10 + w1 x0 * 2^22 + w1 x1 * 2^32
//
// Every product is below 2^10 in magnitude, the lower half L = w0 x0 + w0 x1 * 2^10 below 2^21.
// Lanes are taken apart from the lowest up, each giving back what a negative one below it borrowed:
//   w0 x0 < 0  exactly when  P[10] differs from (w0 x1)[0] = w0[0] & x1[0];
//   L < 0      exactly when  P[21] is set, and P >> 22 is then one short.
// Latency 4: operands (the DSP's A and B registers), M, P, separated products.
module mul4 (
    input  logic                  clk_i,
    input  logic [1:0][7:0]       x_i,  // [token]
    input  logic [1:0][3:0]       w_i,  // [digit row]
    output logic [1:0][1:0][10:0] p_o   // [token][digit row]
);
  logic signed [26:0] a_q;
  logic signed [17:0] b_q;
  logic signed [44:0] m_q, p_q;
  logic [2:0] low_q, high_q;  // the products' low bits, beside the multiplier's registers

  always_ff @(posedge clk_i) begin
    a_q <= 27'($signed(w_i[0])) + (27'($signed(w_i[1])) <<< 22);
    b_q <= 18'($signed(x_i[0])) + (18'($signed(x_i[1])) <<< 10);
    m_q <= 45'(a_q) * 45'(b_q);
    p_q <= m_q;
    low_q <= {low_q[1:0], w_i[0][0] & x_i[1][0]};
    high_q <= {high_q[1:0], w_i[1][0] & x_i[1][0]};
  end

  logic borrow_low, borrow_high;
  logic [20:0] upper;
  assign borrow_low = p_q[10] ^ low_q[2];
  assign upper = p_q[42:22] + 21'(p_q[21]);
  assign borrow_high = upper[10] ^ high_q[2];

  always_ff @(posedge clk_i) begin
    p_o[0][0] <= {borrow_low, p_q[9:0]};
    p_o[1][0] <= p_q[20:10] + 11'(borrow_low);
    p_o[0][1] <= {borrow_high, upper[9:0]};
    p_o[1][1] <= upper[20:10] + 11'(borrow_high);
  end

  // Bits above the highest product repeat its sign.
  logic unused;
  assign unused = ^p_q[44:43];
endmodule
