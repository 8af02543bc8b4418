// The accelerator: AXI4-Lite registers, AXI4 read ports, one AXI4 write port, interrupt.
//
// The control plane is here: registers, sequencer, descriptor fetch, everything that moves data
// between memory and chip. What computes is in `datapath`.
//
// Reset: rst_i, synchronous. CONTROL.reset and every fault reset the units below the sequencer
// (`unit_rst`); ports finish what AXI obliges them to.

module quasar_top
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
    parameter int unsigned CLOCK_KHZ = 300000
) (
    input logic clk_i,
    input logic rst_i,
    output logic irq_o,

    input logic [7:0] s_axil_awaddr,
    input logic s_axil_awvalid,
    output logic s_axil_awready,
    input logic [31:0] s_axil_wdata,
    input logic [3:0] s_axil_wstrb,
    input logic s_axil_wvalid,
    output logic s_axil_wready,
    output logic [1:0] s_axil_bresp,
    output logic s_axil_bvalid,
    input logic s_axil_bready,
    input logic [7:0] s_axil_araddr,
    input logic s_axil_arvalid,
    output logic s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic [1:0] s_axil_rresp,
    output logic s_axil_rvalid,
    input logic s_axil_rready,

    output logic [READ_PORTS-1:0][63:0] m_axi_araddr,
    output logic [READ_PORTS-1:0][7:0] m_axi_arlen,
    output logic [READ_PORTS-1:0][2:0] m_axi_arsize,
    output logic [READ_PORTS-1:0][1:0] m_axi_arburst,
    output logic [READ_PORTS-1:0] m_axi_arvalid,
    input logic [READ_PORTS-1:0] m_axi_arready,
    input logic [READ_PORTS-1:0][PORT_BITS-1:0] m_axi_rdata,
    input logic [READ_PORTS-1:0][1:0] m_axi_rresp,
    input logic [READ_PORTS-1:0] m_axi_rlast,
    input logic [READ_PORTS-1:0] m_axi_rvalid,
    output logic [READ_PORTS-1:0] m_axi_rready,

    output logic [63:0] m_axi_awaddr,
    output logic [7:0] m_axi_awlen,
    output logic [2:0] m_axi_awsize,
    output logic [1:0] m_axi_awburst,
    output logic m_axi_awvalid,
    input logic m_axi_awready,
    output logic [PORT_BITS-1:0] m_axi_wdata,
    output logic [PORT_BITS/8-1:0] m_axi_wstrb,
    output logic m_axi_wlast,
    output logic m_axi_wvalid,
    input logic m_axi_wready,
    input logic [1:0] m_axi_bresp,
    input logic m_axi_bvalid,
    output logic m_axi_bready
);

  localparam int unsigned BANK_BITS = TOKENS > 1 ? $clog2(TOKENS) : 1;
  localparam int unsigned ACT_BITS = $clog2(ACT_WORDS);
  localparam int unsigned RES_BITS = $clog2(RES_WORDS);
  localparam int unsigned LOGIT_BITS = $clog2(LOGITS);
  localparam int unsigned READ_LENGTH = 5;  // bursts of 32 beats at most
  localparam int unsigned WRITE_LENGTH = 4;
  if (PORT_BITS != 128) begin : gen_check_port_bits_must
    $error("PORT_BITS must be 128");
  end
  if (READ_PORTS < 1 || READ_PORTS > 4) begin : gen_check_read_ports_must
    $error("READ_PORTS must be 1 to 4");
  end

  // --- Registers, and their copy for the run under way
  typedef struct packed {
    logic [31:0] count;
    logic [63:0] program_base;
    logic [31:0] program_bytes;
    logic [63:0] image_base;
    logic [31:0] image_bytes;
    logic [63:0] output_base;
    logic [31:0] output_bytes;
    logic [63:0] profile_base;
    logic [31:0] profile_bytes;
  } job_t;

  job_t written, job_q;
  logic start, soft_reset, latch, first, unit_rst, done_event, error_event;
  logic [3:0] status;
  logic [31:0] timeout, error_number;
  cause_e error_cause;
  logic [63:0] error_address;
  logic [47:0] cycles;

  always_ff @(posedge clk_i) if (latch) job_q <= written;

  axil_registers #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS),
      .READ_PORTS(READ_PORTS),
      .CLOCK_KHZ(CLOCK_KHZ)
  ) i_registers (
      .clk_i,
      .rst_i,
      .irq_o,
      .start_o(start),
      .reset_o(soft_reset),
      .status_i(status),
      .cause_i(error_cause),
      .descriptor_i(error_number),
      .address_i(error_address),
      .cycles_i(cycles),
      .done_event_i(done_event),
      .error_event_i(error_event),
      .count_o(written.count),
      .timeout_o(timeout),
      .program_o(written.program_base),
      .program_bytes_o(written.program_bytes),
      .image_o(written.image_base),
      .image_bytes_o(written.image_bytes),
      .output_o(written.output_base),
      .output_bytes_o(written.output_bytes),
      .profile_o(written.profile_base),
      .profile_bytes_o(written.profile_bytes),
      .s_axil_awaddr_i(s_axil_awaddr),
      .s_axil_awvalid_i(s_axil_awvalid),
      .s_axil_awready_o(s_axil_awready),
      .s_axil_wdata_i(s_axil_wdata),
      .s_axil_wstrb_i(s_axil_wstrb),
      .s_axil_wvalid_i(s_axil_wvalid),
      .s_axil_wready_o(s_axil_wready),
      .s_axil_bresp_o(s_axil_bresp),
      .s_axil_bvalid_o(s_axil_bvalid),
      .s_axil_bready_i(s_axil_bready),
      .s_axil_araddr_i(s_axil_araddr),
      .s_axil_arvalid_i(s_axil_arvalid),
      .s_axil_arready_o(s_axil_arready),
      .s_axil_rdata_o(s_axil_rdata),
      .s_axil_rresp_o(s_axil_rresp),
      .s_axil_rvalid_o(s_axil_rvalid),
      .s_axil_rready_i(s_axil_rready)
  );

  // --- What several parts share
  logic descriptor_valid, descriptor_ready, descriptor_data_valid;
  logic [63:0] descriptor_address;
  logic [READ_LENGTH-1:0] descriptor_length;
  logic [PORT_BITS-1:0] first_data;  // of port 0
  logic rd_quiet;
  logic [READ_PORTS+1:0] fault;
  cause_e [READ_PORTS+1:0] fault_cause;
  logic [READ_PORTS+1:0][63:0] fault_address;

  // --- Write port
  logic [1:0] wr_valid, wr_ready, wr_pop;
  logic [1:0][63:0] wr_address;
  logic [1:0][WRITE_LENGTH-1:0] wr_length;
  logic [1:0][PORT_BITS-1:0] wr_data;
  logic [1:0][PORT_BITS/8-1:0] wr_strobe;
  logic wr_quiet;

  axi_writer #(
      .CLIENTS(2),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(WRITE_LENGTH)
  ) i_writer (
      .clk_i,
      .rst_i,
      .abort_i(unit_rst),
      .quiet_o(wr_quiet),
      .timeout_i(timeout),
      .req_valid_i(wr_valid),
      .req_ready_o(wr_ready),
      .req_address_i(wr_address),
      .req_length_i(wr_length),
      .pop_o(wr_pop),
      .data_i(wr_data),
      .strobe_i(wr_strobe),
      .fault_o(fault[READ_PORTS]),
      .fault_cause_o(fault_cause[READ_PORTS]),
      .fault_address_o(fault_address[READ_PORTS]),
      .m_axi_awaddr_o(m_axi_awaddr),
      .m_axi_awlen_o(m_axi_awlen),
      .m_axi_awsize_o(m_axi_awsize),
      .m_axi_awburst_o(m_axi_awburst),
      .m_axi_awvalid_o(m_axi_awvalid),
      .m_axi_awready_i(m_axi_awready),
      .m_axi_wdata_o(m_axi_wdata),
      .m_axi_wstrb_o(m_axi_wstrb),
      .m_axi_wlast_o(m_axi_wlast),
      .m_axi_wvalid_o(m_axi_wvalid),
      .m_axi_wready_i(m_axi_wready),
      .m_axi_bresp_i(m_axi_bresp),
      .m_axi_bvalid_i(m_axi_bvalid),
      .m_axi_bready_o(m_axi_bready)
  );

  // --- Descriptors and their order
  logic ahead_valid, queue_valid, queue_ready;
  descriptor_t ahead_descriptor, queue_descriptor, unit_descriptor;
  logic [21:0] ahead_words;
  logic [7:0] ahead_number, unit_number;
  violation_t queue_violation;
  logic queue_bad;
  logic [3:0] queue_unit;
  logic [3:0] unit_start, unit_done;
  logic profile_valid, profile_ready, profile_idle, store_idle, datapath_next, datapath_accept;
  logic [25:0] profile_number;
  logic [47:0] profile_begin, profile_end;

  descriptor_fetch #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(READ_LENGTH)
  ) i_fetch (
      .clk_i,
      .rst_i(unit_rst),
      .start_i(first),
      .count_i(job_q.count),
      .program_i(job_q.program_base),
      .program_bytes_i(job_q.program_bytes),
      .image_bytes_i(job_q.image_bytes),
      .output_bytes_i(job_q.output_bytes),
      .req_valid_o(descriptor_valid),
      .req_ready_i(descriptor_ready),
      .req_address_o(descriptor_address),
      .req_length_o(descriptor_length),
      .data_valid_i(descriptor_data_valid),
      .data_i(first_data),
      .ahead_valid_o(ahead_valid),
      .ahead_descriptor_o(ahead_descriptor),
      .ahead_words_o(ahead_words),
      .ahead_number_o(ahead_number),
      .valid_o(queue_valid),
      .ready_i(queue_ready),
      .descriptor_o(queue_descriptor),
      .violation_o(queue_violation),
      .bad_o(queue_bad),
      .unit_o(queue_unit)
  );

  // Once the units are in reset nothing new is asked for: quiet ports stay quiet.
  logic quiet_q;
  always_ff @(posedge clk_i) quiet_q <= rd_quiet && wr_quiet && unit_rst && !rst_i;

  sequencer #(
      .READ_PORTS(READ_PORTS)
  ) i_sequencer (
      .clk_i,
      .rst_i,
      .start_i(start),
      .reset_i(soft_reset),
      .status_o(status),
      .cause_o(error_cause),
      .descriptor_number_o(error_number),
      .address_o(error_address),
      .cycles_o(cycles),
      .done_event_o(done_event),
      .error_event_o(error_event),
      .count_i(job_q.count),
      .program_i(job_q.program_base),
      .program_bytes_i(job_q.program_bytes),
      .image_i(job_q.image_base),
      .output_i(job_q.output_base),
      .profile_i(job_q.profile_base),
      .profile_bytes_i(job_q.profile_bytes),
      .latch_o(latch),
      .begin_o(first),
      .unit_rst_o(unit_rst),
      .ports_quiet_i(quiet_q),
      .writes_quiet_i(store_idle && profile_idle && wr_quiet),
      .queue_valid_i(queue_valid),
      .queue_ready_o(queue_ready),
      .queue_descriptor_i(queue_descriptor),
      .queue_violation_i(queue_violation),
      .queue_bad_i(queue_bad),
      .queue_unit_i(queue_unit),
      .datapath_next_o(datapath_next),
      .datapath_accept_i(datapath_accept),
      .unit_start_o(unit_start),
      .unit_descriptor_o(unit_descriptor),
      .unit_number_o(unit_number),
      .unit_done_i(unit_done),
      .fault_i(fault),
      .fault_cause_i(fault_cause),
      .fault_address_i(fault_address),
      .profile_valid_o(profile_valid),
      .profile_ready_i(profile_ready),
      .profile_number_o(profile_number),
      .profile_begin_o(profile_begin),
      .profile_end_o(profile_end)
  );

  profile_writer #(
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(WRITE_LENGTH)
  ) i_profile (
      .clk_i,
      .rst_i(unit_rst),
      .profile_i(job_q.profile_base),
      .valid_i(profile_valid),
      .ready_o(profile_ready),
      .number_i(profile_number),
      .begin_i(profile_begin),
      .end_i(profile_end),
      .idle_o(profile_idle),
      .req_valid_o(wr_valid[1]),
      .req_ready_i(wr_ready[1]),
      .req_address_o(wr_address[1]),
      .req_length_o(wr_length[1]),
      .pop_i(wr_pop[1]),
      .data_o(wr_data[1]),
      .strobe_o(wr_strobe[1])
  );

  // --- What moves data
  logic p_req_valid, p_req_ready, p_valid, p_ready, w_valid, w_ready;
  logic [31:0] p_req_offset, p_req_bytes;
  logic [PORT_BITS-1:0] p_data;
  logic [ROWS*DEPTH*4-1:0] w_data;
  logic la_we, lr_we, sa_re, sr_re, sl_re;
  logic [BANK_BITS-1:0] la_bank, lr_bank, sa_bank, sr_bank;
  logic [ACT_BITS-1:0] la_word, sa_word;
  logic [RES_BITS-1:0] lr_word, sr_word;
  logic [LOGIT_BITS-1:0] sl_index;
  logic [DEPTH*8-1:0] la_data, sa_data;
  logic [DEPTH*16-1:0] lr_data, sr_data;
  logic [127:0] sl_data;

  data_movers #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS),
      .READ_PORTS(READ_PORTS),
      .PORT_BITS(PORT_BITS),
      .READ_LENGTH(READ_LENGTH),
      .WRITE_LENGTH(WRITE_LENGTH)
  ) i_movers (
      .clk_i,
      .rst_i,
      .unit_rst_i(unit_rst),
      .timeout_i(timeout),
      .program_i(job_q.program_base),
      .image_i(job_q.image_base),
      .output_i(job_q.output_base),
      .quiet_o(rd_quiet),
      .store_idle_o(store_idle),
      .fault_o(fault[READ_PORTS-1:0]),
      .fault_cause_o(fault_cause[READ_PORTS-1:0]),
      .fault_address_o(fault_address[READ_PORTS-1:0]),
      .descriptor_valid_i(descriptor_valid),
      .descriptor_ready_o(descriptor_ready),
      .descriptor_address_i(descriptor_address),
      .descriptor_length_i(descriptor_length),
      .descriptor_data_valid_o(descriptor_data_valid),
      .first_data_o(first_data),
      .ahead_valid_i(ahead_valid),
      .ahead_descriptor_i(ahead_descriptor),
      .ahead_words_i(ahead_words),
      .ahead_number_i(ahead_number),
      .unit_start_i(unit_start),
      .unit_descriptor_i(unit_descriptor),
      .unit_number_i(unit_number),
      .unit_done_o({unit_done[3], unit_done[1:0]}),
      .wr_valid_o(wr_valid[0]),
      .wr_ready_i(wr_ready[0]),
      .wr_address_o(wr_address[0]),
      .wr_length_o(wr_length[0]),
      .wr_pop_i(wr_pop[0]),
      .wr_data_o(wr_data[0]),
      .wr_strobe_o(wr_strobe[0]),
      .p_req_valid_i(p_req_valid),
      .p_req_ready_o(p_req_ready),
      .p_req_offset_i(p_req_offset),
      .p_req_bytes_i(p_req_bytes),
      .p_valid_o(p_valid),
      .p_ready_i(p_ready),
      .p_data_o(p_data),
      .w_valid_o(w_valid),
      .w_ready_i(w_ready),
      .w_data_o(w_data),
      .la_we_o(la_we),
      .la_bank_o(la_bank),
      .la_word_o(la_word),
      .la_data_o(la_data),
      .lr_we_o(lr_we),
      .lr_bank_o(lr_bank),
      .lr_word_o(lr_word),
      .lr_data_o(lr_data),
      .sa_re_o(sa_re),
      .sa_bank_o(sa_bank),
      .sa_word_o(sa_word),
      .sa_data_i(sa_data),
      .sr_re_o(sr_re),
      .sr_bank_o(sr_bank),
      .sr_word_o(sr_word),
      .sr_data_i(sr_data),
      .sl_re_o(sl_re),
      .sl_index_o(sl_index),
      .sl_data_i(sl_data),
      .m_axi_araddr_o(m_axi_araddr),
      .m_axi_arlen_o(m_axi_arlen),
      .m_axi_arsize_o(m_axi_arsize),
      .m_axi_arburst_o(m_axi_arburst),
      .m_axi_arvalid_o(m_axi_arvalid),
      .m_axi_arready_i(m_axi_arready),
      .m_axi_rdata_i(m_axi_rdata),
      .m_axi_rresp_i(m_axi_rresp),
      .m_axi_rlast_i(m_axi_rlast),
      .m_axi_rvalid_i(m_axi_rvalid),
      .m_axi_rready_o(m_axi_rready)
  );

  // --- What computes
  logic [31:0] datapath_address;
  assign fault_address[READ_PORTS+1] = 64'(datapath_address);

  datapath #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS),
      .PORT_BITS(PORT_BITS)
  ) i_datapath (
      .clk_i,
      .rst_i(unit_rst),
      .next_valid_i(datapath_next),
      .next_i(queue_descriptor),
      .accept_o(datapath_accept),
      .start_i(unit_start[2]),
      .descriptor_i(unit_descriptor),
      .done_o(unit_done[2]),
      .fault_o(fault[READ_PORTS+1]),
      .fault_cause_o(fault_cause[READ_PORTS+1]),
      .fault_address_o(datapath_address),
      .p_req_valid_o(p_req_valid),
      .p_req_ready_i(p_req_ready),
      .p_req_offset_o(p_req_offset),
      .p_req_bytes_o(p_req_bytes),
      .p_valid_i(p_valid),
      .p_ready_o(p_ready),
      .p_data_i(p_data),
      .w_valid_i(w_valid),
      .w_ready_o(w_ready),
      .w_data_i(w_data),
      .la_we_i(la_we),
      .la_bank_i(la_bank),
      .la_word_i(la_word),
      .la_data_i(la_data),
      .lr_we_i(lr_we),
      .lr_bank_i(lr_bank),
      .lr_word_i(lr_word),
      .lr_data_i(lr_data),
      .sa_re_i(sa_re),
      .sa_bank_i(sa_bank),
      .sa_word_i(sa_word),
      .sa_data_o(sa_data),
      .sr_re_i(sr_re),
      .sr_bank_i(sr_bank),
      .sr_word_i(sr_word),
      .sr_data_o(sr_data),
      .sl_re_i(sl_re),
      .sl_index_i(sl_index),
      .sl_data_o(sl_data)
  );

endmodule
