// ACT: TOKENS banks of DEPTH byte columns. A read takes one word of every bank, a write goes to
// any columns, each at an address of its own (the rows of a group have arbitrary channels) that
// the banks share. A load writes a word of a bank at the read's address.
module act_memory #(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned WORDS = 4096,
    localparam int unsigned ADDRESS = $clog2(WORDS)
) (
    input  logic                                   clk_i,
    input  logic                                   re_i,
    input  logic [ADDRESS-1:0]                     raddr_i,
    output logic [ TOKENS-1:0][DEPTH-1:0][    7:0] rdata_o,
    input  logic [ TOKENS-1:0][DEPTH-1:0]          we_i,
    input  logic [  DEPTH-1:0][ADDRESS-1:0]        waddr_i,
    input  logic [ TOKENS-1:0][DEPTH-1:0][    7:0] wdata_i,
    input  logic [ TOKENS-1:0]                     load_i,
    input  logic [  DEPTH-1:0][      7:0]          load_data_i
);
  for (genvar t = 0; t < TOKENS; t++) begin : g_bank
    for (genvar k = 0; k < DEPTH; k++) begin : g_column
      column_memory #(
          .WIDTH(8),
          .WORDS(WORDS),
          .LOAD (1'b1)
      ) u_column (
          .clk_i,
          .re_i,
          .raddr_i,
          .rdata_o(rdata_o[t][k]),
          .we_i(we_i[t][k]),
          .waddr_i(waddr_i[k]),
          .wdata_i(wdata_i[t][k]),
          .load_i(load_i[t]),
          .load_data_i(load_data_i[k])
      );
    end
  end
endmodule
