// Everything that moves data between memory and chip: the read ports and their clients, loads,
// stores, weights and parameters. Its units, by bit of `unit_start_i`: 0 LOAD_IMAGE, 1
// LOAD_RESIDUAL, 2 the datapath's operations (their weights begin), 3 STORE.
//
// Weights come through all ports when an array beat gives each at least 256 bytes, else through the
// last one. With DEPTH 32 image and position values come through port 0 and the last one together;
// else the image through port 0 and the position values through the last one.

module data_movers
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 6400,
    parameter int unsigned RES_WORDS = 1280,
    parameter int unsigned LOGITS = 1024,
    parameter int unsigned READ_PORTS = 2,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned READ_LENGTH = 5,
    parameter int unsigned WRITE_LENGTH = 4,
    localparam int unsigned BankBits = TOKENS > 1 ? $clog2(TOKENS) : 1,
    localparam int unsigned ActBits = $clog2(ACT_WORDS),
    localparam int unsigned ResBits = $clog2(RES_WORDS),
    localparam int unsigned LogitBits = $clog2(LOGITS)
) (
    input logic clk_i,
    input logic rst_i,
    input logic unit_rst_i,  // everything but the ports; these finish what AXI has accepted
    input logic [31:0] timeout_i,
    input logic [63:0] program_i,
    input logic [63:0] image_i,
    input logic [63:0] output_i,
    output logic quiet_o,  // no read is under way
    output logic store_idle_o,  // no store waits for the write port
    output logic [READ_PORTS-1:0] fault_o,
    output cause_e [READ_PORTS-1:0] fault_cause_o,
    output logic [READ_PORTS-1:0][63:0] fault_address_o,

    // The descriptor fetch's client
    input logic descriptor_valid_i,
    output logic descriptor_ready_o,
    input logic [63:0] descriptor_address_i,
    input logic [READ_LENGTH-1:0] descriptor_length_i,
    output logic descriptor_data_valid_o,
    output logic [PORT_BITS-1:0] first_data_o,  // of port 0

    // Descriptors as they are queued, and as they begin
    input logic ahead_valid_i,
    input descriptor_t ahead_descriptor_i,
    input logic [21:0] ahead_words_i,
    input logic [7:0] ahead_number_i,
    input logic [3:0] unit_start_i,
    input descriptor_t unit_descriptor_i,
    input logic [7:0] unit_number_i,
    output logic [2:0] unit_done_o,  // image, residual, store

    // The store's client of the write port
    output logic wr_valid_o,
    input logic wr_ready_i,
    output logic [63:0] wr_address_o,
    output logic [WRITE_LENGTH-1:0] wr_length_o,
    input logic wr_pop_i,
    output logic [PORT_BITS-1:0] wr_data_o,
    output logic [PORT_BITS/8-1:0] wr_strobe_o,

    // Parameters, weights and on-chip memories of the datapath
    input logic p_req_valid_i,
    output logic p_req_ready_o,
    input logic [31:0] p_req_offset_i,
    input logic [31:0] p_req_bytes_i,
    output logic p_valid_o,
    input logic p_ready_i,
    output logic [PORT_BITS-1:0] p_data_o,
    output logic w_valid_o,
    input logic w_ready_i,
    output logic [ROWS*DEPTH*4-1:0] w_data_o,
    output logic la_we_o,
    output logic [BankBits-1:0] la_bank_o,
    output logic [ActBits-1:0] la_word_o,
    output logic [DEPTH*8-1:0] la_data_o,
    output logic lr_we_o,
    output logic [BankBits-1:0] lr_bank_o,
    output logic [ResBits-1:0] lr_word_o,
    output logic [DEPTH*16-1:0] lr_data_o,
    output logic sa_re_o,
    output logic [BankBits-1:0] sa_bank_o,
    output logic [ActBits-1:0] sa_word_o,
    input logic [DEPTH*8-1:0] sa_data_i,
    output logic sr_re_o,
    output logic [BankBits-1:0] sr_bank_o,
    output logic [ResBits-1:0] sr_word_o,
    input logic [DEPTH*16-1:0] sr_data_i,
    output logic sl_re_o,
    output logic [LogitBits-1:0] sl_index_o,
    input logic [127:0] sl_data_i,

    output logic [READ_PORTS-1:0][63:0] m_axi_araddr_o,
    output logic [READ_PORTS-1:0][7:0] m_axi_arlen_o,
    output logic [READ_PORTS-1:0][2:0] m_axi_arsize_o,
    output logic [READ_PORTS-1:0][1:0] m_axi_arburst_o,
    output logic [READ_PORTS-1:0] m_axi_arvalid_o,
    input logic [READ_PORTS-1:0] m_axi_arready_i,
    input logic [READ_PORTS-1:0][PORT_BITS-1:0] m_axi_rdata_i,
    input logic [READ_PORTS-1:0][1:0] m_axi_rresp_i,
    input logic [READ_PORTS-1:0] m_axi_rlast_i,
    input logic [READ_PORTS-1:0] m_axi_rvalid_i,
    output logic [READ_PORTS-1:0] m_axi_rready_o
);

  localparam int unsigned LANES = ROWS * DEPTH / 2 / READ_PORTS >= 256 ? READ_PORTS : 1;
  // Weights read ahead: array beats where one token would else wait for the lanes, or port beats.
  localparam int unsigned WEIGHT_WORDS = LANES > 1 ? 1024 : 0;
  localparam int unsigned WEIGHT_BEATS = LANES > 1 ? 512 : 1024;
  localparam int unsigned STREAMS = DEPTH == 32 ? 2 : 1;  // of the image
  localparam int unsigned RESIDUAL_LANES = DEPTH == 32 && READ_PORTS > 1 && TOKENS > 1 ? 2 : 1;
  if (ResBits > ActBits) begin : gen_check_res_words_must
    $error("RES_WORDS must not need more address bits than ACT_WORDS");
  end

  // --- Read ports and their clients
  logic [2:0] parameter_valid, parameter_ready, parameter_data_valid;
  logic [2:0][63:0] parameter_address;
  logic [2:0][READ_LENGTH-1:0] parameter_length;
  logic [STREAMS-1:0] image_valid, image_ready, image_data_valid;
  logic [STREAMS-1:0][63:0] image_address;
  logic [STREAMS-1:0][READ_LENGTH-1:0] image_length;
  logic [STREAMS-1:0][PORT_BITS-1:0] image_data;
  logic [RESIDUAL_LANES-1:0] residual_valid, residual_ready, residual_data_valid;
  logic [RESIDUAL_LANES-1:0][63:0] residual_address;
  logic [RESIDUAL_LANES-1:0][READ_LENGTH-1:0] residual_length;
  logic [RESIDUAL_LANES-1:0][PORT_BITS-1:0] residual_data;
  logic [LANES-1:0] weight_valid, weight_ready, weight_data_valid;
  logic [LANES-1:0][63:0] weight_address;
  logic [LANES-1:0][READ_LENGTH-1:0] weight_length;
  logic [LANES-1:0][PORT_BITS-1:0] weight_data;

  read_ports #(
      .READ_PORTS(READ_PORTS),
      .STREAMS(STREAMS),
      .RESIDUAL_LANES(RESIDUAL_LANES),
      .WEIGHT_LANES(LANES),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(READ_LENGTH)
  ) i_read_ports (
      .clk_i,
      .rst_i,
      .abort_i(unit_rst_i),
      .quiet_o(quiet_o),
      .timeout_i(timeout_i),
      .first_data_o(first_data_o),
      .descriptor_valid_i(descriptor_valid_i),
      .descriptor_ready_o(descriptor_ready_o),
      .descriptor_address_i(descriptor_address_i),
      .descriptor_length_i(descriptor_length_i),
      .descriptor_data_valid_o(descriptor_data_valid_o),
      .parameter_valid_i(parameter_valid),
      .parameter_ready_o(parameter_ready),
      .parameter_address_i(parameter_address),
      .parameter_length_i(parameter_length),
      .parameter_data_valid_o(parameter_data_valid),
      .image_valid_i(image_valid),
      .image_ready_o(image_ready),
      .image_address_i(image_address),
      .image_length_i(image_length),
      .image_data_valid_o(image_data_valid),
      .image_data_o(image_data),
      .residual_valid_i(residual_valid),
      .residual_ready_o(residual_ready),
      .residual_address_i(residual_address),
      .residual_length_i(residual_length),
      .residual_data_valid_o(residual_data_valid),
      .residual_data_o(residual_data),
      .weight_valid_i(weight_valid),
      .weight_ready_o(weight_ready),
      .weight_address_i(weight_address),
      .weight_length_i(weight_length),
      .weight_data_valid_o(weight_data_valid),
      .weight_data_o(weight_data),
      .fault_o(fault_o),
      .fault_cause_o(fault_cause_o),
      .fault_address_o(fault_address_o),
      .m_axi_araddr_o(m_axi_araddr_o),
      .m_axi_arlen_o(m_axi_arlen_o),
      .m_axi_arsize_o(m_axi_arsize_o),
      .m_axi_arburst_o(m_axi_arburst_o),
      .m_axi_arvalid_o(m_axi_arvalid_o),
      .m_axi_arready_i(m_axi_arready_i),
      .m_axi_rdata_i(m_axi_rdata_i),
      .m_axi_rresp_i(m_axi_rresp_i),
      .m_axi_rlast_i(m_axi_rlast_i),
      .m_axi_rvalid_i(m_axi_rvalid_i),
      .m_axi_rready_o(m_axi_rready_o)
  );

  weight_stream #(
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .LANES(LANES),
      .BEATS(WEIGHT_BEATS),
      .WORDS(WEIGHT_WORDS),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(READ_LENGTH)
  ) i_weights (
      .clk_i,
      .rst_i(unit_rst_i),
      .ahead_valid_i(ahead_valid_i && ahead_descriptor_i.opcode == OPCODE_LINEAR),
      .ahead_address_i(program_i + 64'(ahead_descriptor_i.weights)),
      .ahead_words_i(ahead_words_i),
      .start_i(unit_start_i[2] && unit_descriptor_i.opcode == OPCODE_LINEAR),
      .req_valid_o(weight_valid),
      .req_ready_i(weight_ready),
      .req_address_o(weight_address),
      .req_length_o(weight_length),
      .data_valid_i(weight_data_valid),
      .data_i(weight_data),
      .valid_o(w_valid_o),
      .ready_i(w_ready_i),
      .data_o(w_data_o)
  );

  parameter_unit #(
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(READ_LENGTH)
  ) i_parameters (
      .clk_i,
      .rst_i(unit_rst_i),
      .program_i(program_i),
      .ahead_valid_i(ahead_valid_i),
      .ahead_descriptor_i(ahead_descriptor_i),
      .ahead_number_i(ahead_number_i),
      .current_i(unit_number_i),
      .req_valid_o(parameter_valid),
      .req_ready_i(parameter_ready),
      .req_address_o(parameter_address),
      .req_length_o(parameter_length),
      .data_valid_i(parameter_data_valid),
      .data_i(first_data_o),
      .p_req_valid_i(p_req_valid_i),
      .p_req_ready_o(p_req_ready_o),
      .p_req_offset_i(p_req_offset_i),
      .p_req_bytes_i(p_req_bytes_i),
      .p_valid_o(p_valid_o),
      .p_ready_i(p_ready_i),
      .p_data_o(p_data_o)
  );

  load_image #(
      .TOKENS(TOKENS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(READ_LENGTH)
  ) i_image (
      .clk_i,
      .rst_i(unit_rst_i),
      .start_i(unit_start_i[0]),
      .descriptor_i(unit_descriptor_i),
      .image_i(image_i),
      .done_o(unit_done_o[0]),
      .req_valid_o(image_valid),
      .req_ready_i(image_ready),
      .req_address_o(image_address),
      .req_length_o(image_length),
      .data_valid_i(image_data_valid),
      .data_i(image_data),
      .we_o(la_we_o),
      .bank_o(la_bank_o),
      .word_o(la_word_o),
      .data_o(la_data_o)
  );

  load_residual #(
      .TOKENS(TOKENS),
      .DEPTH(DEPTH),
      .RES_WORDS(RES_WORDS),
      .LANES(RESIDUAL_LANES),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(READ_LENGTH)
  ) i_residual (
      .clk_i,
      .rst_i(unit_rst_i),
      .start_i(unit_start_i[1]),
      .descriptor_i(unit_descriptor_i),
      .program_i(program_i),
      .done_o(unit_done_o[1]),
      .req_valid_o(residual_valid),
      .req_ready_i(residual_ready),
      .req_address_o(residual_address),
      .req_length_o(residual_length),
      .data_valid_i(residual_data_valid),
      .data_i(residual_data),
      .we_o(lr_we_o),
      .bank_o(lr_bank_o),
      .word_o(lr_word_o),
      .data_o(lr_data_o)
  );

  store_unit #(
      .TOKENS(TOKENS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(WRITE_LENGTH)
  ) i_store (
      .clk_i,
      .rst_i(unit_rst_i),
      .start_i(unit_start_i[3]),
      .descriptor_i(unit_descriptor_i),
      .output_i(output_i),
      .done_o(unit_done_o[2]),
      .act_re_o(sa_re_o),
      .act_bank_o(sa_bank_o),
      .act_word_o(sa_word_o),
      .act_data_i(sa_data_i),
      .res_re_o(sr_re_o),
      .res_bank_o(sr_bank_o),
      .res_word_o(sr_word_o),
      .res_data_i(sr_data_i),
      .logit_re_o(sl_re_o),
      .logit_index_o(sl_index_o),
      .logit_data_i(sl_data_i),
      .req_valid_o(wr_valid_o),
      .req_ready_i(wr_ready_i),
      .req_address_o(wr_address_o),
      .req_length_o(wr_length_o),
      .pop_i(wr_pop_i),
      .data_o(wr_data_o),
      .strobe_o(wr_strobe_o)
  );

  // From its start until its last burst was handed to the port.
  always_ff @(posedge clk_i) begin
    if (unit_done_o[2]) store_idle_o <= 1'b1;
    if (unit_start_i[3]) store_idle_o <= 1'b0;
    if (unit_rst_i) store_idle_o <= 1'b1;
  end

endmodule
