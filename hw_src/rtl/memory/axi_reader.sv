// One AXI4 read port shared by several clients.
//
// A client asks for a burst for whose data it has already set room aside; so the port is always
// ready for data, and no client can hold up another's. Requests are granted by priority, client 0
// first; the last client, which reads ahead, only while fewer than LIMIT beats are under way, so
// that it does not queue up a long wait before an urgent request. Bursts are answered in order
// (no IDs are used): `order` remembers whose each is.
//
// `abort_i`: nothing new is granted, but what was asked of the memory is waited for, as AXI
// demands; the data go nowhere, since the clients are held in reset meanwhile. `quiet_o`: nothing
// is under way.
//
// Faults: an error response, with the beat's address; TIMEOUT cycles without any handshake while
// the port waits for something (0: wait for ever). A stall is reported in every cycle it lasts.

module axi_reader
  import quasar_pkg::*;
#(
    parameter int unsigned CLIENTS = 2,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5,
    parameter int unsigned BURSTS = 32,
    parameter int unsigned LIMIT = 256
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
    output logic [CLIENTS-1:0] data_valid_o,
    output logic [PORT_BITS-1:0] data_o,

    output logic fault_o,
    output cause_e fault_cause_o,
    output logic [63:0] fault_address_o,

    output logic [63:0] m_axi_araddr_o,
    output logic [7:0] m_axi_arlen_o,
    output logic [2:0] m_axi_arsize_o,
    output logic [1:0] m_axi_arburst_o,
    output logic m_axi_arvalid_o,
    input logic m_axi_arready_i,
    input logic [PORT_BITS-1:0] m_axi_rdata_i,
    input logic [1:0] m_axi_rresp_i,
    input logic m_axi_rlast_i,
    input logic m_axi_rvalid_i,
    output logic m_axi_rready_o
);

  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);
  localparam int unsigned CLIENT_BITS = CLIENTS > 1 ? $clog2(CLIENTS) : 1;
  localparam int unsigned FLIGHT_BITS = $clog2(BURSTS * 2 ** LENGTH_BITS + 1);

  typedef struct packed {
    logic [CLIENT_BITS-1:0] client;
    logic [LENGTH_BITS-1:0] length;
    logic [63:0] address;
  } burst_t;

  // --- Requests
  burst_t granted, oldest;
  logic grant, order_ready, order_valid, last_beat, beat;
  logic [CLIENTS-1:0] eligible;
  logic [FLIGHT_BITS-1:0] flight_q;
  logic ahead;
  logic ar_valid_q;
  logic [63:0] ar_address_q;
  logic [LENGTH_BITS-1:0] ar_length_q;

  assign ahead = flight_q < FLIGHT_BITS'(LIMIT);
  always_comb begin
    eligible = req_valid_i;
    if (!ahead) eligible[CLIENTS-1] = 1'b0;
    granted = '0;
    req_ready_o = '0;
    grant = 1'b0;
    if (!abort_i && order_ready && (!ar_valid_q || m_axi_arready_i)) begin
      for (int c = CLIENTS - 1; c >= 0; c--) begin
        if (eligible[c]) begin
          granted = '{
              client: CLIENT_BITS'(c),
              length: req_length_i[c],
              address: req_address_i[c]
          };
          req_ready_o = CLIENTS'(1) << c;
          grant = 1'b1;
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!ar_valid_q || m_axi_arready_i) begin
      ar_valid_q <= grant;
      ar_address_q <= granted.address;
      ar_length_q <= granted.length;
    end
    if (rst_i) ar_valid_q <= 1'b0;
  end

  assign m_axi_arvalid_o = ar_valid_q;
  assign m_axi_araddr_o  = ar_address_q;
  assign m_axi_arlen_o   = 8'(ar_length_q);
  assign m_axi_arsize_o  = 3'(SIZE);
  assign m_axi_arburst_o = 2'b01;

  fifo #(
      .WIDTH($bits(burst_t)),
      .DEPTH(BURSTS)
  ) i_order (
      .clk_i,
      .rst_i,
      .valid_i(grant),
      .ready_o(order_ready),
      .data_i (granted),
      .valid_o(order_valid),
      .ready_i(last_beat),
      .data_o (oldest)
  );

  // --- Data
  logic [LENGTH_BITS-1:0] beat_q;

  assign m_axi_rready_o = order_valid;
  assign beat = m_axi_rvalid_i && order_valid;
  assign last_beat = beat && beat_q == oldest.length;

  always_ff @(posedge clk_i) begin
    data_o <= m_axi_rdata_i;
    data_valid_o <= '0;
    if (beat) begin
      data_valid_o <= CLIENTS'(1) << oldest.client;
      beat_q <= last_beat ? '0 : beat_q + 1'b1;
    end
    flight_q <= flight_q + (grant ? FLIGHT_BITS'(granted.length) + 1'b1 : '0) - FLIGHT_BITS'(beat);
    if (rst_i) begin
      data_valid_o <= '0;
      beat_q <= '0;
      flight_q <= '0;
    end
  end

  assign quiet_o = !order_valid && !ar_valid_q;

  // --- Faults
  logic waiting, progress, stalled_q;
  logic [31:0] wait_q;
  logic [63:0] beat_address;

  assign waiting  = ar_valid_q || order_valid;
  assign progress = beat || (ar_valid_q && m_axi_arready_i);
  assign beat_address = oldest.address + (64'(beat_q) << SIZE);

  always_ff @(posedge clk_i) begin
    if (!waiting || progress) wait_q <= '0;
    else if (!stalled_q) wait_q <= wait_q + 1'b1;
    stalled_q <= waiting && !progress && timeout_i != '0 && wait_q >= timeout_i;
    fault_o <= 1'b0;
    if (stalled_q && !progress) begin
      fault_o <= 1'b1;
      fault_cause_o <= CAUSE_STALLED;
      fault_address_o <= order_valid ? beat_address : ar_address_q;
    end
    if (beat && m_axi_rresp_i[1] && !abort_i) begin
      fault_o <= 1'b1;
      fault_cause_o <= m_axi_rresp_i[0] ? CAUSE_READ_DECERR : CAUSE_READ_SLVERR;
      fault_address_o <= beat_address;
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
  last_as_counted :
  assert property (@(posedge clk_i) disable iff (rst_i) beat |-> m_axi_rlast_i == last_beat);
  within_4k :
  assert property (@(posedge clk_i) disable iff (rst_i)
      grant |-> 32'(granted.address[11:0]) + ((32'(granted.length) + 1) << SIZE) <= 4096);
  stable_request :
  assert property (@(posedge clk_i) disable iff (rst_i)
      m_axi_arvalid_o && !m_axi_arready_i |=> m_axi_arvalid_o && $stable(m_axi_araddr_o));
`else
  logic unused;
  assign unused = m_axi_rlast_i;
`endif

endmodule
