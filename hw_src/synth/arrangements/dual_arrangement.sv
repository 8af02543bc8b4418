// As arrangement.sv, of dual-mode cells. In 8-bit mode a beat is ROWS 8-bit rows times the even ones of
// TOKENS: what feeds the array sends a tile's tokens in two beats, with zeros for the odd ones, and
// twice the weights a beat. acc_o of the odd tokens means nothing then.
//
// wide_i comes with the operands, valid_i and first_i 21 cycles later, 22 where DEPTH is 32.
module dual_arrangement #(
    parameter  int unsigned TOKENS = 4,
    parameter  int unsigned ROWS   = 16,
    parameter  int unsigned DEPTH  = 16,
    // |sum| <= 4096 * 127 * 127 < 2^26 of even tokens, 2^22 as in datapath_pkg of the others.
    localparam int unsigned BITS   = 27
) (
    input  logic                                              clk_i,
    input  logic                                              wide_i,
    input  logic                                              valid_i,
    input  logic                                              first_i,
    input  logic [TOKENS-1:0][DEPTH-1:0]          [7:0]       x_i,
    input  logic [ROWS/2-1:0][DEPTH-1:0][3:0]     [3:0]       w_i,     // dual_digits.sv
    output logic [TOKENS-1:0][ ROWS-1:0]          [BITS-1:0]  acc_o
);
  function automatic int unsigned late(input int unsigned k);
    late = k % 16 < 2 ? 0 : k % 16 - 1;
  endfunction

  // Operands are packed once for all cells that share them.
  logic [TOKENS/2-1:0][DEPTH-1:0][17:0] x_packed;
  logic [TOKENS/2-1:0][DEPTH-1:0][2:0] x1_low;
  logic [ROWS/2-1:0][DEPTH-1:0][15:0] w_packed;
  logic [ROWS/2-1:0][DEPTH-1:0][2:0] w0_low, w1_low;
  for (genvar k = 0; k < DEPTH; k++) begin : g_input
    for (genvar t = 0; t < TOKENS; t += 2) begin : g_token
      pack_tokens #(
          .SKEW(late(k))
      ) u_pack (
          .clk_i,
          .x_i  ({x_i[t+1][k], x_i[t][k]}),
          .x_o  (x_packed[t/2][k]),
          .low_o(x1_low[t/2][k])
      );
    end
    for (genvar r = 0; r < ROWS / 2; r++) begin : g_row
      dual_digits #(
          .SKEW(late(k))
      ) u_pack (
          .clk_i,
          .wide_i,
          .w_i  (w_i[r][k]),
          .w_o  (w_packed[r][k]),
          .low_o({w1_low[r][k], w0_low[r][k]})
      );
    end
  end
  (* keep = "true" *) logic [19:0] wide_q;
  always_ff @(posedge clk_i) wide_q <= {wide_q[18:0], wide_i};

  for (genvar t = 0; t < TOKENS; t += 2) begin : g_token
    for (genvar r = 0; r < ROWS; r += 2) begin : g_row
      logic [1:0][1:0][19:0] sum;
      logic carry;  // to sum[0][1]
      dual_cell #(
          .DEPTH(DEPTH)
      ) u_cell (
          .clk_i,
          .wide_i(wide_q),
          .w_i(w_packed[r/2]),
          .x_i(x_packed[t/2]),
          .w0_low_i(w0_low[r/2]),
          .w1_low_i(w1_low[r/2]),
          .x1_low_i(x1_low[t/2]),
          .sum_o(sum),
          .carry_o(carry)
      );
      for (genvar l = 0; l < 4; l++) begin : g_lane
        dual_accumulator #(
            .BITS (l < 2 ? BITS : datapath_pkg::ACC_BITS),
            .CARRY(l == 1)
        ) u_acc (
            .clk_i,
            .valid_i,
            .first_i,
            .sum_i  (sum[l/2][l%2]),
            .carry_i(l == 1 && carry),
            .acc_o  (acc_o[t+l/2][r+l%2])
        );
      end
    end
  end
endmodule
