// What dot_cell computes, from plain products and a delay line: four times faster in simulation.
module plain_cell
  import datapath_pkg::*;
#(
    parameter int unsigned DEPTH = 16
) (
    input  logic                       clk_i,
    input  logic [1:0][DEPTH-1:0][7:0] x_i,
    input  logic [1:0][DEPTH-1:0][3:0] w_i,
    output logic [1:0][1:0][15:0]      sum_o  // [token][digit row]
);
  /* verilator no_inline_module */
  localparam int unsigned LATENCY = cell_latency(DEPTH);
  logic [1:0][1:0][15:0] delay_q[LATENCY];

  always_ff @(posedge clk_i) begin
    for (int unsigned t = 0; t < 2; t++) begin
      for (int unsigned r = 0; r < 2; r++) begin
        automatic logic signed [15:0] sum = 16'sd0;
        for (int unsigned k = 0; k < DEPTH; k++) begin
          sum += 16'($signed(x_i[t][k])) * 16'($signed(w_i[r][k]));
        end
        delay_q[0][t][r] <= sum;
      end
    end
    for (int unsigned i = 1; i < LATENCY; i++) delay_q[i] <= delay_q[i-1];
  end
  assign sum_o = delay_q[LATENCY-1];
endmodule
