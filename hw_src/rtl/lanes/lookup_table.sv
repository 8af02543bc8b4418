// A 256-entry byte table for one lane, written four bytes at a time; the value one cycle after the
// index, from block RAM without its output register.
module lookup_table (
    input  logic        clk_i,
    input  logic        we_i,
    input  logic [ 5:0] waddr_i,
    input  logic [31:0] wdata_i,
    input  logic [ 7:0] index_i,
    output logic [ 7:0] value_o
);
  (* ram_style = "block" *) logic [7:0] memory[256];

  always_ff @(posedge clk_i) begin
    for (int unsigned i = 0; i < 4; i++) begin
      if (we_i) memory[{waddr_i, 2'(i)}] <= wdata_i[8*i+:8];
    end
    value_o <= memory[index_i];
  end
endmodule
