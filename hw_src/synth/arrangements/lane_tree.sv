// The sum of LEAVES values of BITS each, two levels of adders a register, as in rtl/dot_cell.sv. Where
// values leave a carry each, the adders take all but one of them, which is carry_o.
module lane_tree #(
    parameter int unsigned LEAVES = 8,
    parameter int unsigned BITS   = 13,
    parameter bit          CARRY  = 1'b0
) (
    input  logic                        clk_i,
    input  logic [LEAVES-1:0][BITS-1:0] value_i,
    input  logic [LEAVES-1:0]           carry_i,
    output logic [      15:0]           sum_o,
    output logic                        carry_o
);
  localparam int unsigned STAGES = ($clog2(LEAVES) + 1) / 2;

  // tree[s] holds ceil(LEAVES / 4^s) partial sums; its other entries are never read.
  logic [15:0] tree[STAGES+1][LEAVES];
  logic [LEAVES-1:0] carry[STAGES+1];
  for (genvar i = 0; i < LEAVES; i++) begin : g_leaf
    assign tree[0][i] = 16'($signed(value_i[i]));
  end
  assign carry[0] = carry_i;
  for (genvar s = 0; s < STAGES; s++) begin : g_stage
    localparam int unsigned IN = (LEAVES + 4 ** s - 1) / 4 ** s;
    localparam int unsigned OUT = (IN + 3) / 4;
    for (genvar o = 0; o < OUT; o++) begin : g_sum
      logic [15:0] a, b, c, d;
      assign a = tree[s][4*o];
      assign b = tree[s][4*o+1];
      assign c = IN > 2 ? tree[s][(4*o+2)%LEAVES] : 16'd0;
      assign d = IN > 2 ? tree[s][(4*o+3)%LEAVES] : 16'd0;
      // Kept, so that each addition is a carry chain of its own: a LUT a bit.
      if (CARRY) begin : g_carry
        // A carry comes in one bit below. Where there is one, the fourth is left over, otherwise
        // the second.
        localparam int unsigned LEFT = IN > 2 ? 4 * o + 3 : 1;
        logic [2:0] take;
        (* keep = "true" *) logic [16:0] even, odd;
        logic [16:0] both;
        assign take = {carry[s][(4*o+1)%LEAVES] && IN > 2, carry[s][(4*o+2)%LEAVES] && IN > 2,
                       carry[s][4*o]};
        assign even = {a, 1'b1} + {b, take[0]};
        assign odd = {c, 1'b1} + {d, take[1]};
        assign both = {even[16:1], 1'b1} + {odd[16:1], take[2]};
        always_ff @(posedge clk_i) begin
          tree[s+1][o]  <= both[16:1];
          carry[s+1][o] <= carry[s][LEFT];
        end
        logic unused;
        assign unused = ^{even[0], odd[0], both[0]};
      end else begin : g_plain
        (* keep = "true" *) logic [15:0] even, odd;
        assign even = a + b;
        assign odd = c + d;
        always_ff @(posedge clk_i) tree[s+1][o] <= even + odd;
        assign carry[s+1][o] = 1'b0;
      end
    end
  end
  assign sum_o = tree[STAGES][0];
  assign carry_o = carry[STAGES][0];
endmodule
