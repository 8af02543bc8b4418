// Results to the memories. A lane's byte goes to column channel % DEPTH of its token's bank, at word
// base + channel / DEPTH: the rows that come together never share a column (row_parameters.sv).
// Adding to the residual takes a read, a saturating addition and a write; a (token, channel) occurs
// once in an operation, and operations that both add never overlap (overlap.sv), so that reads never
// meet writes still under way.
//
// written_o follows written_i when the write to any memory has happened.
module writeback
  import datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned LANES = 4,
    parameter int unsigned ACT_ADDRESS = 12,
    parameter int unsigned RES_ADDRESS = 10
) (
    input  logic                                             clk_i,
    input  logic                                             rst_i,
    input  logic [        LANES-1:0]                         valid_i,
    input  logic                                             residual_i,
    input  written_t                                         written_i,
    input  logic [              4:0]                         tokens_i,
    input  logic [ ADDRESS_BITS-1:0]                         base_i,
    input  logic [        LANES-1:0][CHANNEL_BITS-1:0]       channel_i,
    input  logic [       TOKENS-1:0][       LANES-1:0][15:0] result_i,
    output logic [       TOKENS-1:0][       DEPTH-1:0]       act_we_o,
    output logic [        DEPTH-1:0][ ACT_ADDRESS-1:0]       act_address_o,
    output logic [       TOKENS-1:0][       DEPTH-1:0][ 7:0] act_data_o,
    output logic                                             res_re_o,
    output logic [        DEPTH-1:0][ RES_ADDRESS-1:0]       res_raddress_o,
    input  logic [       TOKENS-1:0][       DEPTH-1:0][15:0] res_rdata_i,
    output logic [       TOKENS-1:0][       DEPTH-1:0]       res_we_o,
    output logic [        DEPTH-1:0][ RES_ADDRESS-1:0]       res_waddress_o,
    output logic [       TOKENS-1:0][       DEPTH-1:0][15:0] res_data_o,
    output written_t                                         written_o
);
  localparam int unsigned COLUMN_BITS = $clog2(DEPTH);
  localparam int unsigned LANE_BITS = $clog2(LANES);
  localparam int unsigned WAIT = MEMORY_LATENCY + 1;

  // Column k takes the lane whose channel it holds.
  logic [DEPTH-1:0][LANES-1:0] take;
  logic [LANES-1:0][ADDRESS_BITS-1:0] word;
  always_comb begin
    for (int unsigned l = 0; l < LANES; l++) begin
      word[l] = base_i + ADDRESS_BITS'(channel_i[l] >> COLUMN_BITS);
      for (int unsigned k = 0; k < DEPTH; k++) begin
        take[k][l] = valid_i[l] && channel_i[l][COLUMN_BITS-1:0] == COLUMN_BITS'(k);
      end
    end
  end

  logic [TOKENS-1:0] bank;
  for (genvar t = 0; t < TOKENS; t++) begin : g_bank
    assign bank[t] = 5'(t) < tokens_i;
  end

  logic [DEPTH-1:0] column_q;
  logic [TOKENS-1:0] bank_q;
  logic [DEPTH-1:0][ADDRESS_BITS-1:0] address_q;
  logic [TOKENS-1:0][DEPTH-1:0][15:0] data_q, sum_q;
  // Kept: registers instead of a shift register's LUTs.
  (* keep = "true" *) logic [DEPTH-1:0] column_wait_q[WAIT];
  (* keep = "true" *) logic [TOKENS-1:0] bank_wait_q[WAIT];
  (* keep = "true" *) logic [DEPTH-1:0][RES_ADDRESS-1:0] address_wait_q[WAIT];
  (* keep = "true" *) logic [TOKENS-1:0][DEPTH-1:0][15:0] data_wait_q[WAIT-1];
  logic [LANES-1:0][TOKENS-1:0][15:0] lane;  // a lane's results of all tokens
  (* keep = "true" *) logic [DEPTH-1:0][TOKENS-1:0][15:0] column_data_q;
  (* keep = "true" *) written_t written_q[WAIT+2];
  logic residual_q;

  for (genvar t = 0; t < TOKENS; t++) begin : g_token
    for (genvar l = 0; l < LANES; l++) begin : g_lane
      assign lane[l][t] = result_i[t][l];
    end
    for (genvar k = 0; k < DEPTH; k++) begin : g_data
      assign data_q[t][k] = column_data_q[k][t];
    end
  end

  always_ff @(posedge clk_i) begin
    bank_q <= bank;
    residual_q <= residual_i;
    for (int unsigned k = 0; k < DEPTH; k++) begin
      // A number, not a bit a lane: then four lanes are one LUT a bit.
      automatic logic [LANE_BITS-1:0] from = '0;
      for (int unsigned l = 0; l < LANES; l++) if (take[k][l]) from |= LANE_BITS'(l);
      address_q[k] <= word[from];
      column_q[k]  <= take[k] != '0 && !rst_i;
      column_data_q[k] <= lane[from];
    end
    // The residual's read, addition and write.
    column_wait_q[0] <= column_q & {DEPTH{residual_q}};
    bank_wait_q[0] <= bank_q;
    data_wait_q[0] <= data_q;
    for (int unsigned k = 0; k < DEPTH; k++) address_wait_q[0][k] <= address_q[k][RES_ADDRESS-1:0];
    for (int unsigned i = 1; i < WAIT; i++) begin
      column_wait_q[i] <= rst_i ? '0 : column_wait_q[i-1];
      bank_wait_q[i] <= bank_wait_q[i-1];
      address_wait_q[i] <= address_wait_q[i-1];
    end
    for (int unsigned i = 1; i < WAIT - 1; i++) data_wait_q[i] <= data_wait_q[i-1];
    for (int unsigned t = 0; t < TOKENS; t++) begin
      for (int unsigned k = 0; k < DEPTH; k++) begin
        automatic logic signed [16:0] sum =
            17'($signed(res_rdata_i[t][k])) + 17'($signed(data_wait_q[WAIT-2][t][k]));
        sum_q[t][k] <= sum[16] == sum[15] ? sum[15:0] : {sum[16], {15{!sum[16]}}};
      end
    end
    written_q[0] <= written_i;
    for (int unsigned i = 1; i < WAIT + 2; i++) written_q[i] <= written_q[i-1];
    if (rst_i) begin
      for (int unsigned i = 0; i < WAIT + 2; i++) begin
        written_q[i].tile_final <= 1'b0;
        written_q[i].op_last <= 1'b0;
      end
    end
  end

  for (genvar t = 0; t < TOKENS; t++) begin : g_write
    for (genvar k = 0; k < DEPTH; k++) begin : g_column
      assign act_we_o[t][k]   = bank_q[t] && column_q[k] && !residual_q;
      assign act_data_o[t][k] = data_q[t][k][7:0];
      assign res_we_o[t][k]   = bank_wait_q[WAIT-1][t] && column_wait_q[WAIT-1][k];
      assign res_data_o[t][k] = sum_q[t][k];
    end
  end
  for (genvar k = 0; k < DEPTH; k++) begin : g_address
    assign act_address_o[k]  = address_q[k][ACT_ADDRESS-1:0];
    assign res_raddress_o[k] = address_q[k][RES_ADDRESS-1:0];
    assign res_waddress_o[k] = address_wait_q[WAIT-1][k];
  end
  assign res_re_o  = residual_q && column_q != '0;
  assign written_o = written_q[WAIT+1];

  logic unused;
  assign unused = ^address_q;
endmodule
