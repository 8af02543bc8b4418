// One column of an on-chip memory: simple dual port, synchronous read with an output register, so
// that it becomes block RAM. Data appear two cycles after the address. A read of the word that is
// being written gives the old one; no unit does it.
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

  // A block for each port: no order between two writes of a cycle, which never go to one word.
  // verilator lint_off MULTIDRIVEN

  always_ff @(posedge clk_i) begin
    if (we_i) memory[waddr_i] <= wdata_i;
    if (re_i) read_q <= memory[raddr_i];
    rdata_o <= read_q;
  end
  if (LOAD) begin : g_load
    always_ff @(posedge clk_i) if (load_i) memory[raddr_i] <= load_data_i;
  end else begin : g_read_only
    logic unused;
    assign unused = ^{load_i, load_data_i};
  end
  // verilator lint_on MULTIDRIVEN
endmodule
