// What an arrangement takes beside the others: an array's packing of operands, its cells and its
// accumulators, without what is the same for all (tags, captured sums).
//
//   ARRANGEMENT   0 the array's cascades of four, 1 cascades of two, 2 cascades of four whose sums are
//                 taken apart behind
//
// acc_o[t][r] <= sum over k of x[t][k] w[r][k] + (first ? 0 : acc_o[t][r]), where valid. valid_i and
// first_i come LATENCY cycles after the operands: 7 of arrangement 0, 6 of 1, 8 of 2, and a cycle for
// two levels of the cell's adders.
module arrangement
  import datapath_pkg::*;
#(
    parameter int unsigned ARRANGEMENT = 0,
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16
) (
    input  logic                                        clk_i,
    input  logic                                        valid_i,
    input  logic                                        first_i,
    input  logic [TOKENS-1:0][DEPTH-1:0][          7:0] x_i,
    input  logic [  ROWS-1:0][DEPTH-1:0][          3:0] w_i,
    output logic [TOKENS-1:0][ ROWS-1:0][ACC_BITS-1:0]  acc_o
);
  localparam bit TWO = ARRANGEMENT == 1;

  // Operands are packed once for all cells that share them.
  logic [TOKENS/2-1:0][DEPTH-1:0][17:0] x_packed;
  logic [TOKENS/2-1:0][DEPTH-1:0][2:0] x1_low;
  logic [ROWS/2-1:0][DEPTH-1:0][8:0] w_packed;
  logic [ROWS/2-1:0][DEPTH-1:0][2:0] w0_low, w1_low;
  for (genvar k = 0; k < DEPTH; k++) begin : g_input
    for (genvar t = 0; t < TOKENS; t += 2) begin : g_token
      pack_tokens #(
          .SKEW(TWO ? 0 : skew(k))
      ) u_pack (
          .clk_i,
          .x_i  ({x_i[t+1][k], x_i[t][k]}),
          .x_o  (x_packed[t/2][k]),
          .low_o(x1_low[t/2][k])
      );
    end
    for (genvar r = 0; r < ROWS; r += 2) begin : g_row
      if (TWO) begin : g_two
        two_digits u_pack (
            .clk_i,
            .w_i  ({w_i[r+1][k], w_i[r][k]}),
            .w_o  (w_packed[r/2][k]),
            .low_o({w1_low[r/2][k][1:0], w0_low[r/2][k][1:0]})
        );
        assign {w1_low[r/2][k][2], w0_low[r/2][k][2]} = '0;
      end else begin : g_four
        pack_digits #(
            .SKEW(skew(k))
        ) u_pack (
            .clk_i,
            .w_i  ({w_i[r+1][k], w_i[r][k]}),
            .w_o  (w_packed[r/2][k][7:0]),
            .low_o({w1_low[r/2][k], w0_low[r/2][k]})
        );
        assign w_packed[r/2][k][8] = 1'b0;
      end
    end
  end

  for (genvar t = 0; t < TOKENS; t += 2) begin : g_token
    for (genvar r = 0; r < ROWS; r += 2) begin : g_row
      logic [1:0][1:0][15:0] sum;
      logic carry;  // to sum[0][1]
      if (TWO) begin : g_two
        logic [DEPTH-1:0][1:0] w0, w1, x1;
        for (genvar k = 0; k < DEPTH; k++) begin : g_low
          assign w0[k] = w0_low[r/2][k][1:0];
          assign w1[k] = w1_low[r/2][k][1:0];
          assign x1[k] = x1_low[t/2][k][1:0];
        end
        two_cell #(
            .DEPTH(DEPTH)
        ) u_cell (
            .clk_i,
            .w_i(w_packed[r/2]),
            .x_i(x_packed[t/2]),
            .w0_low_i(w0),
            .w1_low_i(w1),
            .x1_low_i(x1),
            .sum_o(sum),
            .carry_o(carry)
        );
      end else begin : g_four
        packed_digits_t [DEPTH-1:0] w;
        for (genvar k = 0; k < DEPTH; k++) begin : g_digits
          assign w[k] = w_packed[r/2][k][7:0];
        end
        if (ARRANGEMENT == 0) begin : g_present
          dot_cell #(
              .DEPTH(DEPTH)
          ) u_cell (
              .clk_i,
              .w_i(w),
              .x_i(x_packed[t/2]),
              .w0_low_i(w0_low[r/2]),
              .w1_low_i(w1_low[r/2]),
              .x1_low_i(x1_low[t/2]),
              .sum_o(sum)
          );
          assign carry = 1'b0;
          logic unused;
          assign unused = carry;
        end else begin : g_separated
          separated_cell #(
              .DEPTH(DEPTH)
          ) u_cell (
              .clk_i,
              .w_i(w),
              .x_i(x_packed[t/2]),
              .w0_low_i(w0_low[r/2]),
              .w1_low_i(w1_low[r/2]),
              .x1_low_i(x1_low[t/2]),
              .sum_o(sum),
              .carry_o(carry)
          );
        end
      end
      for (genvar l = 0; l < 4; l++) begin : g_lane
        if (l == 1 && ARRANGEMENT != 0) begin : g_carry
          carry_accumulator u_acc (
              .clk_i,
              .valid_i,
              .first_i,
              .sum_i  (sum[l/2][l%2]),
              .carry_i(carry),
              .acc_o  (acc_o[t+l/2][r+l%2])
          );
        end else begin : g_plain
          accumulator u_acc (
              .clk_i,
              .valid_i,
              .first_i,
              .sum_i(sum[l/2][l%2]),
              .acc_o(acc_o[t+l/2][r+l%2])
          );
        end
      end
    end
  end
endmodule
