// Reciprocal square root, one value a cycle, LATENCY cycles later:
//   y * 2^-(k + 24) ~ 1 / sqrt(v), v in [1, 2^52)
//   k = (bits(v) - 17) >> 1,  z = floor(v * 4^-k) in [2^16, 2^18)
//   y0 = RSQRT[(z >> 10) - RSQRT_FIRST],  h = (3 * 2^33 - z * ((y0 * y0) >> 13)) >> 16
//   y = (y0 * h) >> 17
module rsqrt
  import quasar_pkg::*;
(
    input  logic               clk_i,
    input  logic        [51:0] v_i,
    output logic        [15:0] y_o,
    output logic signed [ 5:0] k_o
);
  // Seven registers from v_i to y_o. z takes v from its highest pair of bits that is not zero, pair
  // k + 8, as its own highest pair: found in groups of four pairs, which keeps the path short.
  localparam int unsigned GROUPS = 7;
  logic [51:0] v1_q;
  logic [4:0] pair, pair1_q;
  logic signed [5:0] k_q[6];
  logic [4*GROUPS-1:0] pairs;
  logic [GROUPS-1:0] some;
  logic [GROUPS-1:0][1:0] upper;
  logic [17:0] z2_q, z3_q, z4_q;
  logic [15:0] y3_q, y4_q, y5_q, y6_q;
  logic [18:0] square4_q;
  logic [35:0] product5_q;  // of z without its lowest bit, which fits one multiplier
  logic [18:0] lowest5_q;  // and of that bit
  logic [18:0] h6_q;

  always_comb begin
    pairs = '0;
    for (int unsigned i = 0; i < 26; i++) pairs[i] = v_i[2*i+:2] != '0;
    pair = '0;
    for (int unsigned g = 0; g < GROUPS; g++) begin
      some[g] = pairs[4*g+:4] != '0;
      upper[g] = pairs[4*g+3] ? 2'd3 : pairs[4*g+2] ? 2'd2 : pairs[4*g+1] ? 2'd1 : 2'd0;
      if (some[g]) pair = {3'(g), upper[g]};
    end
  end

  logic [7:0] entry;
  assign entry = z2_q[17:10] - 8'(RSQRT_FIRST);

  always_ff @(posedge clk_i) begin
    v1_q <= v_i;
    pair1_q <= pair;
    z2_q <= 18'({v1_q, 16'd0} >> {pair1_q, 1'b0});
    z3_q <= z2_q;
    y3_q <= RSQRT[entry];
    z4_q <= z3_q;
    y4_q <= y3_q;
    square4_q <= 19'((32'(y3_q) * 32'(y3_q)) >> 13);
    y5_q <= y4_q;
    product5_q <= 36'(z4_q[17:1]) * 36'(square4_q);
    lowest5_q <= z4_q[0] ? square4_q : '0;
    y6_q <= y5_q;
    h6_q <= 19'((37'h6_0000_0000 - {product5_q, 1'b0} - 37'(lowest5_q)) >> 16);
    y_o <= 16'((35'(y6_q) * 35'(h6_q)) >> 17);
    k_q[0] <= $signed(6'(pair1_q)) - 6'sd8;
    for (int unsigned i = 1; i < 6; i++) k_q[i] <= k_q[i-1];
  end
  assign k_o = k_q[5];
endmodule
