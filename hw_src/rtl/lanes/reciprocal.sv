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
  logic [4:0] length_q[4];
  logic [15:0] z1_q, z2_q, y2_q, y3_q;
  logic [17:0] h3_q;

  // z: s moved up by 8, 4, 2 and 1 where that many of its highest bits are zeros.
  logic [3:0] zeros;
  logic [15:0] by8, by4, by2, by1;
  always_comb begin
    zeros[3] = s_i[15:8] == '0;
    by8 = zeros[3] ? s_i << 8 : s_i;
    zeros[2] = by8[15:12] == '0;
    by4 = zeros[2] ? by8 << 4 : by8;
    zeros[1] = by4[15:14] == '0;
    by2 = zeros[1] ? by4 << 2 : by4;
    zeros[0] = !by2[15];
    by1 = zeros[0] ? by2 << 1 : by2;
  end

  always_ff @(posedge clk_i) begin
    length_q[0] <= 5'd16 - 5'(zeros);
    for (int unsigned i = 1; i < 4; i++) length_q[i] <= length_q[i-1];
    z1_q <= by1;
    z2_q <= z1_q;
    y2_q <= RECIPROCAL[z1_q[14:7]];
    y3_q <= y2_q;
    h3_q <= 18'((32'h8000_0000 - 32'(z2_q) * 32'(y2_q)) >> 14);
    y_o <= 16'((34'(y3_q) * 34'(h3_q)) >> 15);
  end
  assign length_o = length_q[3];
endmodule
