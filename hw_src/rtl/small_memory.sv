// A shallow memory in LUTs: one write port, one synchronous read port, data one cycle after the
// address. For buffers of a few entries and great width, where block RAM would be wasted.
module small_memory #(
    parameter int unsigned WIDTH = 8,
    parameter int unsigned WORDS = 16,
    localparam int unsigned ADDRESS = $clog2(WORDS)
) (
    input  logic               clk_i,
    input  logic [ADDRESS-1:0] raddr_i,
    output logic [  WIDTH-1:0] rdata_o,
    input  logic               we_i,
    input  logic [ADDRESS-1:0] waddr_i,
    input  logic [  WIDTH-1:0] wdata_i
);
  (* ram_style = "distributed" *) logic [WIDTH-1:0] memory[WORDS];

  always_ff @(posedge clk_i) begin
    if (we_i) memory[waddr_i] <= wdata_i;
    rdata_o <= memory[raddr_i];
  end
endmodule
