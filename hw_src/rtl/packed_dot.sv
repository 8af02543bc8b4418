// Two digit rows times two tokens over four inputs, exactly, in a cascade of four multipliers:
//
//   P = sum over i of (w0 + w1 2^23) (x0 + x1 2^10) = L0 + L1 2^10 + (L2 + L3 2^10) 2^23
//   L0 = sum w0 x0,  L1 = sum w0 x1,  L2 = sum w1 x0,  L3 = sum w1 x1
//
// with x in [-127, 127], w0 in [-8, 7] and w1 in [-7, 7]: 4-bit weights and the upper digits of 8-bit
// ones lie in [-7, 7], lower digits (down to -8) always in even rows. Then
//
//   |w0 + w1 2^23| <= 7 * 2^23 + 8 < 2^26 and |x0 + x1 2^10| <= 127 * 1025 < 2^17: no operand overflows
//   |L0 + L1 2^10| <= 4 * 8 * 127 * 1025 < 2^22, so P[22] is the sign of the lower half and
//       P >> 23 = (L2 - P[22]) + L3 2^10
//   |L| <= 4064 < 2^12. With v = L0 >> 10 in [-4, 3]:  P[12:10] = L1 + v modulo 8, so that L1's lowest
//       three bits, summed beside the multipliers, give v, L0 = {v, P[9:0]} and L1 = (P >> 10) - v.
//       Of L1 they are the lowest three: the others are P[22:13] and what P[12:10] - v carries, one
//       up where P[12:10] - L1's three bits is above 3, one down where it is below -4.
//       Likewise L2 - P[22], which lies in [-4065, 4064], and L3 from P >> 23.
//
// P[22] goes with the sums, and an adder behind takes it as its carry: adding it here would take a
// chain of its own.
//
// Input i comes skewed by skew(i) cycles, as the cascade passes it; the low bits come unskewed.
// sum_o and carry_o follow 7 cycles after the unskewed operands.
module packed_dot
  import datapath_pkg::*;
(
    input  logic                  clk_i,
    input  packed_digits_t [3:0]  w_i,
    input  logic [3:0][17:0]      x_i,
    input  logic [3:0][2:0]       w0_low_i,
    input  logic [3:0][2:0]       w1_low_i,
    input  logic [3:0][2:0]       x1_low_i,
    output logic [1:0][1:0][12:0] sum_o,   // [token][digit row]
    output logic                  carry_o  // to be added to sum_o[0][1]
);
  logic signed [3:0][47:0] p, cascade;
  for (genvar i = 0; i < 4; i++) begin : g_multiplier
    dsp #(
        .INPUTS(i == 0 ? 1 : 2),
        .ADDEND(i == 0 ? 0 : 2)
    ) u_dsp (
        .clk_i,
        .a_i({w_i[i].upper, {19{w_i[i].lower[3]}}, w_i[i].lower}),
        .b_i(x_i[i]),
        .c_i('0),
        .cascade_i(i == 0 ? 48'd0 : cascade[(i+3)%4]),
        .p_o(p[i]),
        .cascade_o(cascade[i])
    );
  end

  // Modulo 8, by bits, each a LUT or two; carry chains would take more.
  function automatic logic [2:0] times(input logic [2:0] a, input logic [2:0] b);
    times[0] = a[0] & b[0];
    times[1] = (a[1] & b[0]) ^ (a[0] & b[1]);
    times[2] = (a[2] & b[0]) ^ (a[1] & b[1]) ^ (a[0] & b[2]) ^ (a[1] & b[0] & a[0] & b[1]);
  endfunction
  function automatic logic [2:0] sum(input logic [3:0][2:0] p);
    logic [3:0] ones, twos;
    logic carry;  // of the ones, to the twos
    for (int unsigned i = 0; i < 4; i++) begin
      ones[i] = p[i][0];
      twos[i] = p[i][1];
    end
    carry = (^ones[1:0] & ^ones[3:2]) ^ (&ones[1:0]) ^ (&ones[3:2]);
    sum[0] = ^ones;
    sum[1] = ^twos ^ carry;
    // The twos' carry: of their number with `carry`, the bit of weight two.
    sum[2] = p[0][2] ^ p[1][2] ^ p[2][2] ^ p[3][2] ^ (&ones) ^
        (^twos[1:0] & ^twos[3:2]) ^ (&twos[1:0]) ^ (&twos[3:2]) ^ (^twos & carry);
  endfunction

  // L1 and L3 modulo 8: products, their sum, then the wait for the cascade. Kept, so that the wait is
  // registers: they are there beside the LUTs, while a shift register takes a LUT a bit.
  localparam int unsigned WAIT = 5;
  logic [1:0][3:0][2:0] product_q;  // [digit row][input]
  (* keep = "true" *) logic [1:0][2:0] low_q[WAIT];
  always_ff @(posedge clk_i) begin
    for (int unsigned i = 0; i < 4; i++) begin
      product_q[0][i] <= times(w0_low_i[i], x1_low_i[i]);
      product_q[1][i] <= times(w1_low_i[i], x1_low_i[i]);
    end
    for (int unsigned r = 0; r < 2; r++) low_q[0][r] <= sum(product_q[r]);
    for (int unsigned i = 1; i < WAIT; i++) low_q[i] <= low_q[i-1];
  end

  // Lanes of a digit row.
  for (genvar r = 0; r < 2; r++) begin : g_row
    logic [22:0] both;
    logic [2:0] low, v;
    logic up, down;
    logic [10:0] chain;  // its lowest bit is the way in for `up`
    assign both = p[3][23*r+:23];
    assign low = low_q[WAIT-1][r];
    assign v = both[12:10] - low;
    assign up = 4'(both[12:10]) > 4'(low) + 4'd3;
    assign down = 4'(both[12:10]) + 4'd4 < 4'(low);
    assign chain = {both[22:13], 1'b1} + {{10{down}}, up};
    always_ff @(posedge clk_i) begin
      sum_o[0][r] <= {v, both[9:0]};
      sum_o[1][r] <= {chain[10:1], low};
    end
    logic unused_chain;
    assign unused_chain = chain[0];
  end
  always_ff @(posedge clk_i) carry_o <= p[3][22];

  // Bits above the highest sum repeat its sign; below the last multiplier only the cascade is used.
  logic unused;
  assign unused = ^{p[3][47:46], p[2], p[1], p[0], cascade[3]};
endmodule
