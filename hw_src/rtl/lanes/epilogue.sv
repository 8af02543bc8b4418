// TOKENS x LANES requantisation lanes with what surrounds them: the choice between the array's
// drain and LayerNorm, parameters delayed to the cycle that needs them, GELU's table, logits. Results
// carry everything with them that depends on their operation, since those of one operation follow
// those of another without a gap; the drain goes first, LayerNorm takes the cycles it leaves.
//
// Cycle 0 lane inputs, 10 the lanes' results, 11 table values; writeback.sv follows.
module epilogue
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned LANES  = 4
) (
    input  logic                                            clk_i,
    input  logic                                            rst_i,
    // GELU's table, a word of four bytes at a time
    input  logic                                            table_we_i,
    input  logic        [       5:0]                        table_address_i,
    input  logic        [      31:0]                        table_data_i,
    // from the array
    input  logic        [ LANES-1:0]                        drain_valid_i,
    input  meta_t                                           drain_meta_i,
    input  logic        [  TOKENS:0]                        drain_linear_i,  // copies
    input  logic                                            drain_last_i,
    input  lane_row_t   [ LANES-1:0]                        drain_row_i,
    input  logic        [TOKENS-1:0][LANES-1:0][      31:0] drain_acc_i,
    input  logic        [       1:0][TOKENS-1:0][     15:0] mean_y_i,
    input  logic        [       1:0][TOKENS-1:0][      5:0] mean_shift_i,
    // from LayerNorm: LANES neighbouring channels of TOKENS tokens
    input  logic        [  TOKENS:0]                        norm_valid_i,  // copies
    input  written_t                                        norm_written_i,
    input  logic        [       4:0]                        norm_tokens_i,
    input  logic        [ADDRESS_BITS-1:0]                  norm_base_i,
    input  logic        [CHANNEL_BITS-1:0]                  norm_channel_i,
    input  logic        [TOKENS-1:0][      26:0]            norm_scale_i,
    input  logic        [TOKENS-1:0][SUM_BITS-1:0]          norm_offset_i,
    input  logic        [TOKENS-1:0][       5:0]            norm_shift_i,
    input  logic        [TOKENS-1:0][LANES-1:0][      15:0] norm_x_i,
    input  logic        [ LANES-1:0][      14:0]            norm_gain_i,
    input  logic        [       5:0]                        norm_out_shift_i,
    // logits, a bank each
    output logic        [LOGIT_BANKS-1:0]                   logit_we_o,
    output logic        [LOGIT_BANKS-1:0][CHANNEL_BITS-1:0] logit_index_o,
    output logic        [LOGIT_BANKS-1:0][31:0]             logit_data_o,
    // results
    output logic                                            residual_valid_o,  // any, for the residual
    output logic        [ LANES-1:0]                        valid_o,
    output logic                                            residual_o,
    output written_t                                        written_o,
    output logic        [       4:0]                        tokens_o,
    output logic        [ADDRESS_BITS-1:0]                  base_o,
    output logic        [ LANES-1:0][CHANNEL_BITS-1:0]      channel_o,
    // of those from the table, which go to ACT alone, the lower byte
    output logic        [TOKENS-1:0][LANES-1:0][      15:0] result_o
);
  localparam int unsigned LATENCY = REQUANTISE_LATENCY;

  typedef struct packed {
    logic [LANES-1:0] valid;
    logic [1:0] mode;
    logic [6:0] clamp;
    written_t written;
    logic [4:0] tokens;
    logic [ADDRESS_BITS-1:0] base;
    logic [LANES-1:0][CHANNEL_BITS-1:0] channel;
  } place_t;

  // Cycle 0, and each parameter as far as it is needed. Kept: registers instead of a shift
  // register's LUTs.
  place_t place_d;
  logic two_d;
  logic [TOKENS-1:0][5:0] shift_a_d;
  logic [LANES-1:0][14:0] multiplier_d;
  logic [LANES-1:0][5:0] shift_d;
  (* keep = "true" *) place_t place_q[LATENCY+2];
  (* keep = "true" *) logic two_q[4];
  (* keep = "true" *) logic [TOKENS-1:0][5:0] shift_a_q[4];
  (* keep = "true" *) logic [LANES-1:0][14:0] multiplier_q[6];
  (* keep = "true" *) logic [LANES-1:0][5:0] shift_q[9];
  logic [TOKENS-1:0][LANES-1:0][16:0] acc_q;
  logic [TOKENS-1:0][LANES-1:0][26:0] a_q;
  logic [TOKENS-1:0][LANES-1:0][17:0] b_q;
  logic [TOKENS-1:0][SUM_BITS-1:0] c_q;
  logic norm, linear;  // each token has copies of its own
  assign norm   = norm_valid_i[TOKENS];
  assign linear = drain_linear_i[TOKENS];

  always_comb begin
    place_d.valid = norm ? '1 : drain_valid_i;
    place_d.mode = EPILOGUE_REQUANTISE[1:0];
    place_d.clamp = 7'(ACTIVATION_MAX);
    if (!norm && linear) begin
      place_d.mode  = drain_meta_i.mode;
      place_d.clamp = drain_meta_i.clamp;
    end
    place_d.written = '{
        tile_final: drain_last_i && drain_meta_i.tile_final,
        op_last: drain_last_i && drain_meta_i.op_last,
        tag: drain_meta_i.tag
    };
    if (norm) place_d.written = norm_written_i;
    place_d.tokens = norm ? norm_tokens_i : drain_meta_i.tokens;
    place_d.base = norm ? norm_base_i : drain_meta_i.base;
    two_d = norm || !linear;
    shift_a_d = norm ? norm_shift_i : mean_shift_i[drain_meta_i.parity];
    for (int unsigned l = 0; l < LANES; l++) begin
      place_d.channel[l] = norm ? norm_channel_i + CHANNEL_BITS'(l) : drain_row_i[l].channel;
      multiplier_d[l] = norm ? norm_gain_i[l] : drain_row_i[l].multiplier;
      shift_d[l] = norm ? norm_out_shift_i : drain_row_i[l].shift;
    end
  end

  always_ff @(posedge clk_i) begin
    place_q[0] <= place_d;
    two_q[0] <= two_d;
    shift_a_q[0] <= shift_a_d;
    multiplier_q[0] <= multiplier_d;
    shift_q[0] <= shift_d;
    for (int unsigned i = 1; i < LATENCY + 2; i++) place_q[i] <= place_q[i-1];
    for (int unsigned i = 1; i < 4; i++) two_q[i] <= two_q[i-1];
    for (int unsigned i = 1; i < 4; i++) shift_a_q[i] <= shift_a_q[i-1];
    for (int unsigned i = 1; i < 6; i++) multiplier_q[i] <= multiplier_q[i-1];
    for (int unsigned i = 1; i < 9; i++) shift_q[i] <= shift_q[i-1];
    if (rst_i) begin
      for (int unsigned i = 0; i < LATENCY + 2; i++) begin
        place_q[i].valid <= '0;
        place_q[i].written.tile_final <= 1'b0;
        place_q[i].written.op_last <= 1'b0;
      end
    end
    for (int unsigned t = 0; t < TOKENS; t++) begin
      c_q[t] <= norm_valid_i[t] ? norm_offset_i[t] : '0;
      for (int unsigned l = 0; l < LANES; l++) begin
        acc_q[t][l] <= drain_acc_i[t][l][16:0];
        a_q[t][l] <= norm_valid_i[t] ? norm_scale_i[t] :
            drain_linear_i[t] ? 27'($signed(drain_acc_i[t][l][31:17])) : drain_acc_i[t][l][26:0];
        b_q[t][l] <= norm_valid_i[t] ? 18'($signed(norm_x_i[t][l])) :
            drain_linear_i[t] ? {3'd0, drain_row_i[l].multiplier} :
            {2'b00, mean_y_i[drain_meta_i.parity][t]};
      end
    end
  end

  // What the result is limited to, a cycle before the limiting.
  logic signed [15:0] low_d, high_d;
  always_comb begin
    high_d = 16'(place_q[LATENCY-2].clamp);
    low_d  = -16'(place_q[LATENCY-2].clamp);
    if (place_q[LATENCY-2].mode == EPILOGUE_RESIDUAL[1:0]) begin
      high_d = 16'sh7FFF;
      low_d  = 16'sh8000;
    end
  end

  // Lanes, and the table behind each.
  logic use_table;
  logic [TOKENS-1:0][LANES-1:0][15:0] result, result_q;
  logic [TOKENS-1:0][LANES-1:0][7:0] looked_up;
  assign use_table = place_q[LATENCY+1].mode == EPILOGUE_TABLE[1:0];
  for (genvar t = 0; t < TOKENS; t++) begin : g_token
    logic two;
    logic signed [15:0] low, high;
    replica #(
        .WIDTH(33)
    ) u_lanes (
        .clk_i,
        .d_i({two_q[3], low_d, high_d}),
        .q_o({two, low, high})
    );
    for (genvar l = 0; l < LANES; l++) begin : g_lane
      requantise u_requantise (
          .clk_i,
          .acc_i(acc_q[t][l]),
          .a_i(a_q[t][l]),
          .b_i(b_q[t][l]),
          .c_i(c_q[t]),
          .shift_a_coarse_i(shift_a_q[2][t][5:2]),
          .shift_a_fine_i(shift_a_q[3][t][1:0]),
          .two_i(two),
          .multiplier_i(multiplier_q[5][l]),
          .shift_coarse_i(shift_q[7][l][5:2]),
          .shift_fine_i(shift_q[8][l][1:0]),
          .low_i(low),
          .high_i(high),
          .result_o(result[t][l])
      );
      lookup_table u_table (
          .clk_i,
          .we_i(table_we_i),
          .waddr_i(table_address_i),
          .wdata_i(table_data_i),
          .index_i(result[t][l][7:0] ^ 8'h80),
          .value_o(looked_up[t][l])
      );
      assign result_o[t][l] = {result_q[t][l][15:8],
                               use_table ? looked_up[t][l] : result_q[t][l][7:0]};
    end
  end
  always_ff @(posedge clk_i) result_q <= result;

  // Logits, of one token: those of a slot lie in different banks (row_parameters.sv).
  logic logits;
  assign logits = linear && drain_meta_i.mode == EPILOGUE_LOGITS[1:0];
  always_ff @(posedge clk_i) begin
    logit_we_o <= '0;
    for (int unsigned b = 0; b < LOGIT_BANKS; b++) begin
      for (int unsigned l = 0; l < LANES; l++) begin
        if (drain_valid_i[l] && drain_row_i[l].channel[LOGIT_BANK_BITS-1:0] ==
            LOGIT_BANK_BITS'(b)) begin
          logit_we_o[b] <= logits && !rst_i;
          logit_index_o[b] <= drain_row_i[l].channel;
          logit_data_o[b] <= drain_acc_i[0][l];
        end
      end
    end
  end

  place_t placed;
  logic placed_logits, residual_q;
  assign placed = place_q[LATENCY+1];
  assign placed_logits = placed.mode == EPILOGUE_LOGITS[1:0];
  always_ff @(posedge clk_i)
    residual_q <= place_q[LATENCY].valid != '0 &&
        place_q[LATENCY].mode == EPILOGUE_RESIDUAL[1:0];
  assign residual_valid_o = residual_q;
  assign valid_o = placed.valid & {LANES{!placed_logits}};
  assign residual_o = placed.mode == EPILOGUE_RESIDUAL[1:0];
  assign written_o = placed.written;
  assign tokens_o = placed.tokens;
  assign base_o = placed.base;
  assign channel_o = placed.channel;

`ifdef VERILATOR
  lanes_taken_twice :
  assert property (@(posedge clk_i) disable iff (rst_i) norm |-> drain_valid_i == '0 && !drain_last_i);
`endif

  logic unused;
  assign unused = ^{drain_meta_i, placed};
endmodule
