// LAYERNORM: RES tokens to the epilogue's lanes, TOKENS tokens x LANES channels a cycle.
//
//   S1 = sum x, S2 = sum x^2, V = D S2 - S1^2 + epsilon, (y, k) = reciprocal_sqrt(V)
//   t = sat18(rs((D x - S1) y, k + 12)) = sat18(rs(x * (D y) - S1 y, k + 12))
//   out = clamp(rs(t * gain, shift))
//
// The second form of t costs one multiplication a value; D y and S1 y are formed once a token. The
// lanes of requantise.sv compute both lines.
//
// Three engines, each on a tile of its own: sums (a first pass over the tile), the square root (a
// token a cycle), and the second pass. Both passes share RES's read port: time is cut into slots of
// DEPTH / LANES cycles, in which each pass uses one word.
module layernorm_unit
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH  = 16,
    parameter int unsigned LANES  = 4
) (
    input  logic                                             clk_i,
    input  logic                                             rst_i,
    input  logic                                             start_i,
    input  descriptor_t                                      descriptor_i,
    // gains, eight a beat
    input  logic                                             p_valid_i,
    output logic                                             p_ready_o,
    input  logic        [     127:0]                         p_data_i,
    output logic                                             fault_o,
    output logic        [      31:0]                         fault_address_o,
    // residual memory
    output logic                                             re_o,
    output logic        [ADDRESS_BITS-1:0]                   address_o,
    input  logic        [TOKENS-1:0][DEPTH-1:0][       15:0] rdata_i,
    // to the lanes
    output logic                                             valid_o,
    output logic                                             last_o,
    output logic        [       4:0]                         tokens_o,
    output logic        [ADDRESS_BITS-1:0]                   base_o,
    output logic        [CHANNEL_BITS-1:0]                   channel_o,
    output logic        [TOKENS-1:0][      26:0]             scale_o,
    output logic        [TOKENS-1:0][SUM_BITS-1:0]           offset_o,
    output logic        [TOKENS-1:0][       5:0]             shift_o,
    output logic        [TOKENS-1:0][LANES-1:0][       15:0] x_o,
    output logic        [ LANES-1:0][      14:0]             gain_o
);
  localparam int unsigned PHASES = DEPTH / LANES;
  localparam int unsigned PHASE_BITS = $clog2(PHASES);
  localparam int unsigned S1_BITS = 26;
  localparam int unsigned S2_BITS = 41;
  localparam int unsigned WORD_BITS = 8;

  logic [PHASE_BITS-1:0] phase_q;
  logic slot_begin;
  logic [WORD_BITS-1:0] words;
  logic [8:0] tiles;
  assign slot_begin = phase_q == '0;
  assign words = WORD_BITS'(descriptor_i.inputs >> $clog2(DEPTH));
  assign tiles = 9'((descriptor_i.tokens + 16'(TOKENS - 1)) >> $clog2(TOKENS));

  // Gains: a memory of beats; LANES of eight are used at once.
  logic gains_busy_q, gains_full_q, accept;
  logic [7:0] gain_count_q, gain_beats;
  logic [7:0][14:0] gain_in, gain_word;
  logic [7:0] gain_bad;
  logic [6:0] gain_address;
  assign gain_beats = 8'(descriptor_i.inputs >> 3);
  assign p_ready_o = gains_busy_q;
  assign accept = p_valid_i && p_ready_o;
  for (genvar i = 0; i < 8; i++) begin : g_gain
    assign gain_in[i] = p_data_i[16*i+:15];
    assign gain_bad[i] = p_data_i[16*i+15];
  end
  small_memory #(
      .WIDTH(120),
      .WORDS(128)
  ) u_gains (
      .clk_i,
      .raddr_i(gain_address),
      .rdata_o(gain_word),
      .we_i(accept),
      .waddr_i(gain_count_q[6:0]),
      .wdata_i(gain_in)
  );
  always_ff @(posedge clk_i) begin
    fault_o <= accept && gain_bad != '0 && !rst_i;
    fault_address_o <= descriptor_i.parameters + {20'd0, gain_count_q, 4'd0};
    if (accept) begin
      gain_count_q <= gain_count_q + 8'd1;
      if (gain_count_q + 8'd1 == gain_beats) begin
        gains_busy_q <= 1'b0;
        gains_full_q <= 1'b1;
      end
    end
    if (start_i) begin
      gains_busy_q <= 1'b1;
      gains_full_q <= 1'b0;
      gain_count_q <= '0;
    end
    if (rst_i) gains_busy_q <= 1'b0;
  end

  // Engine 1: sums.
  logic sum_run_q, sums_full_q, sums_take;
  logic [1:0] sums_ahead_q;  // tiles read and not yet taken
  logic [8:0] sum_tile_q;
  logic [WORD_BITS-1:0] sum_word_q;
  logic [ADDRESS_BITS-1:0] sum_base_q;
  logic sum_read, sum_word_last;
  assign sum_word_last = sum_word_q + WORD_BITS'(1) == words;
  // One tile's sums wait in a buffer, those of another one before it.
  assign sum_read = slot_begin && sum_run_q && (sum_word_q != '0 || sums_ahead_q < 2'd2);

  // Engine 3: normalisation.
  logic norm_run_q, norm_busy_q, stats_new_q;
  logic [8:0] norm_tile_q;
  logic [WORD_BITS-1:0] norm_word_q;
  logic [ADDRESS_BITS-1:0] norm_base_q, destination_q;
  logic norm_slot_q, norm_word_last, norm_tile_last, norm_begin, norm_read;
  assign norm_word_last = norm_word_q + WORD_BITS'(1) == words;
  assign norm_tile_last = norm_tile_q + 9'd1 == tiles;
  // A tile begins at a slot's begin; its words then follow slot by slot, read one cycle after.
  assign norm_begin = slot_begin && norm_run_q && !norm_busy_q && stats_new_q && gains_full_q;
  assign norm_read = norm_slot_q;

  always_ff @(posedge clk_i) begin
    phase_q <= phase_q + PHASE_BITS'(1);
    re_o <= sum_read || norm_read;
    address_o <= norm_read ? norm_base_q + ADDRESS_BITS'(norm_word_q) :
        sum_base_q + ADDRESS_BITS'(sum_word_q);

    if (sum_read) begin
      sum_word_q <= sum_word_last ? '0 : sum_word_q + WORD_BITS'(1);
      if (sum_word_last) begin
        sum_base_q <= sum_base_q + ADDRESS_BITS'(descriptor_i.source_pitch);
        sum_tile_q <= sum_tile_q + 9'd1;
        if (sum_tile_q + 9'd1 == tiles) sum_run_q <= 1'b0;
      end
    end
    sums_ahead_q <= sums_ahead_q + 2'(sum_read && sum_word_last) - 2'(sums_take);

    norm_slot_q <= slot_begin && (norm_begin || norm_busy_q);
    if (norm_begin) norm_busy_q <= 1'b1;
    if (norm_read) begin
      norm_word_q <= norm_word_last ? '0 : norm_word_q + WORD_BITS'(1);
      if (norm_word_last) begin
        norm_busy_q <= 1'b0;
        norm_base_q <= norm_base_q + ADDRESS_BITS'(descriptor_i.source_pitch);
        destination_q <= destination_q + ADDRESS_BITS'(descriptor_i.destination_pitch);
        norm_tile_q <= norm_tile_q + 9'd1;
        if (norm_tile_last) norm_run_q <= 1'b0;
      end
    end

    if (start_i) begin
      sum_run_q <= 1'b1;
      sums_ahead_q <= '0;
      sum_tile_q <= '0;
      sum_word_q <= '0;
      sum_base_q <= '0;
      norm_run_q <= 1'b1;
      norm_busy_q <= 1'b0;
      norm_slot_q <= 1'b0;
      norm_tile_q <= '0;
      norm_word_q <= '0;
      norm_base_q <= '0;
      destination_q <= descriptor_i.destination[ADDRESS_BITS-1:0];
    end
    if (rst_i) begin
      phase_q <= '0;
      sum_run_q <= 1'b0;
      norm_run_q <= 1'b0;
      norm_busy_q <= 1'b0;
      norm_slot_q <= 1'b0;
    end
  end

  // A word in use: loaded MEMORY_LATENCY + 1 cycles after its read was decided, then LANES channels
  // a cycle for PHASES cycles.
  typedef struct packed {
    logic load;
    logic first;
    logic last;
  } sum_tag_t;
  sum_tag_t sum_tag_q[MEMORY_LATENCY+1];
  logic [TOKENS-1:0][DEPTH-1:0][15:0] sum_hold_q;
  logic sum_first_q, sum_last_q, sum_use_q;
  logic [PHASE_BITS-1:0] sum_sub_q;
  always_ff @(posedge clk_i) begin
    sum_tag_q[0] <= '{load: sum_read, first: sum_word_q == '0, last: sum_word_last};
    for (int unsigned i = 1; i <= MEMORY_LATENCY; i++) sum_tag_q[i] <= sum_tag_q[i-1];
    if (sum_use_q) begin
      sum_sub_q <= sum_sub_q + PHASE_BITS'(1);
      for (int unsigned t = 0; t < TOKENS; t++) begin
        sum_hold_q[t] <= sum_hold_q[t] >> (16 * LANES);
      end
      if (sum_sub_q == PHASE_BITS'(PHASES - 1)) sum_use_q <= 1'b0;
    end
    if (sum_tag_q[MEMORY_LATENCY].load) begin
      sum_hold_q <= rdata_i;
      sum_first_q <= sum_tag_q[MEMORY_LATENCY].first;
      sum_last_q <= sum_tag_q[MEMORY_LATENCY].last;
      sum_sub_q <= '0;
      sum_use_q <= 1'b1;
    end
    if (rst_i) begin
      for (int unsigned i = 0; i <= MEMORY_LATENCY; i++) sum_tag_q[i].load <= 1'b0;
      sum_use_q <= 1'b0;
    end
  end

  // Squares, their sum over LANES, the running sums.
  localparam int unsigned SQUARE_SUM_BITS = 31 + $clog2(LANES);
  logic [2:0] sum_valid_q, sum_begin_q, sum_end_q;
  logic sum_valid3_q, sum_begin3_q, sum_end3_q;
  logic [TOKENS-1:0][LANES-1:0][15:0] x1_q, x2_q;
  logic [TOKENS-1:0][LANES-1:0][30:0] square2_q;
  logic [TOKENS-1:0][15+$clog2(LANES):0] part1_q;
  logic [TOKENS-1:0][SQUARE_SUM_BITS-1:0] part2_q;
  logic [TOKENS-1:0][S1_BITS-1:0] s1_q, s1_d, tile_s1_q;
  logic [TOKENS-1:0][S2_BITS-1:0] s2_q, s2_d, tile_s2_q;
  for (genvar t = 0; t < TOKENS; t++) begin : g_sum
    assign s1_d[t] = (sum_begin3_q ? '0 : s1_q[t]) + S1_BITS'($signed(part1_q[t]));
    assign s2_d[t] = (sum_begin3_q ? '0 : s2_q[t]) + S2_BITS'(part2_q[t]);
  end
  always_ff @(posedge clk_i) begin
    sum_valid_q <= {sum_valid_q[1:0], sum_use_q};
    sum_begin_q <= {sum_begin_q[1:0], sum_first_q && sum_sub_q == '0};
    sum_end_q <= {sum_end_q[1:0], sum_last_q && sum_sub_q == PHASE_BITS'(PHASES - 1)};
    x2_q <= x1_q;
    for (int unsigned t = 0; t < TOKENS; t++) begin
      automatic logic [15+$clog2(LANES):0] line = '0;
      automatic logic [SQUARE_SUM_BITS-1:0] squares = '0;
      x1_q[t] <= sum_hold_q[t][LANES-1:0];
      for (int unsigned l = 0; l < LANES; l++) begin
        square2_q[t][l] <= 31'(32'($signed(x1_q[t][l])) * 32'($signed(x1_q[t][l])));
        line += (16 + $clog2(LANES))'($signed(x2_q[t][l]));
        squares += SQUARE_SUM_BITS'(square2_q[t][l]);
      end
      part1_q[t] <= line;
      part2_q[t] <= squares;
      if (sum_valid3_q) begin
        s1_q[t] <= s1_d[t];
        s2_q[t] <= s2_d[t];
      end
      // The next tile's sums may begin in the cycle after.
      if (sum_valid3_q && sum_end3_q) begin
        tile_s1_q[t] <= s1_d[t];
        tile_s2_q[t] <= s2_d[t];
      end
    end
    if (rst_i) sum_valid_q <= '0;
  end
  assign sum_valid3_q = sum_valid_q[2];
  assign sum_begin3_q = sum_begin_q[2];
  assign sum_end3_q = sum_end_q[2];

  // Engine 2: the square root, a token a cycle from a copy of the sums.
  logic root_busy_q, root_valid, buffer_full_q, buffer_load, stats_full_d;
  logic [$clog2(TOKENS)-1:0] root_token_q;
  logic [TOKENS-1:0][S1_BITS-1:0] root_s1_q;
  logic [TOKENS-1:0][S2_BITS-1:0] root_s2_q;
  logic roots_pending_q;
  // Normalisation copies the statistics within five cycles of beginning a tile, before the next
  // tile's roots can arrive.
  assign sums_take = buffer_full_q && !roots_pending_q && !stats_new_q;
  logic [TOKENS-1:0][S1_BITS-1:0] buffer_s1_q;
  logic [TOKENS-1:0][S2_BITS-1:0] buffer_s2_q;
  assign buffer_load = sums_full_q && !buffer_full_q;
  assign root_valid = root_busy_q;
  logic root_last;
  assign root_last = root_token_q == ($clog2(TOKENS))'(TOKENS - 1);

  localparam int unsigned ROOT_STAGES = 12;
  logic [ROOT_STAGES-1:0] root_valid_q;
  logic [$clog2(TOKENS)-1:0] root_index_q[ROOT_STAGES];
  logic signed [S1_BITS-1:0] root_sum_q[ROOT_STAGES];
  logic [51:0] square_q, scaled_q, variance_q;
  logic [15:0] root_y;
  logic signed [5:0] root_k;
  logic [26:0] root_dy_q;
  logic signed [SUM_BITS-1:0] root_offset_q;
  logic [5:0] root_shift_q;
  rsqrt u_rsqrt (
      .clk_i,
      .v_i(variance_q),
      .y_o(root_y),
      .k_o(root_k)
  );
  logic signed [S1_BITS-1:0] first_s1;
  assign first_s1 = root_sum_q[0];
  logic [S2_BITS-1:0] first_s2_q;
  always_ff @(posedge clk_i) begin
    if (buffer_load) begin
      sums_full_q <= 1'b0;
      buffer_full_q <= 1'b1;
      buffer_s1_q <= tile_s1_q;
      buffer_s2_q <= tile_s2_q;
    end
    if (sum_valid3_q && sum_end3_q) sums_full_q <= 1'b1;
    if (sums_take) begin
      buffer_full_q <= 1'b0;
      root_busy_q <= 1'b1;
      roots_pending_q <= 1'b1;
      root_token_q <= '0;
      root_s1_q <= buffer_s1_q;
      root_s2_q <= buffer_s2_q;
    end
    if (root_busy_q) begin
      root_token_q <= root_token_q + ($clog2(TOKENS))'(1);
      if (root_last) root_busy_q <= 1'b0;
    end
    if (stats_full_d) roots_pending_q <= 1'b0;
    if (start_i || rst_i) begin
      sums_full_q <= 1'b0;
      buffer_full_q <= 1'b0;
      root_busy_q <= 1'b0;
      roots_pending_q <= 1'b0;
    end
    // Register 0 the sums of one token, 1 products, 2 variance, 3 to 9 the root, 10 its products.
    root_valid_q <= {root_valid_q[ROOT_STAGES-2:0], root_valid};
    root_index_q[0] <= root_token_q;
    root_sum_q[0] <= $signed(root_s1_q[root_token_q]);
    first_s2_q <= root_s2_q[root_token_q];
    for (int unsigned i = 1; i < ROOT_STAGES; i++) begin
      root_index_q[i] <= root_index_q[i-1];
      root_sum_q[i]   <= root_sum_q[i-1];
    end
    square_q <= 52'($signed(52'(first_s1)) * $signed(52'(first_s1)));
    scaled_q <= 52'(first_s2_q) * 52'(descriptor_i.inputs[10:0]);
    variance_q <= scaled_q - square_q + 52'(descriptor_i.epsilon);
    root_dy_q <= 27'(descriptor_i.inputs[10:0]) * 27'(root_y);
    root_offset_q <= -(SUM_BITS'(root_sum_q[9]) * $signed(SUM_BITS'(root_y)));
    root_shift_q <= 6'(root_k + 6'sd12);
    if (rst_i || start_i) root_valid_q <= '0;
  end

  // Statistics of the tile that normalisation takes next, and those in use.
  logic [TOKENS-1:0][26:0] next_scale_q, active_scale_q;
  logic [TOKENS-1:0][SUM_BITS-1:0] next_offset_q, active_offset_q;
  logic [TOKENS-1:0][5:0] next_shift_q, active_shift_q;
  assign stats_full_d = root_valid_q[10] && root_index_q[10] == ($clog2(TOKENS))'(TOKENS - 1);
  always_ff @(posedge clk_i) begin
    if (root_valid_q[10]) begin
      next_scale_q[root_index_q[10]]  <= root_dy_q;
      next_offset_q[root_index_q[10]] <= root_offset_q;
      next_shift_q[root_index_q[10]]  <= root_shift_q;
    end
    if (norm_begin) stats_new_q <= 1'b0;
    if (stats_full_d) stats_new_q <= 1'b1;
    if (start_i || rst_i) stats_new_q <= 1'b0;
  end

  // The second pass: word, parameters and place to the lanes.
  typedef struct packed {
    logic load;
    logic first;
    logic last;
    logic [WORD_BITS-1:0] word;
    logic [4:0] tokens;
    logic [ADDRESS_BITS-1:0] base;
  } norm_tag_t;
  norm_tag_t norm_tag_q[MEMORY_LATENCY+1], used_q;
  logic [TOKENS-1:0][DEPTH-1:0][15:0] norm_hold_q;
  logic norm_use_q;
  logic [PHASE_BITS-1:0] norm_sub_q;
  logic [CHANNEL_BITS-1:0] channel;
  logic [CHANNEL_BITS-1:0] channel_q;
  assign channel = CHANNEL_BITS'(used_q.word) * CHANNEL_BITS'(DEPTH) +
      CHANNEL_BITS'(norm_sub_q) * CHANNEL_BITS'(LANES);
  assign gain_address = channel[9:3];
  always_ff @(posedge clk_i) begin
    norm_tag_q[0] <= '{
        load: norm_read,
        first: norm_word_q == '0,
        last: norm_word_last && norm_tile_last,
        word: norm_word_q,
        tokens: norm_tile_last ? 5'(descriptor_i.tokens - 16'(norm_tile_q) * 16'(TOKENS)) :
            5'(TOKENS),
        base: destination_q
    };
    for (int unsigned i = 1; i <= MEMORY_LATENCY; i++) norm_tag_q[i] <= norm_tag_q[i-1];
    if (norm_use_q) begin
      norm_sub_q <= norm_sub_q + PHASE_BITS'(1);
      for (int unsigned t = 0; t < TOKENS; t++) begin
        norm_hold_q[t] <= norm_hold_q[t] >> (16 * LANES);
      end
      if (norm_sub_q == PHASE_BITS'(PHASES - 1)) norm_use_q <= 1'b0;
    end
    if (norm_tag_q[MEMORY_LATENCY].load) begin
      norm_hold_q <= rdata_i;
      used_q <= norm_tag_q[MEMORY_LATENCY];
      norm_sub_q <= '0;
      norm_use_q <= 1'b1;
    end
    // Beside the gains' read.
    valid_o <= norm_use_q && !rst_i;
    last_o <= norm_use_q && used_q.last && norm_sub_q == PHASE_BITS'(PHASES - 1) && !rst_i;
    tokens_o <= used_q.tokens;
    base_o <= used_q.base;
    channel_q <= channel;
    for (int unsigned t = 0; t < TOKENS; t++) x_o[t] <= norm_hold_q[t][LANES-1:0];
    if (norm_use_q && used_q.first && norm_sub_q == '0) begin
      scale_o  <= active_scale_q;
      offset_o <= active_offset_q;
      shift_o  <= active_shift_q;
    end
    if (norm_tag_q[MEMORY_LATENCY].load && norm_tag_q[MEMORY_LATENCY].first) begin
      active_scale_q  <= next_scale_q;
      active_offset_q <= next_offset_q;
      active_shift_q  <= next_shift_q;
    end
    if (rst_i) begin
      for (int unsigned i = 0; i <= MEMORY_LATENCY; i++) norm_tag_q[i].load <= 1'b0;
      norm_use_q <= 1'b0;
    end
  end
  assign channel_o = channel_q;
  for (genvar l = 0; l < LANES; l++) begin : g_lane
    assign gain_o[l] = gain_word[(32'(channel_q[2:0])+l)%8];
  end

  logic unused;
  assign unused = ^{descriptor_i, used_q, root_valid_q[ROOT_STAGES-1]};
endmodule
