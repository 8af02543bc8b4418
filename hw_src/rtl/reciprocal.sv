// Reciprocal, one value a cycle, four cycles later:
//   y * 2^-k ~ 1 / s, s in [1, 2^16);  L = bits(s),  k = L + 15,  z = s * 2^(16 - L)
//   y0 = RECIPROCAL[(z >> 7) & 255],  y = (y0 * ((2^31 - z * y0) >> 14)) >> 15
module reciprocal
  import quasar_pkg::*;
(
    input  logic        clk_i,
    input  logic [15:0] s_i,
    output logic [15:0] y_o,
    output logic [ 4:0] length_o
);
  logic [4:0] length, length_q[4];
  logic [15:0] z1_q, z2_q, y2_q, y3_q;
  logic [17:0] h3_q;

  always_comb begin
    length = 5'd0;
    for (int unsigned i = 0; i < 16; i++) if (s_i[i]) length = 5'(i + 1);
  end

  always_ff @(posedge clk_i) begin
    length_q[0] <= length;
    for (int unsigned i = 1; i < 4; i++) length_q[i] <= length_q[i-1];
    z1_q <= 16'(s_i << (5'd16 - length));
    z2_q <= z1_q;
    y2_q <= RECIPROCAL[RECIPROCAL_BITS*32'(z1_q[14:7])+:RECIPROCAL_BITS];
    y3_q <= y2_q;
    h3_q <= 18'((32'h8000_0000 - 32'(z2_q) * 32'(y2_q)) >> 14);
    y_o <= 16'((34'(y3_q) * 34'(h3_q)) >> 15);
  end
  assign length_o = length_q[3];
endmodule
