// LAYERNORM: RES tokens to the epilogue's lanes, TOKENS tokens x LANES channels a cycle.
//
//   S1 = sum x, S2 = sum x^2, V = D S2 - S1^2 + epsilon, (y, k) = reciprocal_sqrt(V)
//   t = sat18(rs((D x - S1) y, k + 12)) = sat18(rs(x * (D y) - S1 y, k + 12))
//   out = clamp(rs(t * gain, shift))
//
// The second form of t costs one multiplication per value; D y and S1 y are formed once per token. The
// lanes of requantise.sv compute both lines.
//
// Three engines, each on a tile of its own: sums (a first pass over the tile), the square root (a
// token a cycle), and the second pass. Both passes share RES's read port with the residual's epilogue,
// which goes first (residual_valid_i), and the second pass the lanes with the drain, which goes first
// as well (lanes_taken_i): LAYERNORM works in the cycles that the array's results leave. A tile is
// begun when the LINEAR before has written it (overlap.sv).
module layernorm_unit
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH  = 16,
    parameter int unsigned LANES  = 4,
    parameter bit FABRIC = 1'b0  // squares in LUTs
) (
    input  logic                                             clk_i,
    input  logic                                             rst_i,
    input  logic                                             start_i,
    input  descriptor_t                                      descriptor_i,  // stays while busy_o
    input  order_t                                           order_i,
    input  logic        [TAGS-1:0][TILE_BITS:0]              progress_i,
    output logic                                             busy_o,
    output logic                                             gains_busy_o,
    // gains, eight a beat
    input  logic                                             p_valid_i,
    output logic                                             p_ready_o,
    input  logic        [     127:0]                         p_data_i,
    output logic                                             fault_o,
    output logic        [      31:0]                         fault_address_o,
    // residual memory: in the next cycle the epilogue reads it
    input  logic                                             residual_valid_i,
    output logic                                             re_o,
    output logic        [ADDRESS_BITS-1:0]                   address_o,
    input  logic        [TOKENS-1:0][DEPTH-1:0][       15:0] rdata_i,
    // to the lanes; in the next cycle the drain needs them
    input  logic                                             lanes_taken_i,
    output logic        [TOKENS:0]                           valid_o,  // copies
    output written_t                                         written_o,
    output logic        [       4:0]                         tokens_o,
    output logic        [ADDRESS_BITS-1:0]                   base_o,
    output logic        [CHANNEL_BITS-1:0]                   channel_o,
    output logic        [TOKENS-1:0][      26:0]             scale_o,
    output logic        [TOKENS-1:0][SUM_BITS-1:0]           offset_o,
    output logic        [TOKENS-1:0][       5:0]             shift_o,
    output logic        [TOKENS-1:0][LANES-1:0][       15:0] x_o,
    output logic        [ LANES-1:0][      14:0]             gain_o,
    output logic        [       5:0]                         out_shift_o
);
  localparam int unsigned PHASES = DEPTH / LANES;
  localparam int unsigned PHASE_BITS = $clog2(PHASES);
  localparam int unsigned S1_BITS = 26;
  localparam int unsigned S2_BITS = 41;
  localparam int unsigned WORD_BITS = 8;

  logic [WORD_BITS-1:0] words;
  logic [TILE_BITS-1:0] tiles;
  logic [ADDRESS_BITS-1:0] pitch;
  assign words = WORD_BITS'(descriptor_i.inputs >> $clog2(DEPTH));
  assign tiles = TILE_BITS'((descriptor_i.tokens + 16'(TOKENS - 1)) >> $clog2(TOKENS));
  assign pitch = ADDRESS_BITS'(descriptor_i.source_pitch);
  assign out_shift_o = descriptor_i.shift[5:0];

  // Gains: a beat of eight goes into a memory of words of LANES, one word per cycle.
  localparam int unsigned GAIN_PARTS = 8 / LANES;
  localparam int unsigned PART_BITS = GAIN_PARTS > 1 ? $clog2(GAIN_PARTS) : 1;
  localparam int unsigned GAIN_WORDS = 128 * GAIN_PARTS;
  localparam int unsigned GAIN_ADDRESS = $clog2(GAIN_WORDS);
  logic gains_busy_q, gains_full_q, gain_valid, accept;
  logic [7:0] gain_count_q, gain_beats;
  logic [PART_BITS-1:0] gain_part_q;
  logic [GAIN_PARTS-1:0][LANES-1:0][14:0] gain_in;
  logic [LANES-1:0][14:0] gain_word;
  logic [7:0] gain_bad;
  logic [GAIN_ADDRESS-1:0] gain_address;
  assign gain_beats = 8'(descriptor_i.inputs >> 3);
  assign gain_valid = gains_busy_q && p_valid_i;
  assign p_ready_o = gains_busy_q && gain_part_q == PART_BITS'(GAIN_PARTS - 1);
  assign accept = p_valid_i && p_ready_o;
  for (genvar i = 0; i < 8; i++) begin : g_gain
    assign gain_in[i/LANES][i%LANES] = p_data_i[16*i+:15];
    assign gain_bad[i] = p_data_i[16*i+15];
  end
  small_memory #(
      .WIDTH(15 * LANES),
      .WORDS(GAIN_WORDS),
      .BLOCK(1'b1)
  ) u_gains (
      .clk_i,
      .raddr_i(gain_address),
      .rdata_o(gain_word),
      .we_i(gain_valid),
      .waddr_i(GAIN_ADDRESS'(gain_count_q) * GAIN_ADDRESS'(GAIN_PARTS) + GAIN_ADDRESS'(gain_part_q)),
      .wdata_i(gain_in[gain_part_q])
  );
  always_ff @(posedge clk_i) begin
    fault_o <= accept && gain_bad != '0 && !rst_i;
    fault_address_o <= descriptor_i.parameters + {20'd0, gain_count_q, 4'd0};
    if (gain_valid) gain_part_q <= p_ready_o ? '0 : gain_part_q + PART_BITS'(1);
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
      gain_part_q <= '0;
    end
    if (rst_i) gains_busy_q <= 1'b0;
  end
  assign gains_busy_o = gains_busy_q;

  // Words of both passes. A tile's sums begin when it is written and fewer than two tiles' sums wait:
  // one in a buffer, one before it.
  logic sum_request, sum_grant, sum_step, sum_first, sum_last, sum_tile_read, sums_take;
  logic norm_request, norm_valid, norm_first, norm_last, norm_step, sum_reading;
  logic [1:0] sums_ahead_q;  // tiles read and not yet taken
  logic [TILE_BITS-1:0] sum_tile, norm_tile;
  logic [ADDRESS_BITS-1:0] sum_address, norm_address;
  logic [TOKENS-1:0][LANES-1:0][15:0] sum_x, norm_x;
  logic [WORD_BITS-1:0] sum_word, norm_word;
  logic [PHASE_BITS-1:0] sum_phase, norm_phase;
  logic norm_reading, norm_tile_read;
  // Whether the next tile of each pass may be read: known a cycle after the tile before was.
  logic sum_ready_q, norm_ready_q;
  always_ff @(posedge clk_i) begin
    sum_ready_q <= !sum_tile_read && !start_i && (!order_i.chained ||
        progress_i[order_i.producer] > (TILE_BITS + 1)'(sum_tile));
    norm_ready_q <= !norm_tile_read && !start_i && (!sum_reading || norm_tile < sum_tile);
  end

  norm_words #(
      .TOKENS(TOKENS),
      .DEPTH(DEPTH),
      .LANES(LANES),
      .WORD_BITS(WORD_BITS)
  ) u_sum_words (
      .clk_i,
      .rst_i,
      .start_i,
      .words_i(words),
      .tiles_i(tiles),
      .pitch_i(pitch),
      .tile_o(sum_tile),
      .reading_o(sum_reading),
      .tile_ready_i(sum_ready_q && !sums_ahead_q[1]),
      .tile_read_o(sum_tile_read),
      .request_o(sum_request),
      .address_o(sum_address),
      .grant_i(sum_grant),
      .rdata_i,
      .valid_o(sum_step),
      .first_o(sum_first),
      .last_o(sum_last),
      .word_o(sum_word),
      .phase_o(sum_phase),
      .x_o(sum_x),
      .step_i(sum_step)
  );
  norm_words #(
      .TOKENS(TOKENS),
      .DEPTH(DEPTH),
      .LANES(LANES),
      .WORD_BITS(WORD_BITS)
  ) u_norm_words (
      .clk_i,
      .rst_i,
      .start_i,
      .words_i(words),
      .tiles_i(tiles),
      .pitch_i(pitch),
      .tile_o(norm_tile),
      .reading_o(norm_reading),
      .tile_ready_i(norm_ready_q),
      .tile_read_o(norm_tile_read),
      .request_o(norm_request),
      .address_o(norm_address),
      .grant_i(!residual_valid_i),
      .rdata_i,
      .valid_o(norm_valid),
      .first_o(norm_first),
      .last_o(norm_last),
      .word_o(norm_word),
      .phase_o(norm_phase),
      .x_o(norm_x),
      .step_i(norm_step)
  );
  assign sum_grant = !residual_valid_i && !norm_request;
  always_ff @(posedge clk_i) begin
    re_o <= (norm_request || sum_request) && !residual_valid_i;
    address_o <= norm_request ? norm_address : sum_address;
    sums_ahead_q <= sums_ahead_q + 2'(sum_tile_read) - 2'(sums_take);
    if (start_i || rst_i) sums_ahead_q <= '0;
  end

  // Squares, their sum over LANES, the running sums. Register 1 the values, then the squares, which in
  // LUTs take three cycles, their sum, and the running ones. The values are added in pairs meanwhile.
  localparam int unsigned SQUARE_SUM_BITS = 31 + $clog2(LANES);
  localparam int unsigned SQUARED = FABRIC ? 4 : 2;
  localparam int unsigned SUMMED = SQUARED + 1;
  logic [SUMMED-1:0] sum_valid_q, sum_begin_q, sum_end_q;
  logic sum_valid, sum_begin, sum_end;
  logic [TOKENS-1:0][LANES-1:0][15:0] x_q;
  logic [TOKENS-1:0][LANES/2-1:0][16:0] pair_q[SQUARED-1];
  logic [TOKENS-1:0][LANES-1:0][30:0] square;
  logic [TOKENS-1:0][15+$clog2(LANES):0] line_q;
  logic [TOKENS-1:0][SQUARE_SUM_BITS-1:0] squares_q;
  logic [TOKENS-1:0][S1_BITS-1:0] s1_q, s1_d, tile_s1_q;
  logic [TOKENS-1:0][S2_BITS-1:0] s2_q, s2_d, tile_s2_q;
  for (genvar t = 0; t < TOKENS; t++) begin : g_sum
    assign s1_d[t] = (sum_begin ? '0 : s1_q[t]) + S1_BITS'($signed(line_q[t]));
    assign s2_d[t] = (sum_begin ? '0 : s2_q[t]) + S2_BITS'(squares_q[t]);
    for (genvar l = 0; l < LANES; l++) begin : g_lane
      if (FABRIC) begin : g_fabric
        logic signed [31:0] whole;
        fabric_multiplier #(
            .A_BITS(16),
            .B_BITS(16)
        ) u_square (
            .clk_i,
            .a_i(x_q[t][l]),
            .b_i(x_q[t][l]),
            .p_o(whole)
        );
        assign square[t][l] = whole[30:0];
        logic unused_top;
        assign unused_top = whole[31];
      end else begin : g_multiplier
        logic [30:0] one_q;
        always_ff @(posedge clk_i) begin
          one_q <= 31'(32'($signed(x_q[t][l])) * 32'($signed(x_q[t][l])));
        end
        assign square[t][l] = one_q;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    sum_valid_q <= {sum_valid_q[SUMMED-2:0], sum_step};
    sum_begin_q <= {sum_begin_q[SUMMED-2:0], sum_first};
    sum_end_q <= {sum_end_q[SUMMED-2:0], sum_last};
    x_q <= sum_x;
    for (int unsigned i = 1; i < SQUARED - 1; i++) pair_q[i] <= pair_q[i-1];
    for (int unsigned t = 0; t < TOKENS; t++) begin
      automatic logic [15+$clog2(LANES):0] line = '0;
      automatic logic [SQUARE_SUM_BITS-1:0] squares = '0;
      for (int unsigned l = 0; l < LANES; l++) squares += SQUARE_SUM_BITS'(square[t][l]);
      for (int unsigned p = 0; p < LANES / 2; p++) begin
        pair_q[0][t][p] <= 17'($signed(x_q[t][2*p])) + 17'($signed(x_q[t][2*p+1]));
        line += (16 + $clog2(LANES))'($signed(pair_q[SQUARED-2][t][p]));
      end
      line_q[t] <= line;
      squares_q[t] <= squares;
      if (sum_valid) begin
        s1_q[t] <= s1_d[t];
        s2_q[t] <= s2_d[t];
      end
      // The next tile's sums may begin in the cycle after.
      if (sum_valid && sum_end) begin
        tile_s1_q[t] <= s1_d[t];
        tile_s2_q[t] <= s2_d[t];
      end
    end
    if (rst_i) sum_valid_q <= '0;
  end
  assign sum_valid = sum_valid_q[SUMMED-1];
  assign sum_begin = sum_begin_q[SUMMED-1];
  assign sum_end = sum_end_q[SUMMED-1];

  // Engine 2: the square root, a token a cycle from a copy of the sums.
  logic sums_full_q, stats_new_q;
  logic root_busy_q, root_valid, buffer_full_q, buffer_load, stats_full_d;
  logic [$clog2(TOKENS)-1:0] root_token_q;
  logic [TOKENS-1:0][S1_BITS-1:0] root_s1_q;
  logic [TOKENS-1:0][S2_BITS-1:0] root_s2_q;
  logic roots_pending_q;
  // Normalisation copies the statistics when it begins a tile.
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
  logic signed [S1_BITS-1:0] first_s1_q;
  logic signed [S1_BITS:0] root_sum_q[ROOT_STAGES];  // -S1
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
  logic [S2_BITS-1:0] first_s2_q;
  always_ff @(posedge clk_i) begin
    if (buffer_load) begin
      sums_full_q <= 1'b0;
      buffer_full_q <= 1'b1;
      buffer_s1_q <= tile_s1_q;
      buffer_s2_q <= tile_s2_q;
    end
    if (sum_valid && sum_end) sums_full_q <= 1'b1;
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
    first_s1_q <= $signed(root_s1_q[root_token_q]);
    first_s2_q <= root_s2_q[root_token_q];
    for (int unsigned i = 1; i < ROOT_STAGES; i++) begin
      root_index_q[i] <= root_index_q[i-1];
      root_sum_q[i]   <= i == 1 ? -(S1_BITS + 1)'(first_s1_q) : root_sum_q[i-1];
    end
    square_q <= 52'($signed(52'(first_s1_q)) * $signed(52'(first_s1_q)));
    scaled_q <= 52'(first_s2_q) * 52'(descriptor_i.inputs[10:0]);
    variance_q <= scaled_q - square_q + 52'(descriptor_i.epsilon);
    root_dy_q <= 27'(descriptor_i.inputs[10:0]) * 27'(root_y);
    root_offset_q <= SUM_BITS'(root_sum_q[9]) * $signed(SUM_BITS'(root_y));
    root_shift_q <= 6'(root_k + 6'sd12);
    if (rst_i || start_i) root_valid_q <= '0;
  end

  // Statistics of the tile that normalisation takes next.
  logic [TOKENS-1:0][26:0] next_scale_q;
  logic [TOKENS-1:0][SUM_BITS-1:0] next_offset_q;
  logic [TOKENS-1:0][5:0] next_shift_q;
  assign stats_full_d = root_valid_q[10] && root_index_q[10] == ($clog2(TOKENS))'(TOKENS - 1);
  always_ff @(posedge clk_i) begin
    if (root_valid_q[10]) begin
      next_scale_q[root_index_q[10]]  <= root_dy_q;
      next_offset_q[root_index_q[10]] <= root_offset_q;
      next_shift_q[root_index_q[10]]  <= root_shift_q;
    end
    if (norm_step && norm_first) stats_new_q <= 1'b0;
    if (stats_full_d) stats_new_q <= 1'b1;
    if (start_i || rst_i) stats_new_q <= 1'b0;
  end

  // The second pass: LANES channels, their parameters and place to the lanes.
  logic busy_q, use_last;
  logic [TILE_BITS-1:0] use_tile_q;
  logic [ADDRESS_BITS-1:0] destination_q;
  logic [CHANNEL_BITS-1:0] channel, channel_q;
  assign norm_step = norm_valid && !lanes_taken_i && (!norm_first || (stats_new_q && gains_full_q));
  assign use_last = use_tile_q + TILE_BITS'(1) == tiles;
  assign channel = CHANNEL_BITS'(norm_word) * CHANNEL_BITS'(DEPTH) +
      CHANNEL_BITS'(norm_phase) * CHANNEL_BITS'(LANES);
  assign gain_address = channel[9-:GAIN_ADDRESS];
  always_ff @(posedge clk_i) begin
    // Beside the gains' read.
    written_o <= '{
        tile_final: norm_step && norm_last && !rst_i,
        op_last: norm_step && norm_last && use_last && !rst_i,
        tag: order_i.tag
    };
    tokens_o <= use_last ? 5'(descriptor_i.tokens - 16'(use_tile_q) * 16'(TOKENS)) : 5'(TOKENS);
    base_o <= destination_q;
    channel_q <= channel;
    x_o <= norm_x;
    if (norm_step && norm_first) begin
      scale_o  <= next_scale_q;
      offset_o <= next_offset_q;
      shift_o  <= next_shift_q;
    end
    if (norm_step && norm_last) begin
      destination_q <= destination_q + ADDRESS_BITS'(descriptor_i.destination_pitch);
      use_tile_q <= use_tile_q + TILE_BITS'(1);
      if (use_last) busy_q <= 1'b0;
    end
    if (start_i) begin
      busy_q <= 1'b1;
      use_tile_q <= '0;
      destination_q <= descriptor_i.destination[ADDRESS_BITS-1:0];
    end
    if (rst_i) busy_q <= 1'b0;
  end
  for (genvar c = 0; c <= TOKENS; c++) begin : g_copy
    replica u_valid (
        .clk_i,
        .d_i(norm_step && !rst_i),
        .q_o(valid_o[c])
    );
  end
  assign busy_o = busy_q;
  assign channel_o = channel_q;
  assign gain_o = gain_word;

  logic unused;
  assign unused = ^{descriptor_i, order_i, root_valid_q[ROOT_STAGES-1], sum_word, sum_phase,
                    norm_reading};
endmodule
