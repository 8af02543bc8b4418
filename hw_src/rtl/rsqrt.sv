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
  // Seven registers from v_i to y_o.
  logic [51:0] v1_q;
  logic signed [5:0] k1_q, k_q[6];
  logic [17:0] z2_q, z3_q, z4_q;
  logic [15:0] y3_q, y4_q, y5_q, y6_q;
  logic [18:0] square4_q;
  logic [36:0] product5_q;
  logic [18:0] h6_q;
  logic [5:0] length;
  logic signed [6:0] excess;
  assign excess = $signed({1'b0, length}) - 7'sd17;

  always_comb begin
    length = 6'd0;
    for (int unsigned i = 0; i < 52; i++) if (v_i[i]) length = 6'(i + 1);
  end

  logic [7:0] entry;
  assign entry = z2_q[17:10] - 8'(RSQRT_FIRST);

  always_ff @(posedge clk_i) begin
    v1_q <= v_i;
    k1_q <= 6'(excess >>> 1);
    z2_q <= k1_q[5] ? 18'(v1_q << {-k1_q, 1'b0}) : 18'(v1_q >> {k1_q, 1'b0});
    z3_q <= z2_q;
    y3_q <= RSQRT[RSQRT_BITS*32'(entry)+:RSQRT_BITS];
    z4_q <= z3_q;
    y4_q <= y3_q;
    square4_q <= 19'((32'(y3_q) * 32'(y3_q)) >> 13);
    y5_q <= y4_q;
    product5_q <= 37'(z4_q) * 37'(square4_q);
    y6_q <= y5_q;
    h6_q <= 19'((37'h6_0000_0000 - product5_q) >> 16);
    y_o <= 16'((35'(y6_q) * 35'(h6_q)) >> 17);
    k_q[0] <= k1_q;
    for (int unsigned i = 1; i < 6; i++) k_q[i] <= k_q[i-1];
  end
  assign k_o = k_q[5];
endmodule
