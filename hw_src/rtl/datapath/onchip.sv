// The on-chip memories ACT, RES and LOGITS, with the control plane's ports for loads and stores
// beside the units'. The control plane uses them only while no unit runs. LOGITS has a bank for each of
// LOGIT_BANKS neighbouring indices; a store takes one of every bank.
module onchip
  import datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 4096,
    parameter int unsigned RES_WORDS = 1024,
    parameter int unsigned LOGITS = 1024,
    localparam int unsigned BANK_W = TOKENS > 1 ? $clog2(TOKENS) : 1,
    localparam int unsigned ACT_ADDRESS = $clog2(ACT_WORDS),
    localparam int unsigned RES_ADDRESS = $clog2(RES_WORDS),
    localparam int unsigned LOGIT_ADDRESS = $clog2(LOGITS)
) (
    input  logic                                               clk_i,
    // loads
    input  logic                                               la_we_i,
    input  logic [       BANK_W-1:0]                           la_bank_i,
    input  logic [  ACT_ADDRESS-1:0]                           la_word_i,
    input  logic [      DEPTH*8-1:0]                           la_data_i,
    input  logic                                               lr_we_i,
    input  logic [       BANK_W-1:0]                           lr_bank_i,
    input  logic [  RES_ADDRESS-1:0]                           lr_word_i,
    input  logic [     DEPTH*16-1:0]                           lr_data_i,
    // stores: data MEMORY_LATENCY cycles after the address
    input  logic                                               sa_re_i,
    input  logic [       BANK_W-1:0]                           sa_bank_i,
    input  logic [  ACT_ADDRESS-1:0]                           sa_word_i,
    output logic [      DEPTH*8-1:0]                           sa_data_o,
    input  logic                                               sr_re_i,
    input  logic [       BANK_W-1:0]                           sr_bank_i,
    input  logic [  RES_ADDRESS-1:0]                           sr_word_i,
    output logic [     DEPTH*16-1:0]                           sr_data_o,
    input  logic                                               sl_re_i,
    input  logic [LOGIT_ADDRESS-1:0]                           sl_index_i,
    output logic [LOGIT_BANKS*32-1:0]                          sl_data_o,
    // the units
    input  logic                                               act_re_i,
    input  logic [  ACT_ADDRESS-1:0]                           act_raddress_i,
    output logic [       TOKENS-1:0][      DEPTH-1:0][    7:0] act_rdata_o,
    input  logic [       TOKENS-1:0][      DEPTH-1:0]          act_we_i,
    input  logic [        DEPTH-1:0][ACT_ADDRESS-1:0]          act_waddress_i,
    input  logic [       TOKENS-1:0][      DEPTH-1:0][    7:0] act_wdata_i,
    input  logic                                               res_re_i,
    input  logic [        DEPTH-1:0][RES_ADDRESS-1:0]          res_raddress_i,
    output logic [       TOKENS-1:0][      DEPTH-1:0][   15:0] res_rdata_o,
    input  logic [       TOKENS-1:0][      DEPTH-1:0]          res_we_i,
    input  logic [        DEPTH-1:0][RES_ADDRESS-1:0]          res_waddress_i,
    input  logic [       TOKENS-1:0][      DEPTH-1:0][   15:0] res_wdata_i,
    input  logic [  LOGIT_BANKS-1:0]                           logit_we_i,
    input  logic [  LOGIT_BANKS-1:0][LOGIT_ADDRESS-1:0]        logit_index_i,
    input  logic [  LOGIT_BANKS-1:0][   31:0]                  logit_data_i
);
  // Loads take the ports that the units read at.
  logic [TOKENS-1:0] act_load, res_load;
  logic [DEPTH-1:0][RES_ADDRESS-1:0] res_raddress;
  for (genvar t = 0; t < TOKENS; t++) begin : g_bank
    assign act_load[t] = la_we_i && la_bank_i == BANK_W'(t);
    assign res_load[t] = lr_we_i && lr_bank_i == BANK_W'(t);
  end
  for (genvar k = 0; k < DEPTH; k++) begin : g_column
    assign res_raddress[k] = lr_we_i ? lr_word_i : sr_re_i ? sr_word_i : res_raddress_i[k];
  end

  act_memory #(
      .TOKENS(TOKENS),
      .DEPTH (DEPTH),
      .WORDS (ACT_WORDS)
  ) u_act (
      .clk_i,
      .re_i(act_re_i || sa_re_i),
      .raddr_i(la_we_i ? la_word_i : sa_re_i ? sa_word_i : act_raddress_i),
      .rdata_o(act_rdata_o),
      .we_i(act_we_i),
      .waddr_i(act_waddress_i),
      .wdata_i(act_wdata_i),
      .load_i(act_load),
      .load_data_i(la_data_i)
  );
  res_memory #(
      .TOKENS(TOKENS),
      .DEPTH (DEPTH),
      .WORDS (RES_WORDS)
  ) u_res (
      .clk_i,
      .re_i(res_re_i || sr_re_i),
      .raddr_i(res_raddress),
      .rdata_o(res_rdata_o),
      .we_i(res_we_i),
      .waddr_i(res_waddress_i),
      .wdata_i(res_wdata_i),
      .load_i(res_load),
      .load_data_i(lr_data_i)
  );
  for (genvar b = 0; b < LOGIT_BANKS; b++) begin : g_logits
    column_memory #(
        .WIDTH(32),
        .WORDS((LOGITS + LOGIT_BANKS - 1) / LOGIT_BANKS)
    ) u_logits (
        .clk_i,
        .re_i(sl_re_i),
        .raddr_i(sl_index_i[LOGIT_ADDRESS-1:LOGIT_BANK_BITS]),
        .rdata_o(sl_data_o[32*b+:32]),
        .we_i(logit_we_i[b]),
        .waddr_i(logit_index_i[b][LOGIT_ADDRESS-1:LOGIT_BANK_BITS]),
        .wdata_i(logit_data_i[b]),
        .load_i(1'b0),
        .load_data_i('0)
    );
  end
  logic unused;
  assign unused = ^{sl_index_i, logit_index_i};

  // A store takes one bank of the word.
  logic [BANK_W-1:0] sa_bank_q[MEMORY_LATENCY], sr_bank_q[MEMORY_LATENCY];
  always_ff @(posedge clk_i) begin
    sa_bank_q[0] <= sa_bank_i;
    sr_bank_q[0] <= sr_bank_i;
    for (int unsigned i = 1; i < MEMORY_LATENCY; i++) begin
      sa_bank_q[i] <= sa_bank_q[i-1];
      sr_bank_q[i] <= sr_bank_q[i-1];
    end
  end
  assign sa_data_o = act_rdata_o[sa_bank_q[MEMORY_LATENCY-1]];
  assign sr_data_o = res_rdata_o[sr_bank_q[MEMORY_LATENCY-1]];
endmodule
