// Weights, read ahead of their use and across operations, as array beats.
//
// An array beat is W = ROWS * DEPTH / 2 bytes. With LANES = 1 it comes through one port, beat after
// beat; with more, lane l reads bytes l*W/LANES .. (l+1)*W/LANES of every array beat through its
// own port. Behind each lane a FIFO of BEATS port beats, filled by the jobs of the LINEARs to come,
// and a shift register that assembles its part of the array beat.
//
// WORDS: entries of a FIFO of whole array beats behind the lanes, 0 for none. It is for operations
// on one token (the last block's, the classifier), which take one array beat per cycle for as long as
// what was read ahead lasts, while the lanes deliver one in W / LANES / 16 cycles.
//
// `ahead_*`: a LINEAR was queued, its weights may be read. `start_i`: the LINEAR now begins, its
// array beats may pass. `valid_o` is high for exactly the beats of LINEARs that have begun.

module weight_stream #(
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned LANES = 1,
    parameter int unsigned BEATS = 1024,  // FIFO of a lane, in port beats
    parameter int unsigned WORDS = 0,
    parameter int unsigned JOBS = 32,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5
) (
    input logic clk_i,
    input logic rst_i,

    input logic ahead_valid_i,  // at most JOBS not yet started
    input logic [63:0] ahead_address_i,
    input logic [21:0] ahead_words_i,
    input logic start_i,

    output logic [LANES-1:0] req_valid_o,
    input logic [LANES-1:0] req_ready_i,
    output logic [LANES-1:0][63:0] req_address_o,
    output logic [LANES-1:0][LENGTH_BITS-1:0] req_length_o,
    input logic [LANES-1:0] data_valid_i,
    input logic [LANES-1:0][PORT_BITS-1:0] data_i,

    output logic valid_o,
    input logic ready_i,
    output logic [ROWS*DEPTH*4-1:0] data_o
);

  localparam int unsigned WORD_BYTES = ROWS * DEPTH / 2;
  localparam int unsigned PART_BITS = WORD_BYTES * 8 / LANES;
  localparam int unsigned PART_BEATS = PART_BITS / PORT_BITS;
  localparam int unsigned COUNT_BITS = $clog2(PART_BEATS + 1);
  if (PART_BITS % PORT_BITS != 0) begin : gen_check_an_array_beat
    $error("an array beat must be whole port beats on every lane");
  end

  // --- Jobs: whole matrices on one lane, array beat by array beat on several
  logic job_valid, job_ready, lane_job_valid, jobs_room;
  logic [63:0] job_address, lane_address;
  logic [21:0] job_words;
  logic [27:0] lane_beats;
  logic [LANES-1:0] lane_ready;

  fifo #(
      .WIDTH(64 + 22),
      .DEPTH(JOBS)
  ) i_jobs (
      .clk_i,
      .rst_i,
      .valid_i(ahead_valid_i),
      .ready_o(jobs_room),
      .data_i ({ahead_address_i, ahead_words_i}),
      .valid_o(job_valid),
      .ready_i(job_ready),
      .data_o ({job_address, job_words})
  );

  if (LANES == 1) begin : gen_whole
    assign lane_job_valid = job_valid;
    assign job_ready = &lane_ready;
    assign lane_address = job_address;
    assign lane_beats = 28'(job_words) * 28'(PART_BEATS);
  end else begin : gen_parts
    logic [21:0] word_q;
    logic [63:0] address_q;
    assign lane_job_valid = word_q != '0 && &lane_ready;
    assign job_ready = word_q == '0;
    assign lane_address = address_q;
    assign lane_beats = 28'(PART_BEATS);
    always_ff @(posedge clk_i) begin
      if (lane_job_valid) begin
        word_q <= word_q - 1'b1;
        address_q <= address_q + 64'(WORD_BYTES);
      end
      if (job_valid && job_ready) begin
        word_q <= job_words;
        address_q <= job_address;
      end
      if (rst_i) word_q <= '0;
    end
  end

  // --- Lanes
  logic [LANES-1:0] full;
  logic [ROWS*DEPTH*4-1:0] word;
  logic word_valid, word_ready, taken;

  assign word_valid = &full;
  assign taken = word_valid && word_ready;

  for (genvar l = 0; l < LANES; l++) begin : gen_lane
    logic beat_valid, beat_ready;
    logic [PORT_BITS-1:0] beat;
    read_client #(
        .BEATS(BEATS),
        .BLOCK(1'b1),
        .PORT_BITS(PORT_BITS),
        .LENGTH_BITS(LENGTH_BITS)
    ) i_client (
        .clk_i,
        .rst_i,
        .job_valid_i(lane_job_valid),
        .job_ready_o(lane_ready[l]),
        .job_address_i(lane_address + 64'(l * PART_BITS / 8)),
        .job_beats_i(lane_beats),
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

    // The first beat ends up lowest.
    logic [PART_BITS-1:0] part_q;
    logic [COUNT_BITS-1:0] count_q;
    assign full[l] = count_q == COUNT_BITS'(PART_BEATS);
    assign beat_ready = !full[l] || taken;
    assign word[l*PART_BITS+:PART_BITS] = part_q;
    if (PART_BEATS == 1) begin : gen_one
      always_ff @(posedge clk_i) if (beat_valid && beat_ready) part_q <= beat;
    end else begin : gen_shift
      always_ff @(posedge clk_i)
        if (beat_valid && beat_ready) part_q <= {beat, part_q[PART_BITS-1:PORT_BITS]};
    end
    always_ff @(posedge clk_i) begin
      if (beat_ready) count_q <= (full[l] ? '0 : count_q) + COUNT_BITS'(beat_valid);
      if (rst_i) count_q <= '0;
    end
  end

  // --- Only for LINEARs that have begun
  logic begun_valid, words_room, next_valid, pass;
  logic [21:0] begun_words, open_q;

  if (WORDS == 0) begin : gen_direct
    assign next_valid = word_valid;
    assign word_ready = pass;
    assign data_o = word;
  end else begin : gen_words
    fifo_block #(
        .WIDTH(ROWS * DEPTH * 4),
        .DEPTH(WORDS)
    ) i_words (
        .clk_i,
        .rst_i,
        .valid_i(word_valid),
        .ready_o(word_ready),
        .data_i (word),
        .valid_o(next_valid),
        .ready_i(pass),
        .data_o
    );
  end

  fifo #(
      .WIDTH(22),
      .DEPTH(JOBS)
  ) i_begun (
      .clk_i,
      .rst_i,
      .valid_i(ahead_valid_i),
      .ready_o(words_room),
      .data_i (ahead_words_i),
      .valid_o(begun_valid),
      .ready_i(start_i),
      .data_o (begun_words)
  );

  assign valid_o = next_valid && open_q != '0;
  assign pass = ready_i && open_q != '0;

  always_ff @(posedge clk_i) begin
    open_q <= open_q - 22'(next_valid && pass) + (start_i ? begun_words : '0);
    if (rst_i) open_q <= '0;
  end

`ifdef VERILATOR
  job_lost :
  assert property (@(posedge clk_i) disable iff (rst_i) 
      ahead_valid_i |-> jobs_room && words_room);
  started_unknown :
  assert property (@(posedge clk_i) disable iff (rst_i) start_i |-> begun_valid);
`else
  logic unused;
  assign unused = ^{jobs_room, words_room, begun_valid};
`endif

endmodule
