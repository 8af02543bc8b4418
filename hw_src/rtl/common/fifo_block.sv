// A first-word-fall-through FIFO in block memory, one entry per cycle. Behind the memory is its
// output register, the head: the entry that was read waits in the memory's latch until the head is free
// or taken.

module fifo_block #(
    parameter int unsigned WIDTH = 128,
    parameter int unsigned DEPTH = 512  // a power of two
) (
    input  logic             clk_i,
    input  logic             rst_i,
    input  logic             valid_i,
    output logic             ready_o,
    input  logic [WIDTH-1:0] data_i,
    output logic             valid_o,
    input  logic             ready_i,
    output logic [WIDTH-1:0] data_o
);

  localparam int unsigned ADDRESS_BITS = $clog2(DEPTH);
  if (DEPTH < 4 || (DEPTH & (DEPTH - 1)) != 0) begin : gen_check_depth
    $error("DEPTH must be a power of two");
  end

  // One bit more than an address: equal is empty, equal but for the top bit is full.
  logic [ADDRESS_BITS:0] write_q, read_q;
  (* ram_style = "block" *) logic [WIDTH-1:0] memory[DEPTH];
  logic [WIDTH-1:0] entry_q;
  logic write, read, move, held_q;

  assign ready_o = (write_q ^ read_q) != {1'b1, {ADDRESS_BITS{1'b0}}};
  assign write = valid_i && ready_o;
  assign move = held_q && (!valid_o || ready_i);
  assign read = write_q != read_q && (!held_q || move);

  always_ff @(posedge clk_i) begin
    if (write) memory[write_q[ADDRESS_BITS-1:0]] <= data_i;
    if (read) entry_q <= memory[read_q[ADDRESS_BITS-1:0]];
    if (move) data_o <= entry_q;
  end

  always_ff @(posedge clk_i) begin
    if (write) write_q <= write_q + 1'b1;
    if (read) read_q <= read_q + 1'b1;
    held_q <= read || (held_q && !move);
    valid_o <= move || (valid_o && !ready_i);
    if (rst_i) begin
      write_q <= '0;
      read_q  <= '0;
      held_q  <= 1'b0;
      valid_o <= 1'b0;
    end
  end

endmodule
