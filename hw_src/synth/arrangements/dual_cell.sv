// Over DEPTH inputs, two 8-bit rows times one token or two digit rows times two tokens, from dual-mode
// cascades of sixteen. |sum| <= 32 * 127 * 127 < 2^19; in 4-bit mode below 2^15 as rtl/dot_cell.sv's.
module dual_cell #(
    parameter int unsigned DEPTH = 16
) (
    input  logic                             clk_i,
    input  logic [19:0]                      wide_i,  // the mode, wide_i[n] n cycles late
    input  logic [DEPTH-1:0][15:0]           w_i,  // skewed by k % 16 - 1
    input  logic [DEPTH-1:0][17:0]           x_i,  // skewed by k % 16 - 1
    input  logic [DEPTH-1:0][ 2:0]           w0_low_i,
    input  logic [DEPTH-1:0][ 2:0]           w1_low_i,
    input  logic [DEPTH-1:0][ 2:0]           x1_low_i,
    output logic [1:0][1:0][19:0]            sum_o,  // [token][row]; 8-bit mode: token 0
    output logic                             carry_o  // to be added to sum_o[0][1]
);
  if (DEPTH != 16 && DEPTH != 32) begin : g_check
    $error("DEPTH is 16 or 32");
  end
  localparam int unsigned LEAVES = DEPTH / 16;
  logic [LEAVES-1:0][1:0][1:0][18:0] part;
  logic [LEAVES-1:0] carry;
  for (genvar c = 0; c < LEAVES; c++) begin : g_cascade
    dual_dot u_dot (
        .clk_i,
        .wide_i,
        .w_i(w_i[16*c+:16]),
        .x_i(x_i[16*c+:16]),
        .w0_low_i(w0_low_i[16*c+:16]),
        .w1_low_i(w1_low_i[16*c+:16]),
        .x1_low_i(x1_low_i[16*c+:16]),
        .sum_o(part[c]),
        .carry_o(carry[c])
    );
  end
  if (LEAVES == 1) begin : g_one
    for (genvar l = 0; l < 4; l++) begin : g_lane
      assign sum_o[l/2][l%2] = 20'($signed(part[0][l/2][l%2]));
    end
    assign carry_o = carry[0];
  end else begin : g_two
    for (genvar l = 0; l < 4; l++) begin : g_lane
      logic [20:0] both;
      assign both = {20'($signed(part[0][l/2][l%2])), 1'b1} +
          {20'($signed(part[1][l/2][l%2])), l == 1 && carry[0]};
      always_ff @(posedge clk_i) sum_o[l/2][l%2] <= both[20:1];
      logic unused;
      assign unused = both[0];
    end
    always_ff @(posedge clk_i) carry_o <= carry[1];
  end
endmodule
