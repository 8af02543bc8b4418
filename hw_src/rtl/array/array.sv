// The array: each cycle X[TOKENS][DEPTH] activations times W[ROWS][DEPTH] digits into TOKENS x ROWS
// accumulators, output-stationary over a tile's steps; no bubble between tiles.
//
// A tile's accumulators are final for one cycle, marked by final_o with its tag: scores are taken
// from them there. For the other kinds they move to a second register, captured_o, from which the
// epilogue drains them while the next tile runs. The issuing unit spaces the last steps of tiles so
// that a capture never overtakes the drain: the array itself has no backpressure.
module array
  import datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS   = 16,
    parameter int unsigned DEPTH  = 16
) (
    input  logic                                         clk_i,
    input  logic                                         rst_i,
    input  logic                                         valid_i,
    input  logic                                         first_i,
    input  logic                                         last_i,
    input  meta_t                                        meta_i,
    input  logic  [TOKENS-1:0][DEPTH-1:0][          7:0] x_i,
    input  logic  [  ROWS-1:0][DEPTH-1:0][          3:0] w_i,
    output logic                                         final_o,
    output meta_t                                        meta_o,
    output logic  [TOKENS-1:0][ ROWS-1:0][ACC_BITS-1:0]  acc_o,
    output logic  [TOKENS-1:0][ ROWS-1:0][ACC_BITS-1:0]  captured_o
);
  localparam int unsigned LATENCY = 1 + cell_latency(DEPTH);

  // In simulation the cells are their plain twins; QUASAR_STRUCTURAL keeps the multipliers, and a
  // test compares both.
`ifdef VERILATOR
`ifndef QUASAR_STRUCTURAL
`define QUASAR_FAST
`endif
`endif
  logic [TOKENS-1:0][ROWS-1:0][15:0] sum;
`ifdef QUASAR_FAST
  logic [TOKENS-1:0][DEPTH-1:0][7:0] x_q;
  logic [ROWS-1:0][DEPTH-1:0][3:0] w_q;
  always_ff @(posedge clk_i) begin
    x_q <= x_i;
    w_q <= w_i;
  end
`else
  // Operands are packed once for all cells that share them.
  logic [TOKENS/2-1:0][DEPTH-1:0][17:0] x_packed;
  logic [TOKENS/2-1:0][DEPTH-1:0][2:0] x1_low;
  packed_digits_t [ROWS/2-1:0][DEPTH-1:0] w_packed;
  logic [ROWS/2-1:0][DEPTH-1:0][2:0] w0_low, w1_low;
  for (genvar k = 0; k < DEPTH; k++) begin : g_input
    for (genvar t = 0; t < TOKENS; t += 2) begin : g_pair
      pack_tokens #(
          .SKEW(skew(k))
      ) u_pack (
          .clk_i,
          .x_i  ({x_i[t+1][k], x_i[t][k]}),
          .x_o  (x_packed[t/2][k]),
          .low_o(x1_low[t/2][k])
      );
    end
    for (genvar r = 0; r < ROWS; r += 2) begin : g_row
      pack_digits #(
          .SKEW(skew(k))
      ) u_pack (
          .clk_i,
          .w_i  ({w_i[r+1][k], w_i[r][k]}),
          .w_o  (w_packed[r/2][k]),
          .low_o({w1_low[r/2][k], w0_low[r/2][k]})
      );
    end
  end
`endif

  for (genvar t = 0; t < TOKENS; t += 2) begin : g_token
    for (genvar r = 0; r < ROWS; r += 2) begin : g_row
      logic [1:0][1:0][15:0] part;
`ifdef QUASAR_FAST
      plain_cell #(
          .DEPTH(DEPTH)
      ) u_cell (
          .clk_i,
          .x_i  (x_q[t+:2]),
          .w_i  (w_q[r+:2]),
          .sum_o(part)
      );
`else
      dot_cell #(
          .DEPTH(DEPTH)
      ) u_cell (
          .clk_i,
          .w_i(w_packed[r/2]),
          .x_i(x_packed[t/2]),
          .w0_low_i(w0_low[r/2]),
          .w1_low_i(w1_low[r/2]),
          .x1_low_i(x1_low[t/2]),
          .sum_o(part)
      );
`endif
      assign sum[t][r+:2]   = part[0];
      assign sum[t+1][r+:2] = part[1];
    end
  end

  // Tags, delayed as the sums are.
  // Kept: registers instead of a shift register's LUTs.
  (* keep = "true" *) logic [LATENCY-1:0] valid_q, last_q;
  (* keep = "true" *) logic [LATENCY-2:0] first_q;
  (* keep = "true" *) meta_t meta_q[LATENCY+1];
  logic final_q;
  always_ff @(posedge clk_i) begin
    valid_q <= {valid_q[LATENCY-2:0], valid_i};
    first_q <= {first_q[LATENCY-3:0], first_i};
    last_q <= {last_q[LATENCY-2:0], last_i};
    meta_q[0] <= meta_i;
    for (int unsigned i = 1; i <= LATENCY; i++) meta_q[i] <= meta_q[i-1];
    final_q <= valid_q[LATENCY-1] & last_q[LATENCY-1];
    if (rst_i) begin
      valid_q <= '0;
      final_q <= 1'b0;
    end
  end
  assign final_o = final_q;
  assign meta_o  = meta_q[LATENCY];

  // The last registers before the accumulators, a copy per digit row.
  logic [ROWS-1:0] valid_row, first_row, capture_row;
  for (genvar r = 0; r < ROWS; r++) begin : g_replica
    replica #(
        .WIDTH(3)
    ) u_tags (
        .clk_i,
        .d_i({valid_q[LATENCY-2], first_q[LATENCY-2],
              valid_q[LATENCY-1] && last_q[LATENCY-1] && meta_q[LATENCY-1].kind != KIND_SCORE}),
        .q_o({valid_row[r], first_row[r], capture_row[r]})
    );
  end

  logic [TOKENS-1:0][ROWS-1:0][ACC_BITS-1:0] acc;
  for (genvar t = 0; t < TOKENS; t++) begin : g_accumulators
    for (genvar r = 0; r < ROWS; r++) begin : g_row
      accumulator u_acc (
          .clk_i,
          .valid_i(valid_row[r]),
          .first_i(first_row[r]),
          .sum_i  (sum[t][r]),
          .acc_o  (acc[t][r])
      );
    end
  end
  always_ff @(posedge clk_i) begin
    for (int unsigned t = 0; t < TOKENS; t++) begin
      for (int unsigned r = 0; r < ROWS; r++) begin
        if (capture_row[r]) captured_o[t][r] <= acc[t][r];
      end
    end
  end
  assign acc_o = acc;
endmodule
