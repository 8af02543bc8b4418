// A small first-word-fall-through FIFO in distributed memory.
//
// Writes while `ready_o`, reads while `valid_o`; both in one cycle are fine at any level but full.
// `data_o` is the oldest entry, read combinationally, so that WIDTH x DEPTH is meant to be small.

module fifo #(
    parameter int unsigned WIDTH = 8,
    parameter int unsigned DEPTH = 4  // a power of two
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
  if (DEPTH < 2 || (DEPTH & (DEPTH - 1)) != 0) begin : gen_check_depth_must_be
    $error("DEPTH must be a power of two");
  end

  // One bit more than an address: equal is empty, equal but for the top bit is full.
  logic [ADDRESS_BITS:0] write_q, read_q;
  (* ram_style = "distributed" *) logic [WIDTH-1:0] memory[DEPTH];

  assign valid_o = write_q != read_q;
  assign ready_o = (write_q ^ read_q) != {1'b1, {ADDRESS_BITS{1'b0}}};
  assign data_o  = memory[read_q[ADDRESS_BITS-1:0]];

  always_ff @(posedge clk_i) begin
    if (valid_i && ready_o) begin
      memory[write_q[ADDRESS_BITS-1:0]] <= data_i;
      write_q <= write_q + 1'b1;
    end
    if (valid_o && ready_i) read_q <= read_q + 1'b1;
    if (rst_i) begin
      write_q <= '0;
      read_q  <= '0;
    end
  end

endmodule
