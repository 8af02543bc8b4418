// A queue of parameter ranges read ahead: the data of the oldest range still in use, in order.
//
// `ahead_*` adds a range: its offset from PROGRAM, beats, and its descriptor's number. The head of
// the queue is described by `head_*`; its data come on `valid_o`. Ranges of descriptors before
// `current_i` that were not read to their end are skipped, so that the queue never falls out of
// step with the operations.

module prefetch #(
    parameter int unsigned BEATS = 512,
    parameter bit BLOCK = 1'b1,
    parameter int unsigned RANGES = 32,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5
) (
    input logic clk_i,
    input logic rst_i,
    input logic [63:0] program_i,
    input logic [7:0] current_i,

    input logic ahead_valid_i,
    input logic [31:0] ahead_offset_i,
    input logic [12:0] ahead_beats_i,
    input logic [7:0] ahead_number_i,

    output logic req_valid_o,
    input logic req_ready_i,
    output logic [63:0] req_address_o,
    output logic [LENGTH_BITS-1:0] req_length_o,
    input logic data_valid_i,
    input logic [PORT_BITS-1:0] data_i,

    output logic head_valid_o,
    output logic [31:0] head_offset_o,
    output logic [12:0] head_left_o,
    output logic valid_o,
    input logic ready_i,
    output logic [PORT_BITS-1:0] data_o
);

  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);

  // --- Reading
  logic job_valid, job_ready, jobs_room, beat_valid, beat_taken;
  logic [31:0] job_offset;
  logic [12:0] job_beats;

  fifo #(
      .WIDTH(32 + 13),
      .DEPTH(RANGES)
  ) i_jobs (
      .clk_i,
      .rst_i,
      .valid_i(ahead_valid_i),
      .ready_o(jobs_room),
      .data_i ({ahead_offset_i, ahead_beats_i}),
      .valid_o(job_valid),
      .ready_i(job_ready),
      .data_o ({job_offset, job_beats})
  );

  read_client #(
      .BEATS(BEATS),
      .BLOCK(BLOCK),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(LENGTH_BITS)
  ) i_client (
      .clk_i,
      .rst_i,
      .job_valid_i(job_valid),
      .job_ready_o(job_ready),
      .job_address_i(program_i + 64'(job_offset)),
      .job_beats_i(28'(job_beats)),
      .req_valid_o,
      .req_ready_i,
      .req_address_o,
      .req_length_o,
      .data_valid_i,
      .data_i,
      .valid_o(beat_valid),
      .ready_i(beat_taken),
      .data_o
  );

  // --- The head
  logic range_valid, range_ready, ranges_room, current_q, stale_q, some_left_q;
  logic [31:0] range_offset, offset_q;
  logic [12:0] range_beats, left_q;
  logic [7:0] range_number, number_q, age;

  fifo #(
      .WIDTH(32 + 13 + 8),
      .DEPTH(RANGES)
  ) i_ranges (
      .clk_i,
      .rst_i,
      .valid_i(ahead_valid_i),
      .ready_o(ranges_room),
      .data_i ({ahead_offset_i, ahead_beats_i, ahead_number_i}),
      .valid_o(range_valid),
      .ready_i(range_ready),
      .data_o ({range_offset, range_beats, range_number})
  );

  // Numbers are modulo 256, far apart less than 128. An operation's first request comes later than
  // its number, so that the comparison may take a cycle.
  assign age = current_i - (range_valid && range_ready ? range_number : number_q);
  assign head_valid_o = some_left_q && current_q;
  assign head_offset_o = offset_q;
  assign head_left_o = left_q;
  assign valid_o = beat_valid && head_valid_o;
  assign beat_taken = some_left_q && (stale_q || (head_valid_o && ready_i));
  assign range_ready = !some_left_q;

  always_ff @(posedge clk_i) begin
    current_q <= age == '0;
    stale_q   <= age != '0 && !age[7];
    if (beat_valid && beat_taken) begin
      left_q   <= left_q - 1'b1;
      some_left_q <= left_q != 13'd1;
      offset_q <= offset_q + (32'd1 << SIZE);
    end
    if (range_valid && range_ready) begin
      left_q   <= range_beats;
      some_left_q <= range_beats != '0;
      offset_q <= range_offset;
      number_q <= range_number;
    end
    if (rst_i) begin
      left_q <= '0;
      some_left_q <= 1'b0;
    end
  end

`ifdef VERILATOR
  range_lost :
  assert property (@(posedge clk_i) disable iff (rst_i)
      ahead_valid_i |-> jobs_room && ranges_room);
`else
  logic unused;
  assign unused = ^{jobs_room, ranges_room};
`endif

endmodule
