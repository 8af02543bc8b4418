// LOAD_RESIDUAL: int16 (tokens, channels) from memory to the residual memory.
//
// A RES word of one bank is DEPTH int16, DEPTH / 8 beats, assembled in a shift register. Token t
// lies in bank t % TOKENS at word t / TOKENS * pitch. LANES share the work, each through its own
// client of a read port: lane l takes tokens l, l + LANES, ... at one beat per cycle, and where two
// have a word in the same cycle, the higher lane waits.

module load_residual
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned RES_WORDS = 1280,
    parameter int unsigned LANES = 1,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5,
    localparam int unsigned BankBits = TOKENS > 1 ? $clog2(TOKENS) : 1,
    localparam int unsigned WordBits = $clog2(RES_WORDS)
) (
    input logic clk_i,
    input logic rst_i,
    input logic start_i,
    input descriptor_t descriptor_i,  // at start_i
    input logic [63:0] program_i,
    output logic done_o,  // one cycle, after the last write

    output logic [LANES-1:0] req_valid_o,
    input logic [LANES-1:0] req_ready_i,
    output logic [LANES-1:0][63:0] req_address_o,
    output logic [LANES-1:0][LENGTH_BITS-1:0] req_length_o,
    input logic [LANES-1:0] data_valid_i,
    input logic [LANES-1:0][PORT_BITS-1:0] data_i,

    output logic we_o,
    output logic [BankBits-1:0] bank_o,
    output logic [WordBits-1:0] word_o,
    output logic [DEPTH*16-1:0] data_o
);

  localparam int unsigned WORD_BEATS = DEPTH * 16 / PORT_BITS;
  localparam int unsigned DEPTH_BITS = $clog2(DEPTH);
  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);
  localparam int unsigned LANE_BITS = $clog2(LANES);
  if (WORD_BEATS * PORT_BITS != DEPTH * 16) begin : gen_check_word
    $error("a word must be whole beats");
  end
  if (LANES != 1 << LANE_BITS || (LANES > 1 && LANES > TOKENS)) begin : gen_check_lanes
    $error("LANES must be a power of two, at most TOKENS");
  end

  // The operation's own, while it runs.
  logic [15:0] words_q;  // of a token
  logic [WordBits-1:0] pitch_q;
  logic [63:0] row_bytes;
  logic [27:0] row_beats_q;

  assign row_bytes = 64'(descriptor_i.inputs) << 1;
  always_ff @(posedge clk_i) begin
    if (start_i) begin
      words_q <= descriptor_i.inputs >> DEPTH_BITS;
      pitch_q <= WordBits'(descriptor_i.destination_pitch);
      row_beats_q <= 28'(descriptor_i.inputs) >> (SIZE - 1);
    end
  end

  logic [LANES-1:0] busy_q, word_full, granted;
  logic [LANES-1:0][BankBits-1:0] bank_q;
  logic [LANES-1:0][WordBits-1:0] word;
  logic [LANES-1:0][DEPTH*16-1:0] data;

  // The lowest lane that has a word.
  assign granted = word_full & (~word_full + 1'b1);

  for (genvar l = 0; l < LANES; l++) begin : gen_lane
    logic job_ready, beat_valid, beat_ready, token_ends;
    logic [PORT_BITS-1:0] beat;
    logic [15:0] jobs_q, tokens_q, mine;
    logic [63:0] address_q, step_q;
    logic [2:0] part_q;
    logic [15:0] word_q;
    logic [WordBits-1:0] base_q;

    // Tokens l, l + LANES, ...
    assign mine = (descriptor_i.tokens + 16'(LANES - 1 - l)) >> LANE_BITS;

    always_ff @(posedge clk_i) begin
      if (start_i) begin
        jobs_q <= mine;
        address_q <= program_i + 64'(descriptor_i.address) + row_bytes * 64'(l);
        step_q <= row_bytes << LANE_BITS;
      end else if (jobs_q != '0 && job_ready) begin
        jobs_q <= jobs_q - 1'b1;
        address_q <= address_q + step_q;
      end
      if (rst_i) jobs_q <= '0;
    end

    read_client #(
        .BEATS(512),
        .BLOCK(1'b1),
        .PORT_BITS(PORT_BITS),
        .LENGTH_BITS(LENGTH_BITS)
    ) i_client (
        .clk_i,
        .rst_i,
        .job_valid_i(jobs_q != '0),
        .job_ready_o(job_ready),
        .job_address_i(address_q),
        .job_beats_i(row_beats_q),
        .req_valid_o(req_valid_o[l]),
        .req_ready_i(req_ready_i[l]),
        .req_address_o(req_address_o[l]),
        .req_length_o(req_length_o[l]),
        .data_valid_i(data_valid_i[l]),
        .data_i(data_i[l]),
        .valid_o(beat_valid),
        .ready_i(beat_ready),
        .data_o(beat)
    );

    assign word_full[l] = beat_valid && busy_q[l] && part_q == 3'(WORD_BEATS - 1);
    assign beat_ready = busy_q[l] && (!word_full[l] || granted[l]);
    assign token_ends = granted[l] && word_q == words_q - 1'b1;
    assign word[l] = base_q + WordBits'(word_q);

    // The first beat is lowest.
    if (WORD_BEATS == 1) begin : gen_one
      assign data[l] = beat;
    end else begin : gen_shift
      logic [DEPTH*16-PORT_BITS-1:0] parts_q;
      assign data[l] = {beat, parts_q};
      always_ff @(posedge clk_i)
        if (beat_valid && beat_ready) parts_q <= data[l][DEPTH*16-1:PORT_BITS];
    end

    always_ff @(posedge clk_i) begin
      if (beat_valid && beat_ready) part_q <= granted[l] ? '0 : part_q + 1'b1;
      if (granted[l]) word_q <= word_q + 1'b1;
      if (token_ends) begin
        word_q <= '0;
        tokens_q <= tokens_q - 1'b1;
        bank_q[l] <= bank_q[l] + BankBits'(LANES);
        if (32'(bank_q[l]) + LANES >= TOKENS) begin
          bank_q[l] <= BankBits'(l);
          base_q <= base_q + pitch_q;
        end
        if (tokens_q == 16'd1) busy_q[l] <= 1'b0;
      end
      if (start_i) begin
        busy_q[l] <= mine != '0;
        part_q <= '0;
        tokens_q <= mine;
        word_q <= '0;
        base_q <= '0;
        bank_q[l] <= BankBits'(l);
      end
      if (rst_i) busy_q[l] <= 1'b0;
    end
  end

  // --- The write, a cycle later; the end, when no lane is left and the last write is out
  logic running_q;

  always_ff @(posedge clk_i) begin
    we_o <= |word_full;
    for (int l = 0; l < LANES; l++) begin
      if (granted[l]) begin
        bank_o <= bank_q[l];
        word_o <= word[l];
        data_o <= data[l];
      end
    end
    done_o <= running_q && busy_q == '0;
    if (busy_q == '0) running_q <= 1'b0;
    if (start_i) running_q <= 1'b1;
    if (rst_i) begin
      running_q <= 1'b0;
      done_o <= 1'b0;
      we_o <= 1'b0;
    end
  end

  logic unused;
  assign unused = ^descriptor_i;

endmodule
