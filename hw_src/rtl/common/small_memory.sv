// A memory with one write port and one synchronous read port, data one cycle after the address. In
// LUTs, for buffers of a few entries, where block RAM would be wasted; or, with BLOCK, in block RAM
// without its output register: then whatever reads it has three levels less.
module small_memory #(
    parameter int unsigned WIDTH = 8,
    parameter int unsigned WORDS = 16,
    parameter bit BLOCK = 1'b0,
    localparam int unsigned ADDRESS = $clog2(WORDS)
) (
    input  logic               clk_i,
    input  logic [ADDRESS-1:0] raddr_i,
    output logic [  WIDTH-1:0] rdata_o,
    input  logic               we_i,
    input  logic [ADDRESS-1:0] waddr_i,
    input  logic [  WIDTH-1:0] wdata_i
);
  if (BLOCK) begin : g_block
    (* ram_style = "block" *) logic [WIDTH-1:0] memory[WORDS];
    always_ff @(posedge clk_i) begin
      if (we_i) memory[waddr_i] <= wdata_i;
      rdata_o <= memory[raddr_i];
    end
  end else begin : g_distributed
    (* ram_style = "distributed" *) logic [WIDTH-1:0] memory[WORDS];
    always_ff @(posedge clk_i) begin
      if (we_i) memory[waddr_i] <= wdata_i;
      rdata_o <= memory[raddr_i];
    end
  end
endmodule
