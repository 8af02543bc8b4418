// Parameters of attention's heads, two a beat, with two readers.
module head_parameters
  import quasar_pkg::*;
(
    input  logic               clk_i,
    input  logic               rst_i,
    input  logic               start_i,
    input  descriptor_t        descriptor_i,
    input  logic               p_valid_i,
    output logic               p_ready_o,
    input  logic [127:0]       p_data_i,
    output logic               fault_o,
    output logic [ 31:0]       fault_address_o,
    output logic               full_o,
    input  logic [  1:0][ 3:0] index_i,
    output head_t [ 1:0]       head_o
);
  head_t [MAX_HEADS-1:0] heads_q;
  head_t [1:0] beat;
  logic busy_q, full_q, bad_first, bad_second;
  logic [4:0] count_q;  // heads received
  assign beat = p_data_i;
  assign p_ready_o = busy_q;

  // verilator lint_off UNUSEDSIGNAL
  // (the reserved bytes)
  function automatic logic bad(input head_t head);
    bad = head.score_multiplier > 16'(MULTIPLIER_MAX) || head.score_shift > 8'(SCORE_SHIFT_MAX) ||
        head.out_multiplier > 16'(MULTIPLIER_MAX) || head.out_shift > 8'(SHIFT_MAX);
  endfunction
  // verilator lint_on UNUSEDSIGNAL
  assign bad_first  = bad(beat[0]);
  assign bad_second = bad(beat[1]) && 16'(count_q) + 16'd1 < descriptor_i.heads;

  always_ff @(posedge clk_i) begin
    fault_o <= busy_q && p_valid_i && (bad_first || bad_second) && !rst_i;
    fault_address_o <= descriptor_i.parameters + 32'(count_q) * 32'(HEAD_BYTES) +
        (bad_first ? 32'd0 : 32'(HEAD_BYTES));
    if (busy_q && p_valid_i) begin
      heads_q[count_q[3:0]] <= beat[0];
      heads_q[count_q[3:0]|4'd1] <= beat[1];
      count_q <= count_q + 5'd2;
      if (16'(count_q) + 16'd2 >= descriptor_i.heads) begin
        busy_q <= 1'b0;
        full_q <= 1'b1;
      end
    end
    if (start_i) begin
      busy_q  <= 1'b1;
      full_q  <= 1'b0;
      count_q <= '0;
    end
    if (rst_i) busy_q <= 1'b0;
  end
  assign full_o = full_q;
  assign head_o[0] = heads_q[index_i[0]];
  assign head_o[1] = heads_q[index_i[1]];

  logic unused;
  assign unused = ^{descriptor_i, head_o};
endmodule
