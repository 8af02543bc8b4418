// Two digit rows times two tokens over DEPTH inputs: sum_o[t][r] = sum over k of x[t][k] w[r][k],
// cell_latency(DEPTH) cycles later. |sum| <= 32 * 8 * 127 < 2^15.
//
// Built of DEPTH packed multipliers and an adder tree. In simulation the same sums come from plain
// products and a delay line, four times faster; QUASAR_STRUCTURAL keeps the real ones, and a test
// compares both.
`ifdef VERILATOR
`ifndef QUASAR_STRUCTURAL
`define QUASAR_FAST
`endif
`endif

module dot_cell
  import datapath_pkg::*;
#(
    parameter int unsigned DEPTH = 16
) (
    input  logic                       clk_i,
    input  logic [1:0][DEPTH-1:0][7:0] x_i,
    input  logic [1:0][DEPTH-1:0][3:0] w_i,
    output logic [1:0][1:0][15:0]      sum_o
);
  localparam int unsigned LATENCY = cell_latency(DEPTH);

`ifdef QUASAR_FAST
  /* verilator no_inline_module */
  logic [1:0][1:0][15:0] delay_q[LATENCY];

  always_ff @(posedge clk_i) begin
    for (int unsigned t = 0; t < 2; t++) begin
      for (int unsigned r = 0; r < 2; r++) begin
        automatic logic signed [15:0] sum = 16'sd0;
        for (int unsigned k = 0; k < DEPTH; k++) begin
          sum += 16'($signed(x_i[t][k])) * 16'($signed(w_i[r][k]));
        end
        delay_q[0][t][r] <= sum;
      end
    end
    for (int unsigned i = 1; i < LATENCY; i++) delay_q[i] <= delay_q[i-1];
  end
  assign sum_o = delay_q[LATENCY-1];
`else
  localparam int unsigned STAGES = LATENCY - 4;

  logic [DEPTH-1:0][1:0][1:0][10:0] product;
  for (genvar k = 0; k < DEPTH; k++) begin : g_input
    mul4 u_mul4 (
        .clk_i,
        .x_i({x_i[1][k], x_i[0][k]}),
        .w_i({w_i[1][k], w_i[0][k]}),
        .p_o(product[k])
    );
  end

  // tree_q[s] holds ceil(DEPTH / 4^s) partial sums; its unused entries are never read.
  logic [1:0][1:0][15:0] tree[STAGES+1][DEPTH];
  always_comb begin
    for (int unsigned k = 0; k < DEPTH; k++) begin
      for (int unsigned t = 0; t < 2; t++) begin
        for (int unsigned r = 0; r < 2; r++) tree[0][k][t][r] = 16'($signed(product[k][t][r]));
      end
    end
  end
  for (genvar s = 0; s < STAGES; s++) begin : g_stage
    localparam int unsigned IN = (DEPTH + 4 ** s - 1) / 4 ** s;
    localparam int unsigned OUT = (IN + 3) / 4;
    for (genvar o = 0; o < OUT; o++) begin : g_sum
      always_ff @(posedge clk_i) begin
        for (int unsigned t = 0; t < 2; t++) begin
          for (int unsigned r = 0; r < 2; r++) begin
            automatic logic [15:0] sum = 16'd0;
            for (int unsigned i = 0; i < 4; i++) begin
              if (4 * o + i < IN) sum += tree[s][4*o+i][t][r];
            end
            tree[s+1][o][t][r] <= sum;
          end
        end
      end
    end
  end
  assign sum_o = tree[STAGES][0];
`endif
endmodule
