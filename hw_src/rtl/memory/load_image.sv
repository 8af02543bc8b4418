// LOAD_IMAGE: raw RGB rows to the patch tokens of an ACT region.
//
// A pixel byte x becomes max(x, 1) - 128. Token 0 (CLS) is zeros; token 1 + i is patch i in raster
// order, its 768 channels ordered (row, column, colour). So a row of the image gives each patch
// column 48 channels, three beats of 16 bytes, at channel 48 * row. The rows stream in as they lie
// in memory, one beat per cycle and stream, and a step takes one beat of each stream:
//
//     DEPTH 8   one stream; a step is two words, written in two cycles
//     DEPTH 16  one stream; a step is a word
//     DEPTH 32  two streams, e the even rows and o the odd ones, through two ports if there are.
//               Three steps of both are three words, {e1, e0}, {o0, e2} and {o2, o1}: the first is
//               written with step 1, the second with step 2, the third in the cycle after.
//
// Token t lies in bank t % TOKENS at word base + t / TOKENS * pitch; both are counted along.

module load_image
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 6400,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5,
    parameter int unsigned STREAMS = DEPTH == 32 ? 2 : 1,
    localparam int unsigned BankBits = TOKENS > 1 ? $clog2(TOKENS) : 1,
    localparam int unsigned WordBits = $clog2(ACT_WORDS)
) (
    input logic clk_i,
    input logic rst_i,
    input logic start_i,
    input descriptor_t descriptor_i,  // at start_i
    input logic [63:0] image_i,
    output logic done_o,  // one cycle, after the last write

    output logic [STREAMS-1:0] req_valid_o,
    input logic [STREAMS-1:0] req_ready_i,
    output logic [STREAMS-1:0][63:0] req_address_o,
    output logic [STREAMS-1:0][LENGTH_BITS-1:0] req_length_o,
    input logic [STREAMS-1:0] data_valid_i,
    input logic [STREAMS-1:0][PORT_BITS-1:0] data_i,

    output logic we_o,
    output logic [BankBits-1:0] bank_o,
    output logic [WordBits-1:0] word_o,
    output logic [DEPTH*8-1:0] data_o
);

  localparam int unsigned STEPS = PATCH_CHANNELS * 8 / PORT_BITS / STREAMS;  // of a patch: 48 or 24
  localparam int unsigned LAST_WORD = PATCH_CHANNELS / DEPTH - 1;
  if (PORT_BITS != 128 || STREAMS != (DEPTH == 32 ? 2 : 1)) begin : gen_check_streams
    $error("a row of a patch must be three beats, and DEPTH 32 takes two streams");
  end

  // --- Memory: a job is a row of each stream
  logic [7:0] side;
  logic [63:0] row_bytes, address_q, step_bytes_q;
  logic [7:0] jobs_q;
  logic [27:0] row_beats_q;
  logic job_valid;
  logic [STREAMS-1:0] job_ready, beat_valid;
  logic [STREAMS-1:0][PORT_BITS-1:0] raw, beat;
  logic step;

  assign side = descriptor_i.image_size[7:0];
  assign row_bytes = 64'(side) * 64'd3;
  assign job_valid = jobs_q != '0 && &job_ready;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      jobs_q <= side / 8'(STREAMS);
      address_q <= image_i + 64'(descriptor_i.address);
      step_bytes_q <= row_bytes * STREAMS;
      row_beats_q <= 28'(side[7:4]) * 28'd3;
    end else if (job_valid) begin
      jobs_q <= jobs_q - 1'b1;
      address_q <= address_q + step_bytes_q;
    end
    if (rst_i) jobs_q <= '0;
  end

  for (genvar s = 0; s < STREAMS; s++) begin : gen_stream
    read_client #(
        .BEATS(512),
        .BLOCK(1'b1),
        .PORT_BITS(PORT_BITS),
        .LENGTH_BITS(LENGTH_BITS)
    ) i_client (
        .clk_i,
        .rst_i,
        .job_valid_i(job_valid),
        .job_ready_o(job_ready[s]),
        .job_address_i(address_q + (s == 0 ? '0 : step_bytes_q >> 1)),
        .job_beats_i(row_beats_q),
        .req_valid_o(req_valid_o[s]),
        .req_ready_i(req_ready_i[s]),
        .req_address_o(req_address_o[s]),
        .req_length_o(req_length_o[s]),
        .data_valid_i(data_valid_i[s]),
        .data_i(data_i[s]),
        .valid_o(beat_valid[s]),
        .ready_i(step),
        .data_o(raw[s])
    );
    always_comb
      for (int i = 0; i < PORT_BITS / 8; i++)
        beat[s][8*i+:8] = raw[s][8*i+:8] == 8'd0 ? 8'h81 : raw[s][8*i+:8] ^ 8'h80;
  end

  // --- Position: `third` = 3 * row (or pair of rows) in the patch + part of the row
  typedef enum logic [1:0] {
    IDLE,
    ZEROS,
    PIXELS,
    LAST
  } state_e;
  state_e state_q;

  logic [3:0] columns_q, column_q, patch_row_q;
  logic [1:0] part_q;
  logic [5:0] third_q, row_third_q;
  logic [BankBits-1:0] bank_q, row_bank_q, next_bank, bank;
  logic [WordBits-1:0] base_q, row_base_q, pitch_q, next_base, word;
  logic [6:0] zero_q;
  logic here, row_ends, patch_ends, write;
  logic [DEPTH*8-1:0] data;

  // The token after this one.
  assign next_bank = bank_q == BankBits'(TOKENS - 1) ? '0 : bank_q + 1'b1;
  assign next_base = bank_q == BankBits'(TOKENS - 1) ? base_q + pitch_q : base_q;
  assign row_ends  = part_q == 2'd2 && column_q == columns_q - 1'b1;
  assign patch_ends = row_ends && third_q == 6'(STEPS - 1);
  assign here = &beat_valid && state_q == PIXELS;

  if (DEPTH == 8) begin : gen_two_words
    logic upper_q;
    always_ff @(posedge clk_i) begin
      if (here) upper_q <= !upper_q;
      if (rst_i) upper_q <= 1'b0;
    end
    assign step  = here && upper_q;
    assign write = here;
    assign bank  = bank_q;
    assign word  = base_q + WordBits'({third_q, upper_q});
    assign data  = upper_q ? beat[0][127:64] : beat[0][63:0];
  end else if (DEPTH == 16) begin : gen_word
    assign step  = here;
    assign write = here;
    assign bank  = bank_q;
    assign word  = base_q + WordBits'(third_q);
    assign data  = beat[0];
  end else begin : gen_pair
    logic [PORT_BITS-1:0] even_q, odd_q, last_odd_q;
    logic third_word_q;
    logic [BankBits-1:0] third_bank_q;
    logic [WordBits-1:0] third_address_q;
    always_ff @(posedge clk_i) begin
      if (step) begin
        even_q <= beat[0];
        if (part_q != 2'd1) odd_q <= beat[1];  // o0, kept over step 1
        if (part_q == 2'd1) last_odd_q <= beat[1];  // o1
        third_bank_q <= bank_q;
        third_address_q <= base_q + WordBits'(third_q);
      end
      third_word_q <= step && part_q == 2'd2;
      if (rst_i) third_word_q <= 1'b0;
    end
    assign step  = here;
    // The cycle after step 2 is step 0's at the earliest, which writes nothing itself.
    assign write = third_word_q || (here && part_q != 2'd0);
    assign bank  = third_word_q ? third_bank_q : bank_q;
    assign word  = third_word_q ? third_address_q : base_q + WordBits'(third_q) - 1'b1;
    always_comb begin
      data = {beat[0], even_q};
      if (part_q == 2'd2) data = {odd_q, beat[0]};
      if (third_word_q) data = {odd_q, last_odd_q};
    end
  end

  always_ff @(posedge clk_i) begin
    done_o <= 1'b0;
    we_o   <= write;
    bank_o <= bank;
    word_o <= word;
    data_o <= data;
    case (state_q)
      IDLE: begin
        columns_q <= side[7:4];
        pitch_q <= WordBits'(descriptor_i.destination_pitch);
        base_q <= WordBits'(descriptor_i.destination);
        bank_q <= '0;
        zero_q <= '0;
        {column_q, patch_row_q, part_q, third_q, row_third_q} <= '0;
        if (start_i) state_q <= ZEROS;
      end
      ZEROS: begin
        we_o   <= 1'b1;
        word_o <= base_q + WordBits'(zero_q);
        bank_o <= '0;
        data_o <= '0;
        zero_q <= zero_q + 1'b1;
        if (zero_q == 7'(LAST_WORD)) begin
          state_q <= PIXELS;
          bank_q <= next_bank;
          base_q <= next_base;
          row_bank_q <= next_bank;
          row_base_q <= next_base;
        end
      end
      PIXELS:
      if (step) begin
        part_q  <= part_q + 1'b1;
        third_q <= third_q + 1'b1;
        if (part_q == 2'd2) begin  // the next patch to the right
          part_q <= '0;
          third_q <= row_third_q;
          column_q <= column_q + 1'b1;
          bank_q <= next_bank;
          base_q <= next_base;
        end
        if (row_ends) begin  // the next row, or pair of rows, of the same patches
          column_q <= '0;
          third_q <= row_third_q + 6'd3;
          row_third_q <= row_third_q + 6'd3;
          bank_q <= row_bank_q;
          base_q <= row_base_q;
        end
        if (patch_ends) begin  // the first row of the patches below
          third_q <= '0;
          row_third_q <= '0;
          bank_q <= next_bank;
          base_q <= next_base;
          row_bank_q <= next_bank;
          row_base_q <= next_base;
          patch_row_q <= patch_row_q + 1'b1;
          if (patch_row_q == columns_q - 1'b1) state_q <= LAST;
        end
      end
      default: begin
        done_o  <= 1'b1;
        state_q <= IDLE;
      end
    endcase
    if (rst_i) begin
      state_q <= IDLE;
      done_o <= 1'b0;
      we_o <= 1'b0;
    end
  end

  logic unused;
  assign unused = ^{side[3:0], descriptor_i};

endmodule
