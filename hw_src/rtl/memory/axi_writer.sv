// The AXI4 write port, shared by several clients.
//
// A client asks for a burst when all its data wait in its FIFO (`data_i`, `strobe_i`; `pop_o` takes
// a beat). A grant enters the burst into the queues of data and of answers, so that its address and
// its data are offered independently: AXI forbids a manager to wait with WVALID for AWREADY, since a
// subordinate may wait with AWREADY for WVALID (IHI 0022, "Dependencies between channel handshake
// signals"). Data leave in the order of the addresses.
//
// `abort_i`: no new burst. One that was granted is finished, as AXI demands, with all write strobes
// off: memory keeps what it holds. `quiet_o`: nothing is under way.
//
// Faults: an error response, with the burst's address; TIMEOUT cycles without any handshake while
// the port waits for something (0: wait for ever).

module axi_writer
  import quasar_pkg::*;
#(
    parameter int unsigned CLIENTS = 2,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 4,
    parameter int unsigned BURSTS = 16
) (
    input logic clk_i,
    input logic rst_i,
    input logic abort_i,
    output logic quiet_o,
    input logic [31:0] timeout_i,

    input logic [CLIENTS-1:0] req_valid_i,
    output logic [CLIENTS-1:0] req_ready_o,
    input logic [CLIENTS-1:0][63:0] req_address_i,
    input logic [CLIENTS-1:0][LENGTH_BITS-1:0] req_length_i,  // beats - 1
    output logic [CLIENTS-1:0] pop_o,
    input logic [CLIENTS-1:0][PORT_BITS-1:0] data_i,
    input logic [CLIENTS-1:0][PORT_BITS/8-1:0] strobe_i,

    output logic fault_o,
    output cause_e fault_cause_o,
    output logic [63:0] fault_address_o,

    output logic [63:0] m_axi_awaddr_o,
    output logic [7:0] m_axi_awlen_o,
    output logic [2:0] m_axi_awsize_o,
    output logic [1:0] m_axi_awburst_o,
    output logic m_axi_awvalid_o,
    input logic m_axi_awready_i,
    output logic [PORT_BITS-1:0] m_axi_wdata_o,
    output logic [PORT_BITS/8-1:0] m_axi_wstrb_o,
    output logic m_axi_wlast_o,
    output logic m_axi_wvalid_o,
    input logic m_axi_wready_i,
    input logic [1:0] m_axi_bresp_i,
    input logic m_axi_bvalid_i,
    output logic m_axi_bready_o
);

  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);
  localparam int unsigned CLIENT_BITS = CLIENTS > 1 ? $clog2(CLIENTS) : 1;

  typedef struct packed {
    logic [CLIENT_BITS-1:0] client;
    logic [LENGTH_BITS-1:0] length;
  } burst_t;

  // --- Addresses
  logic aw_valid_q, aw_done, grant, data_room, answer_room, answer_valid, answered;
  burst_t granted, sending;
  logic [LENGTH_BITS-1:0] aw_length_q;
  logic [63:0] aw_address_q, granted_address, answer_address;

  always_comb begin
    granted = '0;
    granted_address = '0;
    req_ready_o = '0;
    grant = 1'b0;
    if (!abort_i && !aw_valid_q && data_room && answer_room) begin
      for (int c = CLIENTS - 1; c >= 0; c--) begin
        if (req_valid_i[c]) begin
          granted = '{client: CLIENT_BITS'(c), length: req_length_i[c]};
          granted_address = req_address_i[c];
          req_ready_o = CLIENTS'(1) << c;
          grant = 1'b1;
        end
      end
    end
  end

  assign m_axi_awvalid_o = aw_valid_q;
  assign aw_done = m_axi_awvalid_o && m_axi_awready_i;
  assign m_axi_awaddr_o = aw_address_q;
  assign m_axi_awlen_o = 8'(aw_length_q);
  assign m_axi_awsize_o = 3'(SIZE);
  assign m_axi_awburst_o = 2'b01;

  always_ff @(posedge clk_i) begin
    if (aw_done) aw_valid_q <= 1'b0;
    if (grant) begin
      aw_valid_q <= 1'b1;
      aw_length_q <= granted.length;
      aw_address_q <= granted_address;
    end
    if (rst_i) aw_valid_q <= 1'b0;
  end

  // --- Data
  logic send_valid, send, send_last;
  logic [LENGTH_BITS-1:0] beat_q;

  fifo #(
      .WIDTH($bits(burst_t)),
      .DEPTH(BURSTS)
  ) i_data (
      .clk_i,
      .rst_i,
      .valid_i(grant),
      .ready_o(data_room),
      .data_i (granted),
      .valid_o(send_valid),
      .ready_i(send_last),
      .data_o (sending)
  );

  assign send = send_valid && (!m_axi_wvalid_o || m_axi_wready_i);
  assign send_last = send && beat_q == sending.length;
  assign pop_o = send ? CLIENTS'(1) << sending.client : '0;

  always_ff @(posedge clk_i) begin
    if (!m_axi_wvalid_o || m_axi_wready_i) begin
      m_axi_wvalid_o <= send;
      m_axi_wdata_o  <= data_i[sending.client];
      m_axi_wstrb_o  <= abort_i ? '0 : strobe_i[sending.client];
      m_axi_wlast_o  <= send_last;
    end
    if (send) beat_q <= send_last ? '0 : beat_q + 1'b1;
    if (rst_i) begin
      m_axi_wvalid_o <= 1'b0;
      beat_q <= '0;
    end
  end

  // --- Answers
  fifo #(
      .WIDTH(64),
      .DEPTH(BURSTS)
  ) i_answers (
      .clk_i,
      .rst_i,
      .valid_i(grant),
      .ready_o(answer_room),
      .data_i (granted_address),
      .valid_o(answer_valid),
      .ready_i(m_axi_bvalid_i),
      .data_o (answer_address)
  );

  assign m_axi_bready_o = answer_valid;
  assign answered = m_axi_bvalid_i && answer_valid;
  assign quiet_o = !aw_valid_q && !answer_valid && !send_valid && !m_axi_wvalid_o;

  // --- Faults
  logic progress, stalled_q;
  logic [31:0] wait_q;

  assign progress = aw_done || answered || (m_axi_wvalid_o && m_axi_wready_i);

  always_ff @(posedge clk_i) begin
    if (quiet_o || progress) wait_q <= '0;
    else if (!stalled_q) wait_q <= wait_q + 1'b1;
    stalled_q <= !quiet_o && !progress && timeout_i != '0 && wait_q >= timeout_i;
    fault_o   <= 1'b0;
    if (stalled_q && !progress) begin
      fault_o <= 1'b1;
      fault_cause_o <= CAUSE_STALLED;
      fault_address_o <= answer_valid ? answer_address : aw_address_q;
    end
    if (answered && m_axi_bresp_i[1] && !abort_i) begin
      fault_o <= 1'b1;
      fault_cause_o <= m_axi_bresp_i[0] ? CAUSE_WRITE_DECERR : CAUSE_WRITE_SLVERR;
      fault_address_o <= answer_address;
    end
    if (rst_i) begin
      wait_q <= '0;
      stalled_q <= 1'b0;
      fault_o <= 1'b0;
      fault_cause_o <= CAUSE_NONE;
      fault_address_o <= '0;
    end
  end

`ifdef VERILATOR
  stable_data :
  assert property (@(posedge clk_i) disable iff (rst_i)
      m_axi_wvalid_o && !m_axi_wready_i |=> m_axi_wvalid_o && $stable(m_axi_wdata_o) &&
      $stable(m_axi_wstrb_o));
  stable_address :
  assert property (@(posedge clk_i) disable iff (rst_i)
      m_axi_awvalid_o && !m_axi_awready_i |=> m_axi_awvalid_o && $stable(m_axi_awaddr_o));
`endif

endmodule
