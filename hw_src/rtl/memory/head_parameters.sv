// Parameters of attention's heads, two a beat, with two readers: the first takes those of the output,
// the second those of the scores. Even and odd heads lie in memories of their own, since a beat
// writes one of each.
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
    output logic               busy_o,
    output logic               full_o,
    input  logic [  1:0][ 3:0] index_i,
    output head_t [ 1:0]       head_o
);
  localparam int unsigned PAIRS = MAX_HEADS / 2;
  localparam int unsigned FIELD_BITS = 21;  // a multiplier's 15 bits and a shift's 6
  logic [1:0][FIELD_BITS-1:0] out, score;  // of the pair that each reader asks for
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
  assign busy_o = busy_q;
  assign full_o = full_q;
  for (genvar b = 0; b < 2; b++) begin : g_bank
    (* ram_style = "distributed" *) logic [FIELD_BITS-1:0] out_memory[PAIRS];
    (* ram_style = "distributed" *) logic [FIELD_BITS-1:0] score_memory[PAIRS];
    always_ff @(posedge clk_i) begin
      if (busy_q && p_valid_i) begin
        out_memory[count_q[3:1]]   <= {beat[b].out_shift[5:0], beat[b].out_multiplier[14:0]};
        score_memory[count_q[3:1]] <= {beat[b].score_shift[5:0], beat[b].score_multiplier[14:0]};
      end
    end
    assign out[b]   = out_memory[index_i[0][3:1]];
    assign score[b] = score_memory[index_i[1][3:1]];
  end
  always_comb begin
    head_o = '0;
    {head_o[0].out_shift[5:0], head_o[0].out_multiplier[14:0]} = out[index_i[0][0]];
    {head_o[1].score_shift[5:0], head_o[1].score_multiplier[14:0]} = score[index_i[1][0]];
  end

  logic unused;
  assign unused = ^{descriptor_i, head_o, count_q[0]};
endmodule
