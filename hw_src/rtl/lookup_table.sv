// A 256-entry byte table for one lane, 64 words of four bytes; the value one cycle after the index.
module lookup_table (
    input  logic        clk_i,
    input  logic        we_i,
    input  logic [ 5:0] waddr_i,
    input  logic [31:0] wdata_i,
    input  logic [ 7:0] index_i,
    output logic [ 7:0] value_o
);
  logic [31:0] word;
  logic [ 1:0] byte_q;

  small_memory #(
      .WIDTH(32),
      .WORDS(64)
  ) u_words (
      .clk_i,
      .raddr_i(index_i[7:2]),
      .rdata_o(word),
      .we_i,
      .waddr_i,
      .wdata_i
  );
  always_ff @(posedge clk_i) byte_q <= index_i[1:0];
  assign value_o = word[8*byte_q+:8];
endmodule
