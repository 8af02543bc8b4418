// A half of a cascade's sum, L0 + L1 2^10, taken apart with L1's LOW lowest bits, which are known.
//
// |L0| < 2^(9+LOW), so v = L0 >> 10 has LOW bits, v = both[9+LOW:10] - L1 modulo 2^LOW, and
// L0 = {v, both[9:0]}, L1 = (both >> 10) - v. Of L1 only what the low bits' difference carries into
// the others is added to them. A register.
module separate #(
    parameter  int unsigned LOW  = 3,
    localparam int unsigned LANE = 10 + LOW
) (
    input  logic                      clk_i,
    input  logic      [LANE+9:0]      both_i,
    input  logic      [ LOW-1:0]      low_i,
    output logic [1:0][LANE-1:0]      sum_o  // [token]
);
  localparam int signed HALF = 2 ** (LOW - 1);
  logic [LOW-1:0] middle, v;
  logic signed [LOW+1:0] difference;
  logic up, down;
  logic [10:0] chain;  // its lowest bit is the way in for `up`
  assign middle = both_i[10+:LOW];
  assign v = middle - low_i;
  assign difference = $signed({2'b00, middle}) - $signed({2'b00, low_i});
  assign up = difference >= (LOW + 2)'(HALF);
  assign down = difference < -(LOW + 2)'(HALF);
  assign chain = {both_i[LANE+:10], 1'b1} + {{10{down}}, up};
  always_ff @(posedge clk_i) sum_o <= {chain[10:1], low_i, v, both_i[9:0]};

  logic unused;
  assign unused = chain[0];
endmodule
