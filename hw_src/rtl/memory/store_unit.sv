// STORE: logits, or a region of ACT or RES without gaps, to memory.
//
// Words are read from the on-chip memory (data MEMORY_LATENCY cycles after the read), buffered, cut
// into chunks of at most a port beat (four logits, an ACT word DEPTH bytes, a RES word 2 * DEPTH) and
// packed into beats. `units` are 4 bytes, the least that is stored; the last beat's strobes leave
// out what is beyond the end. Bursts are asked for when their beats are all there. `done_o` when
// the last burst was handed over: the on-chip memories may change then; `writes` themselves are
// waited for by END. A STORE of nothing is done at once. How much it is, is known two cycles after
// start_i: a product, then what of it are units.

module store_unit
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 6400,
    parameter int unsigned RES_WORDS = 1280,
    parameter int unsigned LOGITS = 1024,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 4,
    parameter int unsigned MEMORY_LATENCY = 2,
    localparam int unsigned BankBits = TOKENS > 1 ? $clog2(TOKENS) : 1,
    localparam int unsigned ActBits = $clog2(ACT_WORDS),
    localparam int unsigned ResBits = $clog2(RES_WORDS),
    localparam int unsigned LogitBits = $clog2(LOGITS)
) (
    input logic clk_i,
    input logic rst_i,
    input logic start_i,
    input descriptor_t descriptor_i,  // at start_i
    input logic [63:0] output_i,
    output logic done_o,  // one cycle

    output logic act_re_o,
    output logic [BankBits-1:0] act_bank_o,
    output logic [ActBits-1:0] act_word_o,
    input logic [DEPTH*8-1:0] act_data_i,
    output logic res_re_o,
    output logic [BankBits-1:0] res_bank_o,
    output logic [ResBits-1:0] res_word_o,
    input logic [DEPTH*16-1:0] res_data_i,
    output logic logit_re_o,
    output logic [LogitBits-1:0] logit_index_o,
    input logic [PORT_BITS-1:0] logit_data_i,  // those of the index and the next three

    output logic req_valid_o,
    input logic req_ready_i,
    output logic [63:0] req_address_o,
    output logic [LENGTH_BITS-1:0] req_length_o,  // beats - 1
    input logic pop_i,
    output logic [PORT_BITS-1:0] data_o,
    output logic [PORT_BITS/8-1:0] strobe_o
);

  localparam int unsigned DEPTH_BITS = $clog2(DEPTH);
  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);
  localparam int unsigned WORDS = 8;  // buffered, reads under way included
  localparam int unsigned BEATS = 64;  // buffered
  localparam int unsigned MAX_BURST = 2 ** LENGTH_BITS;
  if (PORT_BITS != 128) begin : gen_check_a_beat_must
    $error("a beat must be four units");
  end

  // --- What to store
  logic [7:0] mode_q;
  logic [15:0] row_words_q, row_last_q, rows_q, outputs_q;
  logic [23:0] units_q, all_units_q;
  logic [23:0] product_q;
  logic multiplied_q, begin_q;

  always_ff @(posedge clk_i) begin
    product_q <= 24'(descriptor_i.tokens[8:0]) * 24'(descriptor_i.inputs);
    multiplied_q <= start_i && !rst_i;
    case (mode_q)
      SOURCE_LOGITS: all_units_q <= 24'(outputs_q);
      SOURCE_ACT: all_units_q <= product_q >> 2;
      default: all_units_q <= product_q >> 1;
    endcase
    row_last_q <= row_words_q - 1'b1;
    begin_q <= multiplied_q && !rst_i;
  end

  // --- Reads, word after word, row after row
  logic reading_q, read, row_ends, word_valid, word_taken, words_room;
  logic [15:0] word_q;
  logic [ActBits-1:0] base_q, pitch_q;
  logic [BankBits-1:0] bank_q;
  logic [3:0] places_q;
  logic [MEMORY_LATENCY-1:0] arriving_q;

  assign read = reading_q && places_q != '0;
  assign row_ends = word_q == row_last_q;
  assign act_re_o = read && mode_q == SOURCE_ACT;
  assign res_re_o = read && mode_q == SOURCE_RESIDUAL;
  assign logit_re_o = read && mode_q == SOURCE_LOGITS;
  assign act_bank_o = bank_q;
  assign res_bank_o = bank_q;
  assign act_word_o = base_q + ActBits'(word_q);
  assign res_word_o = ResBits'(base_q) + ResBits'(word_q);
  assign logit_index_o = LogitBits'({word_q, 2'b00});

  always_ff @(posedge clk_i) begin
    arriving_q <= {arriving_q[MEMORY_LATENCY-2:0], read};
    if (read) begin
      word_q <= word_q + 1'b1;
      if (row_ends) begin
        word_q <= '0;
        rows_q <= rows_q - 1'b1;
        bank_q <= bank_q == BankBits'(TOKENS - 1) ? '0 : bank_q + 1'b1;
        if (bank_q == BankBits'(TOKENS - 1)) base_q <= base_q + pitch_q;
        if (rows_q == 16'd1) reading_q <= 1'b0;
      end
    end
    places_q <= places_q - 4'(read) + 4'(word_taken);
    if (start_i) begin
      mode_q <= descriptor_i.mode;
      outputs_q <= descriptor_i.outputs;
      pitch_q <= ActBits'(descriptor_i.source_pitch);
      word_q <= '0;
      bank_q <= '0;
      base_q <= ActBits'(descriptor_i.source);
      rows_q <= descriptor_i.tokens;
      row_words_q <= descriptor_i.inputs >> DEPTH_BITS;
      if (descriptor_i.mode == SOURCE_RESIDUAL) base_q <= '0;
      if (descriptor_i.mode == SOURCE_LOGITS) begin
        rows_q <= 16'd1;
        row_words_q <= (descriptor_i.outputs + 16'd3) >> 2;
      end
    end
    if (begin_q) reading_q <= all_units_q != '0;
    if (rst_i) begin
      reading_q <= 1'b0;
      arriving_q <= '0;
      places_q <= 4'(WORDS);
    end
  end

  // Beyond what a source has, whatever there is; but zeros where a word is less than a beat.
  logic [DEPTH*16-1:0] arrived, word;
  always_comb begin
    arrived = res_data_i;
    if (mode_q == SOURCE_ACT) begin
      arrived[DEPTH*8-1:0] = act_data_i;
      if (DEPTH == 8) arrived[DEPTH*16-1:DEPTH*8] = '0;
    end
    if (mode_q == SOURCE_LOGITS) arrived[PORT_BITS-1:0] = logit_data_i;
  end

  fifo #(
      .WIDTH(DEPTH * 16),
      .DEPTH(WORDS)
  ) i_words (
      .clk_i,
      .rst_i,
      .valid_i(arriving_q[MEMORY_LATENCY-1]),
      .ready_o(words_room),
      .data_i (arrived),
      .valid_o(word_valid),
      .ready_i(word_taken),
      .data_o (word)
  );

  // --- Chunks into beats
  logic [2:0] chunk_units, valid_units;  // 2 or 4; those that exist
  logic [1:0] last_chunk, chunk_q, fill_q, fill;
  logic [PORT_BITS-1:0] chunk, partial_q, partial, packed_beat, beat_q;
  logic [3:0] chunk_mask, partial_mask_q, partial_mask, packed_mask, mask_q;
  logic chunk_taken, final_chunk, beat_full, beat_valid_q, beats_room;

  always_comb begin
    case (mode_q)
      SOURCE_LOGITS: begin
        chunk_units = 3'd4;
        last_chunk  = 2'd0;
      end
      SOURCE_ACT: begin
        chunk_units = DEPTH == 8 ? 3'd2 : 3'd4;
        last_chunk  = DEPTH == 32 ? 2'd1 : 2'd0;
      end
      default: begin
        chunk_units = 3'd4;
        last_chunk  = 2'(DEPTH * 16 / PORT_BITS - 1);
      end
    endcase
  end

  assign chunk = PORT_BITS'(word >> {chunk_q, 7'd0});
  // The last beat of logits may be a part of one.
  assign valid_units = units_q < 24'(chunk_units) ? units_q[2:0] : chunk_units;
  assign chunk_mask = 4'((5'd1 << valid_units) - 5'd1);
  // Only an ACT word of DEPTH 8 is less than a beat.
  assign fill = DEPTH == 8 ? fill_q : '0;
  assign partial = DEPTH == 8 ? partial_q : '0;
  assign partial_mask = DEPTH == 8 ? partial_mask_q : '0;
  assign packed_beat = partial | (chunk << {fill, 5'd0});
  assign packed_mask = partial_mask | (chunk_mask << fill);
  assign final_chunk = units_q == 24'(valid_units);
  assign beat_full = 3'(fill) + chunk_units == 3'd4 || final_chunk;
  assign chunk_taken = word_valid && (!beat_valid_q || beats_room);
  assign word_taken = chunk_taken && chunk_q == last_chunk;

  always_ff @(posedge clk_i) begin
    if (beats_room) beat_valid_q <= 1'b0;
    if (chunk_taken) begin
      chunk_q <= word_taken ? '0 : chunk_q + 1'b1;
      units_q <= units_q - 24'(valid_units);
      partial_q <= beat_full ? '0 : packed_beat;
      partial_mask_q <= beat_full ? '0 : packed_mask;
      fill_q <= beat_full ? '0 : fill + chunk_units[1:0];
      beat_q <= packed_beat;
      mask_q <= packed_mask;
      beat_valid_q <= beat_full;
    end
    if (begin_q) units_q <= all_units_q;
    if (rst_i) begin
      beat_valid_q <= 1'b0;
      chunk_q <= '0;
      fill_q <= '0;
      partial_q <= '0;
      partial_mask_q <= '0;
    end
  end

  logic [3:0] mask;
  logic unused_valid;
  fifo #(
      .WIDTH(PORT_BITS + 4),
      .DEPTH(BEATS)
  ) i_beats (
      .clk_i,
      .rst_i,
      .valid_i(beat_valid_q),
      .ready_o(beats_room),
      .data_i ({mask_q, beat_q}),
      .valid_o(unused_valid),
      .ready_i(pop_i),
      .data_o ({mask, data_o})
  );
  always_comb for (int u = 0; u < 4; u++) strobe_o[4*u+:4] = {4{mask[u]}};

  // --- Bursts: sized in one cycle, issued in the next
  logic busy_q, sized_q, issue;
  logic [63-SIZE:0] beat_address_q;
  logic [23:0] left_q;
  logic [6:0] there_q;  // beats buffered and not promised
  logic [4:0] burst, burst_q;
  logic [8:0] to_page;

  always_comb begin
    to_page = 9'd256 - {1'b0, beat_address_q[7:0]};
    burst   = 5'(MAX_BURST);
    if (left_q < 24'(MAX_BURST)) burst = left_q[4:0];
    if (to_page < 9'(burst)) burst = to_page[4:0];
  end
  assign issue = sized_q && there_q >= 7'(burst_q) && !req_valid_o;

  always_ff @(posedge clk_i) begin
    done_o <= 1'b0;
    if (!sized_q) begin
      burst_q <= burst;
      sized_q <= busy_q && left_q != '0;
    end
    if (req_ready_i) req_valid_o <= 1'b0;
    if (!req_valid_o) begin
      req_address_o <= {beat_address_q, SIZE'(0)};
      req_length_o <= LENGTH_BITS'(burst_q - 1'b1);
    end
    if (issue) begin
      req_valid_o <= 1'b1;
      sized_q <= 1'b0;
      left_q <= left_q - 24'(burst_q);
      beat_address_q <= beat_address_q + (64 - SIZE)'(burst_q);
    end
    there_q <= there_q + 7'(beat_valid_q && beats_room) - (issue ? 7'(burst_q) : '0);
    if (busy_q && left_q == '0 && !req_valid_o) begin
      busy_q <= 1'b0;
      done_o <= 1'b1;
    end
    if (start_i) beat_address_q <= (64 - SIZE)'((output_i + 64'(descriptor_i.address)) >> SIZE);
    if (begin_q) begin
      busy_q <= 1'b1;
      left_q <= (all_units_q + 24'd3) >> 2;
    end
    if (rst_i) begin
      busy_q <= 1'b0;
      sized_q <= 1'b0;
      req_valid_o <= 1'b0;
      done_o <= 1'b0;
      there_q <= '0;
    end
  end

`ifdef VERILATOR
  words_lost :
  assert property (@(posedge clk_i) disable iff (rst_i)
      arriving_q[MEMORY_LATENCY-1] |-> words_room);
  beat_missing :
  assert property (@(posedge clk_i) disable iff (rst_i) pop_i |-> unused_valid);
`else
  logic unused_checks;
  assign unused_checks = words_room ^ unused_valid;
`endif

  logic unused;
  assign unused = ^{descriptor_i, fill_q, partial_q, partial_mask_q};

endmodule
