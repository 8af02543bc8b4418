// One column of an on-chip memory: simple dual port, synchronous read with an output register, so
// that it becomes block RAM. Data appear two cycles after the address. A read of the word that is
// being written gives the old one; no unit does it.
module column_memory #(
    parameter int unsigned WIDTH = 8,
    parameter int unsigned WORDS = 1024,
    localparam int unsigned ADDRESS = $clog2(WORDS)
) (
    input  logic               clk_i,
    input  logic               re_i,
    input  logic [ADDRESS-1:0] raddr_i,
    output logic [  WIDTH-1:0] rdata_o,
    input  logic               we_i,
    input  logic [ADDRESS-1:0] waddr_i,
    input  logic [  WIDTH-1:0] wdata_i
);
  (* ram_style = "block" *) logic [WIDTH-1:0] memory[WORDS];
  logic [WIDTH-1:0] read_q;

  always_ff @(posedge clk_i) begin
    if (we_i) memory[waddr_i] <= wdata_i;
    if (re_i) read_q <= memory[raddr_i];
    rdata_o <= read_q;
  end
endmodule
