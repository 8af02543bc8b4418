// Everything between the sequencer and the on-chip memories: the units that execute LINEAR,
// LAYERNORM and ATTENTION, the array and the epilogue that they share, and the memories, which the
// control plane also reads and writes while no unit runs.
//
// An operation is started by start_i with its descriptor, which the units copy; the next one may be
// started when accept_o, which is given for next_i (overlap.sv). It asks for its parameters by itself,
// in this order: table then rows (LINEAR), gains, heads. done_o ends operations in their order.
module datapath
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 4096,
    parameter int unsigned RES_WORDS = 1024,
    parameter int unsigned LOGITS = 1024,
    parameter int unsigned PORT_BITS = 128,
    // Digit rows per cycle that leave through the epilogue, and keys per cycle through the softmax,
    // which takes a score tile of ROWS / 2 keys in the HEAD_DIM / DEPTH cycles between two of them.
    parameter int unsigned LANES = DEPTH / 4,
    localparam int unsigned EXP_MINIMUM = ROWS * DEPTH / (2 * HEAD_DIM),
    localparam int unsigned EXP_USUAL = DEPTH >= 32 ? 8 : DEPTH / 8,
    parameter int unsigned EXP_ROWS = EXP_MINIMUM > EXP_USUAL ? EXP_MINIMUM : EXP_USUAL,
    localparam int unsigned BANK_W = TOKENS > 1 ? $clog2(TOKENS) : 1,
    localparam int unsigned ACT_ADDRESS = $clog2(ACT_WORDS),
    localparam int unsigned RES_ADDRESS = $clog2(RES_WORDS),
    localparam int unsigned LOGIT_ADDRESS = $clog2(LOGITS)
) (
    input  logic                                 clk_i,
    input  logic                                 rst_i,
    input  logic                                 next_valid_i,
    input  descriptor_t                          next_i,
    output logic                                 accept_o,
    input  logic                                 start_i,
    input  descriptor_t                          descriptor_i,
    output logic                                 done_o,
    output logic                                 fault_o,
    output cause_e                               fault_cause_o,
    output logic        [              31:0]     fault_address_o,
    // parameters
    output logic                                 p_req_valid_o,
    input  logic                                 p_req_ready_i,
    output logic        [              31:0]     p_req_offset_o,
    output logic        [              31:0]     p_req_bytes_o,
    input  logic                                 p_valid_i,
    output logic                                 p_ready_o,
    input  logic        [     PORT_BITS-1:0]     p_data_i,
    // weights
    input  logic                                 w_valid_i,
    output logic                                 w_ready_o,
    input  logic        [  ROWS*DEPTH*4-1:0]     w_data_i,
    // loads
    input  logic                                 la_we_i,
    input  logic        [        BANK_W-1:0]     la_bank_i,
    input  logic        [   ACT_ADDRESS-1:0]     la_word_i,
    input  logic        [       DEPTH*8-1:0]     la_data_i,
    input  logic                                 lr_we_i,
    input  logic        [        BANK_W-1:0]     lr_bank_i,
    input  logic        [   RES_ADDRESS-1:0]     lr_word_i,
    input  logic        [      DEPTH*16-1:0]     lr_data_i,
    // stores: data MEMORY_LATENCY cycles after the address
    input  logic                                 sa_re_i,
    input  logic        [        BANK_W-1:0]     sa_bank_i,
    input  logic        [   ACT_ADDRESS-1:0]     sa_word_i,
    output logic        [       DEPTH*8-1:0]     sa_data_o,
    input  logic                                 sr_re_i,
    input  logic        [        BANK_W-1:0]     sr_bank_i,
    input  logic        [   RES_ADDRESS-1:0]     sr_word_i,
    output logic        [      DEPTH*16-1:0]     sr_data_o,
    input  logic                                 sl_re_i,
    input  logic        [ LOGIT_ADDRESS-1:0]     sl_index_i,
    output logic        [LOGIT_BANKS*32-1:0]     sl_data_o
);
  localparam int unsigned KV_BEATS = 2 * MAX_TOKENS * HEAD_DIM / (ROWS * DEPTH);
  localparam int unsigned STREAM_BEATS = 2 * MAX_CHANNELS / DEPTH;
  localparam int unsigned BEATS = STREAM_BEATS > 4 * KV_BEATS ? STREAM_BEATS : 4 * KV_BEATS;
  localparam int unsigned WADDRESS = $clog2(BEATS);
  localparam int unsigned CHUNKS = DEPTH / TOKENS;
  localparam int unsigned COST_BITS = $clog2(ROWS) + 1;
  localparam int unsigned SLOTS = ROWS / LANES;
  localparam int unsigned SLOT_BITS = SLOTS > 1 ? $clog2(SLOTS) : 1;
  localparam int unsigned EADDRESS = $clog2(2 * MAX_TOKENS / DEPTH);
  // An array that takes most of the device's multipliers leaves some products to LUTs.
  localparam bit FABRIC = TOKENS * ROWS * DEPTH > 4096;

  if (TOKENS % 2 != 0 || ROWS % (2 * TOKENS) != 0 || DEPTH % (ROWS / 2) != 0 || DEPTH % TOKENS != 0)
  begin : g_bad_shape
    $error("the datapath needs even TOKENS, ROWS a multiple of 2 TOKENS, DEPTH of ROWS / 2");
  end
  if (LANES < 2 || LANES > 8 || LANES >= DEPTH || ROWS % LANES != 0 || (ROWS / 2) % EXP_ROWS != 0)
  begin : g_bad_lanes
    $error("LANES must be 2, 4 or 8 and divide ROWS; EXP_ROWS must divide ROWS / 2");
  end
  if (PORT_BITS != 128) begin : g_bad_port
    $error("parameters come in beats of 128 bits");
  end

  logic linear, attention, norm;
  assign linear = descriptor_i.opcode == OPCODE_LINEAR;
  assign attention = descriptor_i.opcode == OPCODE_ATTENTION;
  assign norm = descriptor_i.opcode == OPCODE_LAYERNORM;

  // ---- Operations: when the next one may begin; copies for the units that run beside others
  logic linear_room, norm_running, norm_busy, parameters_taken_q;
  logic norm_start_q, attention_start_q;
  assign norm_busy = norm_running || norm_start_q;
  descriptor_t norm_q, attention_q;
  order_t order, norm_order_q, attention_order_q;
  logic [TAGS-1:0][TILE_BITS:0] progress;
  written_t written;
  overlap #(
      .TOKENS(TOKENS),
      .DEPTH (DEPTH)
  ) u_overlap (
      .clk_i,
      .rst_i,
      .next_valid_i,
      .next_i,
      .accept_o,
      .start_i,
      .descriptor_i,
      .order_o(order),
      .parameters_taken_i(parameters_taken_q),
      .linear_room_i(linear_room),
      .norm_busy_i(norm_busy),
      .written_i(written),
      .progress_o(progress),
      .done_o
  );
  always_ff @(posedge clk_i) begin
    norm_start_q <= start_i && norm && !rst_i;
    attention_start_q <= start_i && attention && !rst_i;
    if (start_i && norm) begin
      norm_q <= descriptor_i;
      norm_order_q <= order;
    end
    if (start_i && attention) begin
      attention_q <= descriptor_i;
      attention_order_q <= order;
    end
  end

  // ---- Parameters: requests, and who takes the answer: the operation started last
  logic table_mode, table_filling, rows_ready, gains_ready, heads_ready;
  logic rows_busy, gains_busy, heads_busy, linear_takes_q, norm_takes_q;
  logic rows_fault, gains_fault, heads_fault;
  cause_e rows_cause;
  logic [31:0] rows_address, gains_address, heads_address;
  logic table_ready, table_we;
  logic [5:0] table_address;
  logic [31:0] table_data;
  assign table_mode = linear && descriptor_i.mode == EPILOGUE_TABLE;
  // A cycle late, as faults are: the next operation begins after a fault of its parameters is known.
  always_ff @(posedge clk_i) begin
    parameters_taken_q <= !(p_req_valid_o || table_filling || rows_busy || gains_busy || heads_busy);
    if (start_i) begin
      linear_takes_q <= linear;
      norm_takes_q   <= norm;
    end
  end

  parameter_request u_request (
      .clk_i,
      .rst_i,
      .start_i,
      .descriptor_i,
      .req_valid_o(p_req_valid_o),
      .req_ready_i(p_req_ready_i),
      .req_offset_o(p_req_offset_o),
      .req_bytes_o(p_req_bytes_o)
  );
  table_load u_table (
      .clk_i,
      .rst_i,
      .start_i(start_i && table_mode),
      .busy_o(table_filling),
      .p_valid_i,
      .p_ready_o(table_ready),
      .p_data_i,
      .we_o(table_we),
      .address_o(table_address),
      .data_o(table_data)
  );
  assign p_ready_o = table_filling ? table_ready : linear_takes_q ? rows_ready :
      norm_takes_q ? gains_ready : heads_ready;

  logic [ROW_GROUP_BITS:0] rows_filed;
  logic [ROW_GROUPS-1:0][COST_BITS-1:0] rows_cost;
  logic [ROW_GROUP_BITS-1:0] drain_place;
  logic slow, slot_last, tile_done, group_drained_q, values_drained_q, drained_parity_q;
  logic [SLOT_BITS-1:0] drain_slot;
  logic [LANES-1:0] row_valid, row_wide;
  lane_row_t [LANES-1:0] row;
  meta_t tile_meta;
  row_parameters #(
      .ROWS (ROWS),
      .DEPTH(DEPTH),
      .LANES(LANES)
  ) u_rows (
      .clk_i,
      .rst_i,
      .start_i(start_i && linear),
      .descriptor_i,
      .p_valid_i(p_valid_i && linear_takes_q && !table_filling),
      .p_ready_o(rows_ready),
      .p_data_i,
      .fault_o(rows_fault),
      .fault_cause_o(rows_cause),
      .fault_address_o(rows_address),
      .busy_o(rows_busy),
      .filed_o(rows_filed),
      .cost_o(rows_cost),
      .release_i(group_drained_q),
      .place_i(drain_place),
      .slot_i(drain_slot),
      .slow_o(slow),
      .slot_last_o(slot_last),
      .valid_o(row_valid),
      .wide_o(row_wide),
      .row_o(row)
  );

  logic heads_full;
  logic [3:0] drain_head, softmax_head;
  head_t drain_head_parameters, softmax_head_parameters;
  head_parameters u_heads (
      .clk_i,
      .rst_i,
      .start_i(attention_start_q),
      .descriptor_i(attention_q),
      .p_valid_i(p_valid_i && !linear_takes_q && !norm_takes_q),
      .p_ready_o(heads_ready),
      .p_data_i,
      .fault_o(heads_fault),
      .fault_address_o(heads_address),
      .busy_o(heads_busy),
      .full_o(heads_full),
      .index_i({softmax_head, drain_head}),
      .head_o({softmax_head_parameters, drain_head_parameters})
  );

  always_ff @(posedge clk_i) begin
    fault_o <= (rows_fault || gains_fault || heads_fault) && !rst_i;
    fault_cause_o <= rows_fault ? rows_cause : CAUSE_BAD_FIELD;
    fault_address_o <= rows_fault ? rows_address : gains_fault ? gains_address : heads_address;
  end

  // ---- Issue: LINEAR or ATTENTION reads its operands ----
  logic fill_we, l_issue, l_first, l_last, a_issue, a_first, a_last, a_numerators;
  logic [WADDRESS-1:0] fill_address, l_waddress, a_waddress;
  logic [ADDRESS_BITS-1:0] l_xaddress, a_xaddress;
  logic [EADDRESS-1:0] e_address;
  logic attention_busy, kv_write;
  meta_t l_meta, a_meta;
  linear_unit #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .LANES(LANES),
      .BEATS(BEATS),
      .KV_BEATS(4 * KV_BEATS),
      .COST_BITS(COST_BITS)
  ) u_linear (
      .clk_i,
      .rst_i,
      .start_i(start_i && linear),
      .descriptor_i,
      .order_i(order),
      .room_o(linear_room),
      .attention_start_i(attention_start_q),
      .attention_i(attention_busy || attention_start_q),
      .kv_write_i(kv_write),
      .progress_i(progress),
      .w_valid_i,
      .w_ready_o,
      .fill_we_o(fill_we),
      .fill_address_o(fill_address),
      .filed_i(rows_filed),
      .cost_i(rows_cost),
      .issue_o(l_issue),
      .x_address_o(l_xaddress),
      .w_address_o(l_waddress),
      .first_o(l_first),
      .last_o(l_last),
      .meta_o(l_meta)
  );

  logic [1:0] k_full, v_full;
  logic kv_release, score_release, numerators, softmax_parity;
  attention_unit #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .LANES(LANES),
      .WADDRESS(WADDRESS)
  ) u_attention (
      .clk_i,
      .rst_i,
      .start_i(attention_start_q),
      .descriptor_i(attention_q),
      .tag_i(attention_order_q.tag),
      .busy_o(attention_busy),
      .k_full_i(k_full & {2{heads_full}}),
      .v_full_i(v_full),
      .kv_release_o(kv_release),
      .score_release_i(score_release),
      .numerators_i(numerators),
      .softmax_parity_i(softmax_parity),
      .issue_o(a_issue),
      .from_numerators_o(a_numerators),
      .x_address_o(a_xaddress),
      .e_address_o(e_address),
      .w_address_o(a_waddress),
      .first_o(a_first),
      .last_o(a_last),
      .meta_o(a_meta)
  );

  logic issue, array_reads_act, kv_read;
  logic [WADDRESS-1:0] w_address;
  logic [ADDRESS_BITS-1:0] kv_address, act_address;
  assign issue = l_issue || a_issue;
  assign w_address = l_issue ? l_waddress : a_waddress;
  assign array_reads_act = l_issue || (a_issue && !a_numerators);
  assign act_address = l_issue ? l_xaddress : array_reads_act ? a_xaddress : kv_address;

  // ---- Memories ----
  logic [TOKENS-1:0][DEPTH-1:0][7:0] act_rdata, wb_act_data, e_data, x;
  logic [TOKENS-1:0][DEPTH-1:0] wb_act_we, wb_res_we;
  logic [DEPTH-1:0][ACT_ADDRESS-1:0] wb_act_address;
  logic [TOKENS-1:0][DEPTH-1:0][15:0] res_rdata, wb_res_data;
  logic [DEPTH-1:0][RES_ADDRESS-1:0] res_raddress, wb_res_raddress, wb_res_waddress;
  logic wb_res_re, ln_re;
  logic [ADDRESS_BITS-1:0] ln_address;
  logic [LOGIT_BANKS-1:0] logit_we;
  logic [LOGIT_BANKS-1:0][CHANNEL_BITS-1:0] logit_channel;
  logic [LOGIT_BANKS-1:0][LOGIT_ADDRESS-1:0] logit_index;
  logic [LOGIT_BANKS-1:0][31:0] logit_data;
  for (genvar b = 0; b < LOGIT_BANKS; b++) begin : g_logit
    assign logit_index[b] = logit_channel[b][LOGIT_ADDRESS-1:0];
  end

  for (genvar k = 0; k < DEPTH; k++) begin : g_column
    assign res_raddress[k] = ln_re ? ln_address[RES_ADDRESS-1:0] : wb_res_raddress[k];
  end
  onchip #(
      .TOKENS(TOKENS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS)
  ) u_onchip (
      .clk_i,
      .la_we_i,
      .la_bank_i,
      .la_word_i,
      .la_data_i,
      .lr_we_i,
      .lr_bank_i,
      .lr_word_i,
      .lr_data_i,
      .sa_re_i,
      .sa_bank_i,
      .sa_word_i,
      .sa_data_o,
      .sr_re_i,
      .sr_bank_i,
      .sr_word_i,
      .sr_data_o,
      .sl_re_i,
      .sl_index_i,
      .sl_data_o,
      .act_re_i(array_reads_act || kv_read),
      .act_raddress_i(act_address[ACT_ADDRESS-1:0]),
      .act_rdata_o(act_rdata),
      .act_we_i(wb_act_we),
      .act_waddress_i(wb_act_address),
      .act_wdata_i(wb_act_data),
      .res_re_i(wb_res_re || ln_re),
      .res_raddress_i(res_raddress),
      .res_rdata_o(res_rdata),
      .res_we_i(wb_res_we),
      .res_waddress_i(wb_res_waddress),
      .res_wdata_i(wb_res_data),
      .logit_we_i(logit_we),
      .logit_index_i(logit_index),
      .logit_data_i(logit_data)
  );

  // The weight memory takes the stream, a cycle late, or K and V.
  logic [ROWS-1:0][CHUNKS-1:0] weight_we;
  logic [WADDRESS-1:0] weight_address;
  logic [ROWS-1:0][DEPTH-1:0][3:0] weight_data, w;
  weight_memory #(
      .TOKENS(TOKENS),
      .ROWS  (ROWS),
      .DEPTH (DEPTH),
      .BEATS (BEATS)
  ) u_weights (
      .clk_i,
      .re_i(issue),
      .raddr_i(w_address),
      .rdata_o(w),
      .we_i(weight_we),
      .waddr_i(weight_address),
      .wdata_i(weight_data)
  );
  kv_fill #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .WADDRESS(WADDRESS)
  ) u_kv (
      .clk_i,
      .rst_i,
      .start_i(attention_start_q),
      .descriptor_i(attention_q),
      .k_full_o(k_full),
      .v_full_o(v_full),
      .release_i(kv_release),
      .read_o(kv_read),
      .grant_i(!array_reads_act),
      .address_o(kv_address),
      .rdata_i(act_rdata),
      .fill_we_i(fill_we),
      .fill_address_i(fill_address),
      .fill_data_i(w_data_i),
      .write_next_o(kv_write),
      .we_o(weight_we),
      .waddress_o(weight_address),
      .wdata_o(weight_data)
  );

  // ---- The array ----
  logic [MEMORY_LATENCY-1:0] issue_q, first_q, last_q;
  logic [MEMORY_LATENCY-2:0] numerators_q;
  meta_t meta_q[MEMORY_LATENCY];
  always_ff @(posedge clk_i) begin
    issue_q <= rst_i ? '0 : {issue_q[MEMORY_LATENCY-2:0], issue};
    first_q <= {first_q[MEMORY_LATENCY-2:0], l_issue ? l_first : a_first};
    last_q <= {last_q[MEMORY_LATENCY-2:0], l_issue ? l_last : a_last};
    numerators_q <= !l_issue && a_numerators;
    meta_q[0] <= l_issue ? l_meta : a_meta;
    for (int unsigned i = 1; i < MEMORY_LATENCY; i++) meta_q[i] <= meta_q[i-1];
  end
  for (genvar t = 0; t < TOKENS; t++) begin : g_operand
    logic from_numerators;
    replica u_select (
        .clk_i,
        .d_i(numerators_q[MEMORY_LATENCY-2]),
        .q_o(from_numerators)
    );
    assign x[t] = from_numerators ? e_data[t] : act_rdata[t];
  end

  logic tile_final;
  meta_t final_meta;
  logic [TOKENS-1:0][ROWS-1:0][ACC_BITS-1:0] acc, captured;
  array #(
      .TOKENS(TOKENS),
      .ROWS  (ROWS),
      .DEPTH (DEPTH)
  ) u_array (
      .clk_i,
      .rst_i,
      .valid_i(issue_q[MEMORY_LATENCY-1]),
      .first_i(first_q[MEMORY_LATENCY-1]),
      .last_i(last_q[MEMORY_LATENCY-1]),
      .meta_i(meta_q[MEMORY_LATENCY-1]),
      .x_i(x),
      .w_i(w),
      .final_o(tile_final),
      .meta_o(final_meta),
      .acc_o(acc),
      .captured_o(captured)
  );

  logic [1:0][TOKENS-1:0][15:0] mean_y;
  logic [1:0][TOKENS-1:0][5:0] mean_shift;
  softmax #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .EXP_ROWS(EXP_ROWS),
      .FABRIC(FABRIC)
  ) u_softmax (
      .clk_i,
      .rst_i,
      .start_i(attention_start_q),
      .descriptor_i(attention_q),
      .score_i(tile_final),
      .meta_i(final_meta),
      .acc_i(acc),
      .head_o(softmax_head),
      .multiplier_i(softmax_head_parameters.score_multiplier[14:0]),
      .shift_i(softmax_head_parameters.score_shift[4:0]),
      .score_release_o(score_release),
      .ready_o(numerators),
      .parity_o(softmax_parity),
      .drained_i(values_drained_q),
      .drained_parity_i(drained_parity_q),
      .e_address_i(e_address),
      .e_o(e_data),
      .y_o(mean_y),
      .shift_o(mean_shift)
  );

  // ---- Epilogue ----
  logic [LANES-1:0] drain_valid, result_valid;
  meta_t drain_meta;
  logic [TOKENS:0] drain_linear;
  logic drain_last, drain_coming, residual_valid, result_residual;
  written_t result_written, ln_written;
  lane_row_t [LANES-1:0] drain_row;
  logic [TOKENS-1:0][LANES-1:0][31:0] drain_acc;
  drain #(
      .TOKENS(TOKENS),
      .ROWS  (ROWS),
      .LANES (LANES)
  ) u_drain (
      .clk_i,
      .rst_i,
      .final_i(tile_final),
      .meta_i(final_meta),
      .captured_i(captured),
      .place_o(drain_place),
      .slot_o(drain_slot),
      .slow_i(slow),
      .slot_last_i(slot_last),
      .row_valid_i(row_valid),
      .row_wide_i(row_wide),
      .row_i(row),
      .head_o(drain_head),
      .head_multiplier_i(drain_head_parameters.out_multiplier[14:0]),
      .head_shift_i(drain_head_parameters.out_shift[5:0]),
      .tile_done_o(tile_done),
      .tile_meta_o(tile_meta),
      .coming_o(drain_coming),
      .valid_o(drain_valid),
      .meta_o(drain_meta),
      .linear_o(drain_linear),
      .last_o(drain_last),
      .row_o(drain_row),
      .acc_o(drain_acc)
  );

  // What waits for the drain hears of it a cycle later.
  always_ff @(posedge clk_i) begin
    group_drained_q <= tile_done && tile_meta.kind == KIND_LINEAR && tile_meta.group_last && !rst_i;
    values_drained_q <= tile_done && tile_meta.kind == KIND_VALUE && tile_meta.group_last && !rst_i;
    drained_parity_q <= tile_meta.parity;
  end

  logic [TOKENS:0] ln_valid;
  logic [5:0] ln_out_shift;
  logic [4:0] ln_tokens, result_tokens;
  logic [ADDRESS_BITS-1:0] ln_base, result_base;
  logic [CHANNEL_BITS-1:0] ln_channel;
  logic [TOKENS-1:0][26:0] ln_scale;
  logic [TOKENS-1:0][SUM_BITS-1:0] ln_offset;
  logic [TOKENS-1:0][5:0] ln_shift;
  logic [TOKENS-1:0][LANES-1:0][15:0] ln_x, result;
  logic [LANES-1:0][14:0] ln_gain;
  logic [LANES-1:0][CHANNEL_BITS-1:0] result_channel;
  layernorm_unit #(
      .TOKENS(TOKENS),
      .DEPTH (DEPTH),
      .LANES (LANES),
      .FABRIC(FABRIC)
  ) u_layernorm (
      .clk_i,
      .rst_i,
      .start_i(norm_start_q),
      .descriptor_i(norm_q),
      .order_i(norm_order_q),
      .progress_i(progress),
      .busy_o(norm_running),
      .gains_busy_o(gains_busy),
      .p_valid_i(p_valid_i && norm_takes_q),
      .p_ready_o(gains_ready),
      .p_data_i,
      .fault_o(gains_fault),
      .fault_address_o(gains_address),
      .residual_valid_i(residual_valid),
      .re_o(ln_re),
      .address_o(ln_address),
      .rdata_i(res_rdata),
      .lanes_taken_i(drain_coming),
      .valid_o(ln_valid),
      .written_o(ln_written),
      .tokens_o(ln_tokens),
      .base_o(ln_base),
      .channel_o(ln_channel),
      .scale_o(ln_scale),
      .offset_o(ln_offset),
      .shift_o(ln_shift),
      .x_o(ln_x),
      .gain_o(ln_gain),
      .out_shift_o(ln_out_shift)
  );

  epilogue #(
      .TOKENS(TOKENS),
      .LANES (LANES)
  ) u_epilogue (
      .clk_i,
      .rst_i,
      .table_we_i(table_we),
      .table_address_i(table_address),
      .table_data_i(table_data),
      .drain_valid_i(drain_valid),
      .drain_meta_i(drain_meta),
      .drain_linear_i(drain_linear),
      .drain_last_i(drain_last),
      .drain_row_i(drain_row),
      .drain_acc_i(drain_acc),
      .mean_y_i(mean_y),
      .mean_shift_i(mean_shift),
      .norm_valid_i(ln_valid),
      .norm_written_i(ln_written),
      .norm_tokens_i(ln_tokens),
      .norm_base_i(ln_base),
      .norm_channel_i(ln_channel),
      .norm_scale_i(ln_scale),
      .norm_offset_i(ln_offset),
      .norm_shift_i(ln_shift),
      .norm_x_i(ln_x),
      .norm_gain_i(ln_gain),
      .norm_out_shift_i(ln_out_shift),
      .logit_we_o(logit_we),
      .logit_index_o(logit_channel),
      .logit_data_o(logit_data),
      .residual_valid_o(residual_valid),
      .valid_o(result_valid),
      .residual_o(result_residual),
      .written_o(result_written),
      .tokens_o(result_tokens),
      .base_o(result_base),
      .channel_o(result_channel),
      .result_o(result)
  );

  writeback #(
      .TOKENS(TOKENS),
      .DEPTH(DEPTH),
      .LANES(LANES),
      .ACT_ADDRESS(ACT_ADDRESS),
      .RES_ADDRESS(RES_ADDRESS)
  ) u_writeback (
      .clk_i,
      .rst_i,
      .valid_i(result_valid),
      .residual_i(result_residual),
      .written_i(result_written),
      .tokens_i(result_tokens),
      .base_i(result_base),
      .channel_i(result_channel),
      .result_i(result),
      .act_we_o(wb_act_we),
      .act_address_o(wb_act_address),
      .act_data_o(wb_act_data),
      .res_re_o(wb_res_re),
      .res_raddress_o(wb_res_raddress),
      .res_rdata_i(res_rdata),
      .res_we_o(wb_res_we),
      .res_waddress_o(wb_res_waddress),
      .res_data_o(wb_res_data),
      .written_o(written)
  );
`ifdef VERILATOR
  always_ff @(posedge clk_i) begin
    if (!rst_i) begin
      one_issuer :
      assert (!(l_issue && a_issue));
    end
  end
`endif

  logic unused;
  assign unused = ^{act_address, ln_address, logit_channel, tile_meta, attention_order_q, drain_head_parameters,
                    softmax_head_parameters};
endmodule
