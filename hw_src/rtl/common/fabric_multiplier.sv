// p = a * b in LUTs, for where an array leaves no multipliers over: three cycles behind its operands.
//
// By Booth's digits of b, -2 b[2j+1] + b[2j] + b[2j-1] in [-2, 2]: row j adds its digit times a 4^j to
// the rows before. A bit of a row is one LUT6: two bits of a, three of b, and the bit of the sum so
// far. A negative multiple is the positive one's complement, and a carry that comes in one bit below.
//
// After j rows |sum| < 2/3 2^A 4^j: its 2 j lowest bits stay, A + 2 bits hold the others and another row.
module fabric_multiplier #(
    parameter int unsigned A_BITS = 22,
    parameter int unsigned B_BITS = 16
) (
    input  logic                            clk_i,
    input  logic signed [       A_BITS-1:0] a_i,
    input  logic signed [       B_BITS-1:0] b_i,
    output logic signed [A_BITS+B_BITS-1:0] p_o
);
  localparam int unsigned STAGES = 3;
  localparam int unsigned ROWS = B_BITS / 2;
  localparam int unsigned ROWS_A_STAGE = (ROWS + STAGES - 1) / STAGES;
  localparam int unsigned WIDTH = A_BITS + 2;
  if (B_BITS % 2 != 0 || (STAGES - 1) * ROWS_A_STAGE >= ROWS) begin : g_check
    $error("a digit takes two bits of B, and each stage some digits");
  end

  // What a stage begins with: operands, sum, bits of the product that no further row changes.
  logic [A_BITS-1:0] a_q[STAGES+1];
  logic [B_BITS-1:0] b_q[STAGES+1], low_q[STAGES+1], low[STAGES+1];
  logic [WIDTH-1:0] sum_q[STAGES+1];
  logic [WIDTH-1:0] sum[ROWS+1];
  assign a_q[0] = a_i;
  assign b_q[0] = b_i;
  assign low_q[0] = '0;
  assign sum_q[0] = '0;

  for (genvar j = 0; j < ROWS; j++) begin : g_row
    localparam int unsigned STAGE = j / ROWS_A_STAGE;
    logic [2:0] digit;
    logic [WIDTH-1:0] before_row, once, row;
    (* keep = "true" *) logic [WIDTH:0] chain;
    assign digit = 3'({b_q[STAGE], 1'b0} >> (2 * j));
    assign before_row = j % ROWS_A_STAGE == 0 ? sum_q[STAGE] : sum[j];
    assign once = WIDTH'($signed(a_q[STAGE]));
    assign row = {WIDTH{digit[2]}} ^ (({WIDTH{digit[1] ^ digit[0]}} & once) |
        ({WIDTH{digit == 3'b011 || digit == 3'b100}} & once << 1));
    assign chain = {before_row, 1'b1} + {row, digit[2]};
    assign sum[j+1] = WIDTH'($signed(chain[WIDTH:3]));
    logic unused_carry;
    assign unused_carry = chain[0];
  end
  for (genvar s = 0; s < STAGES; s++) begin : g_stage
    localparam int unsigned END = (s + 1) * ROWS_A_STAGE < ROWS ? (s + 1) * ROWS_A_STAGE : ROWS;
    for (genvar j = 0; j < ROWS; j++) begin : g_low
      if (j / ROWS_A_STAGE == s) begin : g_new
        assign low[s+1][2*j+:2] = g_row[j].chain[2:1];
      end else begin : g_old
        assign low[s+1][2*j+:2] = low_q[s][2*j+:2];
      end
    end
    always_ff @(posedge clk_i) begin
      a_q[s+1] <= a_q[s];
      b_q[s+1] <= b_q[s];
      low_q[s+1] <= low[s+1];
      sum_q[s+1] <= sum[END];
    end
  end
  assign p_o = {sum_q[STAGES][A_BITS-1:0], low_q[STAGES]};

  logic unused;
  assign unused = ^{a_q[STAGES], b_q[STAGES], sum_q[STAGES]};
endmodule
