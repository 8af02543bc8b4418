// A stand-in for the datapath in tests of the control plane: memories, and operations that consume
// their parameters and weights with irregular readiness and leave hashes of them in LOGITS.
//
//     hash' = rotate_left(hash, 1) ^ fold(beat),  fold = xor of rotate_left(32-bit lane i, i)
//     LOGITS[2 * (layer % 256)] = hash of parameter beats, [.. + 1] = hash of array beats
//
// LINEAR asks for its table, then its rows, 8 at a time; with bit 8 of `layer` set it then asks for
// the first rows once more, out of turn; LAYERNORM and ATTENTION ask for everything at once. With
// bit 9 set it leaves the last parameters unread. Layer 16'hFFFF reports a fault.
// verilator lint_off DECLFILENAME

module datapath
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 6400,
    parameter int unsigned RES_WORDS = 1280,
    parameter int unsigned LOGITS = 1024,
    parameter int unsigned PORT_BITS = 128,
    localparam int unsigned BankBits = TOKENS > 1 ? $clog2(TOKENS) : 1
) (
    input logic clk_i,
    input logic rst_i,
    input logic next_valid_i,
    input descriptor_t next_i,
    output logic accept_o,
    input logic start_i,
    input descriptor_t descriptor_i,
    output logic done_o,
    output logic fault_o,
    output cause_e fault_cause_o,
    output logic [31:0] fault_address_o,
    output logic p_req_valid_o,
    input logic p_req_ready_i,
    output logic [31:0] p_req_offset_o,
    output logic [31:0] p_req_bytes_o,
    input logic p_valid_i,
    output logic p_ready_o,
    input logic [PORT_BITS-1:0] p_data_i,
    input logic w_valid_i,
    output logic w_ready_o,
    input logic [ROWS*DEPTH*4-1:0] w_data_i,
    input logic la_we_i,
    input logic [BankBits-1:0] la_bank_i,
    input logic [$clog2(ACT_WORDS)-1:0] la_word_i,
    input logic [DEPTH*8-1:0] la_data_i,
    input logic lr_we_i,
    input logic [BankBits-1:0] lr_bank_i,
    input logic [$clog2(RES_WORDS)-1:0] lr_word_i,
    input logic [DEPTH*16-1:0] lr_data_i,
    input logic sa_re_i,
    input logic [BankBits-1:0] sa_bank_i,
    input logic [$clog2(ACT_WORDS)-1:0] sa_word_i,
    output logic [DEPTH*8-1:0] sa_data_o,
    input logic sr_re_i,
    input logic [BankBits-1:0] sr_bank_i,
    input logic [$clog2(RES_WORDS)-1:0] sr_word_i,
    output logic [DEPTH*16-1:0] sr_data_o,
    input logic sl_re_i,
    input logic [$clog2(LOGITS)-1:0] sl_index_i,
    output logic [127:0] sl_data_o  // four logits from the index on
);

  // --- Memories; what was not asked for reads as ones
  logic [DEPTH*8-1:0] act[TOKENS][ACT_WORDS];
  logic [DEPTH*16-1:0] res[TOKENS][RES_WORDS];
  logic [31:0] logits[LOGITS];
  logic [DEPTH*8-1:0] sa_q;
  logic [DEPTH*16-1:0] sr_q;
  logic [127:0] sl_q;

  always_ff @(posedge clk_i) begin
    if (la_we_i) act[la_bank_i][la_word_i] <= la_data_i;
    if (lr_we_i) res[lr_bank_i][lr_word_i] <= lr_data_i;
    sa_q <= sa_re_i ? act[sa_bank_i][sa_word_i] : '1;
    sr_q <= sr_re_i ? res[sr_bank_i][sr_word_i] : '1;
    for (int i = 0; i < 4; i++)
      sl_q[32*i+:32] <= sl_re_i ? logits[sl_index_i | ($clog2(LOGITS))'(i)] : '1;
    sa_data_o <= sa_q;
    sr_data_o <= sr_q;
    sl_data_o <= sl_q;
  end

  function automatic logic [31:0] rotate(input logic [31:0] x, input int n);
    return (x << (n % 32)) | (x >> ((32 - n % 32) % 32));
  endfunction

  // --- An operation
  // verilator lint_off UNUSEDSIGNAL
  descriptor_t d;  // only what the stand-in looks at
  // verilator lint_on UNUSEDSIGNAL
  logic busy_q, linear, with_table, again;
  logic [31:0] asked_q, rows_bytes, table_beats, expected_beats, got_q, words_q, words_got_q;
  logic [31:0] parameter_hash_q, weight_hash_q, fold_p, fold_w, lfsr_q;
  logic [1:0] asking_q;  // 0 table, 1 rows, 2 once more, 3 nothing

  assign d = descriptor_i;
  assign linear = d.opcode == OPCODE_LINEAR;
  assign with_table = linear && d.mode == EPILOGUE_TABLE;
  assign again = linear && d.layer[8];
  always_comb begin
    case (d.opcode)
      OPCODE_LINEAR: rows_bytes = 32'(d.outputs) * ROW_BYTES;
      OPCODE_LAYERNORM: rows_bytes = 32'(d.inputs) * 2;
      default: rows_bytes = 32'(d.heads) * HEAD_BYTES;
    endcase
    if (d.layer[9] && rows_bytes > 32) rows_bytes = rows_bytes - 32;
    table_beats = with_table ? TABLE_BYTES / 16 : 0;
    expected_beats = table_beats + (rows_bytes + 15) / 16 + (again ? 4 : 0);
    fold_p = '0;
    for (int i = 0; i < PORT_BITS / 32; i++) fold_p ^= rotate(p_data_i[32*i+:32], i);
    fold_w = '0;
    for (int i = 0; i < ROWS * DEPTH / 8; i++) fold_w ^= rotate(w_data_i[32*i+:32], i);
  end

  // One operation at a time.
  assign accept_o = next_valid_i && !busy_q && !start_i && !done_o && next_i.opcode != '0;
  assign p_req_valid_o = busy_q && asking_q != 2'd3 && lfsr_q[3];
  always_comb begin
    p_req_offset_o = d.parameters;
    p_req_bytes_o  = 64;
    if (asking_q == 2'd0) begin
      p_req_offset_o = d.lookup;
      p_req_bytes_o  = TABLE_BYTES;
    end else if (asking_q == 2'd1) begin
      p_req_offset_o = d.parameters + asked_q;
      p_req_bytes_o  = linear && rows_bytes - asked_q > 128 ? 128 : rows_bytes - asked_q;
    end
  end
  assign p_ready_o = busy_q && lfsr_q[0];
  assign w_ready_o = lfsr_q[5];  // as if it were always eager, also between operations

  always_ff @(posedge clk_i) begin
    lfsr_q  <= {lfsr_q[30:0], lfsr_q[31] ^ lfsr_q[21] ^ lfsr_q[1] ^ lfsr_q[0]};
    done_o  <= 1'b0;
    fault_o <= 1'b0;
    if (p_req_valid_o && p_req_ready_i) begin
      case (asking_q)
        2'd0: asking_q <= 2'd1;
        2'd1: begin
          asked_q <= asked_q + p_req_bytes_o;
          if (asked_q + p_req_bytes_o == rows_bytes) asking_q <= again ? 2'd2 : 2'd3;
        end
        default: asking_q <= 2'd3;
      endcase
    end
    if (p_valid_i && p_ready_o) begin
      parameter_hash_q <= rotate(parameter_hash_q, 1) ^ fold_p;
      got_q <= got_q + 1;
    end
    if (w_valid_i && w_ready_o) begin
      weight_hash_q <= rotate(weight_hash_q, 1) ^ fold_w;
      words_got_q   <= words_got_q + 1;
    end
    if (busy_q && got_q == expected_beats && words_got_q == words_q) begin
      busy_q <= 1'b0;
      done_o <= 1'b1;
      logits[$clog2(LOGITS)'({d.layer[7:0], 1'b0})] <= parameter_hash_q;
      logits[$clog2(LOGITS)'({d.layer[7:0], 1'b1})] <= weight_hash_q;
    end
    if (start_i) begin
      busy_q <= d.layer != 16'hFFFF;
      fault_o <= d.layer == 16'hFFFF;
      asking_q <= with_table ? 2'd0 : 2'd1;
      {asked_q, got_q, words_got_q, parameter_hash_q, weight_hash_q} <= '0;
      words_q <= linear ? ((32'(d.outputs) + 32'(d.rows8) + ROWS - 1) / ROWS) *
          ((32'(d.inputs) + DEPTH - 1) / DEPTH) : 0;
    end
    if (rst_i) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
      lfsr_q <= 32'h1234_5678;
      asking_q <= 2'd3;
    end
  end
  assign fault_cause_o = CAUSE_BAD_FIELD;
  assign fault_address_o = 32'h1234;

endmodule
