// Reads the descriptor table ahead of its execution, checks each descriptor and queues it.
//
// From the end of reset the whole table is read (4 beats a descriptor) through a FIFO; each is
// assembled, checked and queued with what the check found. Nothing is queued after an END or a bad
// descriptor; a table that runs out without END ends in an entry with CAUSE_NO_END. `entry_*` at the
// time of queueing also goes to those who read ahead: weights and parameters. The queue's head is a
// register, filled in the cycle after the one before was taken, and with it what the sequencer asks of
// it first: which unit is to run it, and whether it may.

module descriptor_fetch
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 6400,
    parameter int unsigned RES_WORDS = 1280,
    parameter int unsigned LOGITS = 1024,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5,
    parameter int unsigned QUEUE = 16
) (
    input logic clk_i,
    input logic rst_i,  // held while no run is under way
    input logic start_i,  // one cycle, after the registers below are set
    input logic [31:0] count_i,
    input logic [63:0] program_i,
    input logic [31:0] program_bytes_i,
    input logic [31:0] image_bytes_i,
    input logic [31:0] output_bytes_i,

    output logic req_valid_o,
    input logic req_ready_i,
    output logic [63:0] req_address_o,
    output logic [LENGTH_BITS-1:0] req_length_o,
    input logic data_valid_i,
    input logic [PORT_BITS-1:0] data_i,

    // What is queued, as it is queued
    output logic ahead_valid_o,  // one cycle
    output descriptor_t ahead_descriptor_o,
    output logic [21:0] ahead_words_o,
    output logic [7:0] ahead_number_o,  // of the descriptor, modulo 256

    output logic valid_o,
    input logic ready_i,
    output descriptor_t descriptor_o,
    output violation_t violation_o,
    output logic bad_o,
    output logic [3:0] unit_o  // 0 load image, 1 load residual, 2 datapath, 3 store; none: END
);

  localparam int unsigned BEATS = DESCRIPTOR_BYTES * 8 / PORT_BITS;
  localparam int unsigned BEAT_BITS = $clog2(BEATS);

  logic beat_valid, beat_ready, unused_job_ready;
  logic [PORT_BITS-1:0] beat;

  read_client #(
      .BEATS(32),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(LENGTH_BITS)
  ) i_client (
      .clk_i,
      .rst_i,
      .job_valid_i(start_i),
      .job_ready_o(unused_job_ready),
      .job_address_i(program_i),
      .job_beats_i(28'(count_i << BEAT_BITS)),
      .req_valid_o,
      .req_ready_i,
      .req_address_o,
      .req_length_o,
      .data_valid_i,
      .data_i,
      .valid_o(beat_valid),
      .ready_i(beat_ready),
      .data_o(beat)
  );

  typedef enum logic [2:0] {
    WAITING,
    FILL,
    CHECK,
    CHECKING,
    QUEUEING,
    STOPPED
  } state_e;
  state_e state_q;

  descriptor_t descriptor_q;
  logic [BEAT_BITS-1:0] beat_q;
  logic [31:0] left_q;
  logic checked, queue_ready, exhausted;
  violation_t found, queued;

  assign exhausted = left_q == '0;
  assign beat_ready = state_q == FILL && !exhausted;
  assign queued = exhausted ? '{cause: CAUSE_NO_END, offset: 8'd0} : found;

  always_ff @(posedge clk_i) begin
    case (state_q)
      WAITING: begin
        left_q <= count_i;
        beat_q <= '0;
        if (start_i) state_q <= FILL;
      end
      FILL:
      if (exhausted) state_q <= QUEUEING;
      else if (beat_valid) begin
        descriptor_q <= {beat, descriptor_q[DESCRIPTOR_BYTES*8-1:PORT_BITS]};
        beat_q <= beat_q + 1'b1;
        if (&beat_q) state_q <= CHECK;
      end
      CHECK: state_q <= CHECKING;
      CHECKING: if (checked) state_q <= QUEUEING;
      QUEUEING:
      if (queue_ready) begin
        left_q <= left_q - 1'b1;
        ahead_number_o <= ahead_number_o + 1'b1;
        state_q <= queued.cause != CAUSE_NONE || descriptor_q.opcode == OPCODE_END ? STOPPED : FILL;
      end
      default: ;
    endcase
    if (rst_i) begin
      state_q <= WAITING;
      ahead_number_o <= '0;
    end
  end

  range_check #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS)
  ) i_check (
      .clk_i,
      .rst_i,
      .start_i(state_q == CHECK),
      .descriptor_i(descriptor_q),
      .program_bytes_i,
      .image_bytes_i,
      .output_bytes_i,
      .done_o(checked),
      .violation_o(found),
      .weight_words_o(ahead_words_o)
  );

  assign ahead_valid_o = state_q == QUEUEING && queue_ready && queued.cause == CAUSE_NONE;
  assign ahead_descriptor_o = descriptor_q;

  logic waiting;
  descriptor_t descriptor;
  violation_t violation;
  fifo #(
      .WIDTH($bits(descriptor_t) + $bits(violation_t)),
      .DEPTH(QUEUE)
  ) i_queue (
      .clk_i,
      .rst_i,
      .valid_i(state_q == QUEUEING),
      .ready_o(queue_ready),
      .data_i ({descriptor_q, queued}),
      .valid_o(waiting),
      .ready_i(!valid_o),
      .data_o ({descriptor, violation})
  );
  always_ff @(posedge clk_i) begin
    if (!valid_o) begin
      valid_o <= waiting;
      descriptor_o <= descriptor;
      violation_o <= violation;
      bad_o <= violation.cause != CAUSE_NONE;
      case (descriptor.opcode)
        OPCODE_LOAD_IMAGE: unit_o <= 4'b0001;
        OPCODE_LOAD_RESIDUAL: unit_o <= 4'b0010;
        OPCODE_STORE: unit_o <= 4'b1000;
        OPCODE_END: unit_o <= 4'b0000;
        default: unit_o <= 4'b0100;
      endcase
    end else if (ready_i) begin
      valid_o <= 1'b0;
    end
    if (rst_i) valid_o <= 1'b0;
  end

  logic unused;
  assign unused = unused_job_ready;

endmodule
