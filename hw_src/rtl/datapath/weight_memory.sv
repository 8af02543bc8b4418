// Weight beats of ROWS digit rows x DEPTH nibbles. The weight stream writes whole beats; attention
// writes K a few digit rows and V a few inputs at a time, so that each digit row has one write
// enable for TOKENS inputs. Data two cycles after the address.
module weight_memory #(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned BEATS = 512,
    localparam int unsigned ADDRESS = $clog2(BEATS),
    localparam int unsigned CHUNKS = DEPTH / TOKENS
) (
    input  logic                                     clk_i,
    input  logic                                     re_i,
    input  logic [ADDRESS-1:0]                       raddr_i,
    output logic [   ROWS-1:0][ DEPTH-1:0][     3:0] rdata_o,
    input  logic [   ROWS-1:0][CHUNKS-1:0]           we_i,
    input  logic [ADDRESS-1:0]                       waddr_i,
    input  logic [   ROWS-1:0][ DEPTH-1:0][     3:0] wdata_i
);
  localparam int unsigned CHUNK_BITS = 4 * TOKENS;

  for (genvar r = 0; r < ROWS; r++) begin : g_row
    (* ram_style = "block" *) logic [DEPTH*4-1:0] memory[BEATS];
    logic [DEPTH*4-1:0] read_q, data_q;

    always_ff @(posedge clk_i) begin
      for (int unsigned c = 0; c < CHUNKS; c++) begin
        if (we_i[r][c]) begin
          memory[waddr_i][c*CHUNK_BITS+:CHUNK_BITS] <= wdata_i[r][c*TOKENS+:TOKENS];
        end
      end
      if (re_i) read_q <= memory[raddr_i];
      data_q <= read_q;
    end
    assign rdata_o[r] = data_q;
  end
endmodule
