// axi_writer keeps the rules of AXI4, offers address and data without waiting for a READY, delivers
// what it was granted, and is quiet only when nothing is under way.
module axi_writer_proof
  import rules_pkg::*;
#(
    parameter int unsigned CLIENTS = 2,
    parameter int unsigned BURSTS = 2,
    parameter int unsigned LENGTH_BITS = 1
) (
    input logic clk_i,
    input logic [7:0] watched_i,
    input logic abort_i,
    input logic [CLIENTS-1:0] req_valid_i,
    input logic [CLIENTS-1:0][63:0] req_address_i,
    input logic [CLIENTS-1:0][LENGTH_BITS-1:0] req_length_i,
    input logic [CLIENTS-1:0][31:0] data_i,
    input logic [CLIENTS-1:0][3:0] strobe_i,
    input logic awready_i,
    input logic wready_i,
    input logic [1:0] bresp_i,
    input logic bvalid_i
);
  localparam int unsigned PORT_BITS = 32;
  localparam int unsigned SIZE = 2;

  logic rst, began_q;
  initial began_q = 1'b0;
  always_ff @(posedge clk_i) began_q <= 1'b1;
  assign rst = !began_q;  // the first cycle

  logic [CLIENTS-1:0] req_ready, pop;
  logic quiet, fault, awvalid, wvalid, wlast, bready;
  quasar_pkg::cause_e fault_cause;
  logic [63:0] fault_address, awaddr;
  logic [7:0] awlen;
  logic [2:0] awsize;
  logic [1:0] awburst;
  logic [PORT_BITS-1:0] wdata;
  logic [PORT_BITS/8-1:0] wstrb;
  logic [7:0] addresses, answers;

  axi_writer #(
      .CLIENTS(CLIENTS),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(LENGTH_BITS),
      .BURSTS(BURSTS)
  ) dut (
      .clk_i,
      .rst_i(rst),
      .abort_i,
      .quiet_o(quiet),
      .timeout_i(32'd0),
      .req_valid_i,
      .req_ready_o(req_ready),
      .req_address_i,
      .req_length_i,
      .pop_o(pop),
      .data_i,
      .strobe_i,
      .fault_o(fault),
      .fault_cause_o(fault_cause),
      .fault_address_o(fault_address),
      .m_axi_awaddr_o(awaddr),
      .m_axi_awlen_o(awlen),
      .m_axi_awsize_o(awsize),
      .m_axi_awburst_o(awburst),
      .m_axi_awvalid_o(awvalid),
      .m_axi_awready_i(awready_i),
      .m_axi_wdata_o(wdata),
      .m_axi_wstrb_o(wstrb),
      .m_axi_wlast_o(wlast),
      .m_axi_wvalid_o(wvalid),
      .m_axi_wready_i(wready_i),
      .m_axi_bresp_i(bresp_i),
      .m_axi_bvalid_i(bvalid_i),
      .m_axi_bready_o(bready)
  );

  axi_write_rules #(
      .PORT_BITS(PORT_BITS),
      .OUTSTANDING(BURSTS)
  ) rules (
      .clk_i,
      .rst_i(rst),
      .watched_i,
      .awaddr_i(awaddr),
      .awlen_i(awlen),
      .awsize_i(awsize),
      .awburst_i(awburst),
      .awvalid_i(awvalid),
      .awready_i,
      .wdata_i(wdata),
      .wstrb_i(wstrb),
      .wlast_i(wlast),
      .wvalid_i(wvalid),
      .wready_i,
      .bresp_i,
      .bvalid_i,
      .bready_i(bready),
      .addresses_o(addresses),
      .answers_o(answers)
  );

  // Beats that were granted and not yet accepted, the bursts granted, and the grant watched.
  logic granted, owing_q, watched_known_q;
  logic [LENGTH_BITS-1:0] granted_length;
  logic [7:0] grants_q, owed_q;
  logic [63:0] granted_address, watched_address_q;
  always_comb begin
    granted = 1'b0;
    granted_length = '0;
    granted_address = '0;
    for (int c = 0; c < CLIENTS; c++) begin
      if (req_valid_i[c] && req_ready[c]) begin
        granted = 1'b1;
        granted_length = req_length_i[c];
        granted_address = req_address_i[c];
      end
    end
  end
  always_ff @(posedge clk_i) begin
    owed_q <= owed_q + (granted ? 8'(granted_length) + 8'd1 : 8'd0) - 8'(wvalid && wready_i);
    owing_q <= owed_q != 8'(wvalid && wready_i);
    if (granted) begin
      grants_q <= grants_q + 8'd1;
      if (grants_q == watched_i) begin
        watched_known_q   <= 1'b1;
        watched_address_q <= granted_address;
      end
    end
    if (rst) begin
      {owed_q, grants_q} <= '0;
      {watched_known_q, owing_q} <= '0;
    end
  end

  always_ff @(posedge clk_i) begin
    // The clients' side: legal bursts.
    for (int c = 0; c < CLIENTS; c++) begin
      assume (legal_burst(req_address_i[c], 8'(req_length_i[c]), SIZE));
    end
    if (began_q) begin
      a_one_grant : assert ((req_ready & (req_ready - 1'b1)) == '0);
      a_one_pop : assert ((pop & (pop - 1'b1)) == '0);
      // Without waiting for any READY: what was owed a cycle ago is offered.
      a_address_offered : assert (grants_q == addresses || awvalid);
      a_data_offered : assert (!owing_q || wvalid);
      a_no_more_than_owed : assert (!wvalid || owed_q != 8'd0);
      a_in_order : assert (!(awvalid && addresses == watched_i && watched_known_q) ||
          awaddr == watched_address_q);
      a_no_grant_in_abort : assert (!(abort_i && granted));
      a_quiet : assert (!quiet || (grants_q == answers && owed_q == 8'd0 && !awvalid && !wvalid));
      a_ready_for_answers : assert (answers == grants_q || bready);
    end
  end
endmodule
