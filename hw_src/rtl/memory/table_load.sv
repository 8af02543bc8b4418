// A lookup table from the parameter stream, sixteen beats, into the lanes' tables four bytes a
// cycle.
module table_load
  import quasar_pkg::*;
(
    input  logic         clk_i,
    input  logic         rst_i,
    input  logic         start_i,
    output logic         busy_o,
    input  logic         p_valid_i,
    output logic         p_ready_o,
    input  logic [127:0] p_data_i,
    output logic         we_o,
    output logic [  5:0] address_o,
    output logic [ 31:0] data_o
);
  logic busy_q;
  logic [5:0] word_q;
  assign busy_o = busy_q;
  assign p_ready_o = busy_q && word_q[1:0] == 2'd3;

  always_ff @(posedge clk_i) begin
    we_o <= busy_q && p_valid_i && !rst_i;
    address_o <= word_q;
    data_o <= p_data_i[32*word_q[1:0]+:32];
    if (busy_q && p_valid_i) begin
      word_q <= word_q + 6'd1;
      if (word_q == 6'(TABLE_BYTES / 4 - 1)) busy_q <= 1'b0;
    end
    if (start_i) begin
      busy_q <= 1'b1;
      word_q <= '0;
    end
    if (rst_i) busy_q <= 1'b0;
  end
endmodule
