// A stream of beats read from memory: jobs (address, beats) become bursts on a shared read port,
// and their data a stream in order.
//
// A burst is min(what is left, MAX_BURST, up to the next 4 KB) beats and is asked for when the FIFO
// has room for all of it (`room_q` counts places neither filled nor promised), one in two cycles
// at most: the next one is asked for when the port has taken the one before, so that its answer ends
// in a register here. A job of no beats does nothing. BLOCK: FIFO in block memory.

module read_client #(
    parameter int unsigned BEATS = 64,  // FIFO's depth, a power of two, at least MAX_BURST
    parameter bit BLOCK = 1'b0,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5
) (
    input logic clk_i,
    input logic rst_i,

    input logic job_valid_i,
    output logic job_ready_o,
    input logic [63:0] job_address_i,  // a multiple of the beat
    input logic [27:0] job_beats_i,

    output logic req_valid_o,
    input logic req_ready_i,
    output logic [63:0] req_address_o,
    output logic [LENGTH_BITS-1:0] req_length_o,  // beats - 1
    input logic data_valid_i,
    input logic [PORT_BITS-1:0] data_i,

    output logic valid_o,
    input logic ready_i,
    output logic [PORT_BITS-1:0] data_o
);

  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);
  localparam int unsigned MAX_BURST = 2 ** LENGTH_BITS;
  localparam int unsigned ROOM_BITS = $clog2(BEATS + 1);
  localparam int unsigned PAGE_BITS = 12 - SIZE;  // beats of 4 KB
  if (BEATS < MAX_BURST) begin : gen_check_beats_must_hold
    $error("BEATS must hold a burst");
  end

  logic [63-SIZE:0] beat_address_q;
  logic [27:0] left_q;
  logic [ROOM_BITS-1:0] room_q;
  logic [LENGTH_BITS:0] burst, burst_q;
  logic [PAGE_BITS:0] to_page;
  logic sized_q, issue, taken;

  // --- Bursts: sized in one cycle, issued in the next
  always_comb begin
    to_page = (PAGE_BITS + 1)'(2 ** PAGE_BITS) - (PAGE_BITS + 1)'(beat_address_q[PAGE_BITS-1:0]);
    burst = (LENGTH_BITS + 1)'(MAX_BURST);
    if (left_q < 28'(MAX_BURST)) burst = left_q[LENGTH_BITS:0];
    if (32'(to_page) < 32'(burst)) burst = to_page[LENGTH_BITS:0];
  end

  assign issue = sized_q && 32'(room_q) >= 32'(burst_q) && !req_valid_o;
  assign job_ready_o = left_q == '0;
  assign taken = valid_o && ready_i;

  always_ff @(posedge clk_i) begin
    if (!sized_q) begin
      burst_q <= burst;
      sized_q <= left_q != '0;
    end
    if (req_ready_i) req_valid_o <= 1'b0;
    if (!req_valid_o) begin
      req_address_o <= {beat_address_q, SIZE'(0)};
      req_length_o <= LENGTH_BITS'(burst_q - 1'b1);
    end
    if (issue) begin
      req_valid_o <= 1'b1;
      sized_q <= 1'b0;
      left_q <= left_q - 28'(burst_q);
      beat_address_q <= beat_address_q + (64 - SIZE)'(burst_q);
    end
    if (job_valid_i && job_ready_o) begin
      left_q <= job_beats_i;
      beat_address_q <= job_address_i[63:SIZE];
    end
    room_q <= room_q - (issue ? ROOM_BITS'(burst_q) : '0) + ROOM_BITS'(taken);
    if (rst_i) begin
      req_valid_o <= 1'b0;
      sized_q <= 1'b0;
      left_q <= '0;
      room_q <= ROOM_BITS'(BEATS);
    end
  end

  // --- Data
  logic has_room;

  if (BLOCK) begin : gen_block
    fifo_block #(
        .WIDTH(PORT_BITS),
        .DEPTH(BEATS)
    ) i_fifo (
        .clk_i,
        .rst_i,
        .valid_i(data_valid_i),
        .ready_o(has_room),
        .data_i,
        .valid_o,
        .ready_i,
        .data_o
    );
  end else begin : gen_small
    fifo #(
        .WIDTH(PORT_BITS),
        .DEPTH(BEATS)
    ) i_fifo (
        .clk_i,
        .rst_i,
        .valid_i(data_valid_i),
        .ready_o(has_room),
        .data_i,
        .valid_o,
        .ready_i,
        .data_o
    );
  end

`ifdef VERILATOR
  overrun :
  assert property (@(posedge clk_i) disable iff (rst_i) data_valid_i |-> has_room);
`endif

  logic unused;
  assign unused = ^{has_room, job_address_i[SIZE-1:0]};

endmodule
