// One column of an on-chip memory: simple dual port, synchronous read with an output register, so
// that it becomes block RAM. Data appear two cycles after the address. A read of the word that is
// being written gives the old one, as block RAM does whose writing port is READ_FIRST (UG573: both
// ports on one clock).
//
// With LOAD the read port writes as well, a word at raddr_i in place of a read: block RAM has two
// ports for both, so that loads need no multiplexer in front of the results' write port.
module column_memory #(
    parameter int unsigned WIDTH = 8,
    parameter int unsigned WORDS = 1024,
    parameter bit LOAD = 1'b0,
    localparam int unsigned ADDRESS = $clog2(WORDS)
) (
    input  logic               clk_i,
    input  logic               re_i,
    input  logic [ADDRESS-1:0] raddr_i,
    output logic [  WIDTH-1:0] rdata_o,
    input  logic               we_i,
    input  logic [ADDRESS-1:0] waddr_i,
    input  logic [  WIDTH-1:0] wdata_i,
    input  logic               load_i,
    input  logic [  WIDTH-1:0] load_data_i
);
  (* ram_style = "block" *) logic [WIDTH-1:0] memory[WORDS];
  logic [WIDTH-1:0] read_q;

  // One block per port, plain `always`, as UG901 writes a true dual-port RAM: two always_ff may not
  // write one variable (IEEE 1800-2017, 9.2.2.4). The two ports never write one word in one cycle.
  always @(posedge clk_i) if (we_i) memory[waddr_i] <= wdata_i;

  if (LOAD) begin : g_load
    // In a cycle the port either writes or reads, and its output keeps its value during a write:
    // mode NO_CHANGE.
    always @(posedge clk_i) begin
      if (re_i || load_i) begin
        if (load_i) memory[raddr_i] <= load_data_i;
        else read_q <= memory[raddr_i];
      end
    end
  end else begin : g_read_only
    always @(posedge clk_i) if (re_i) read_q <= memory[raddr_i];
    logic unused;
    assign unused = ^{load_i, load_data_i};
  end

  always @(posedge clk_i) rdata_o <= read_q;

`ifdef VERILATOR
  one_at_a_time :
  assert property (@(posedge clk_i) !(LOAD && re_i && load_i));
  one_write_a_word :
  assert property (@(posedge clk_i) !(LOAD && we_i && load_i && waddr_i == raddr_i));
`endif
endmodule
