// axi_reader keeps the rules of AXI4, is ready for every beat that it asked for, and gives each beat to
// the client that asked for it, in order.
module axi_reader_proof
  import rules_pkg::*;
#(
    parameter int unsigned CLIENTS = 2,
    parameter int unsigned BURSTS = 2,
    parameter int unsigned LENGTH_BITS = 1
) (
    input logic clk_i,
    input logic [7:0] watched_i,  // constant: a beat, by its number
    input logic abort_i,
    input logic [CLIENTS-1:0] req_valid_i,
    input logic [CLIENTS-1:0][63:0] req_address_i,
    input logic [CLIENTS-1:0][LENGTH_BITS-1:0] req_length_i,
    input logic arready_i,
    input logic [31:0] rdata_i,
    input logic [1:0] rresp_i,
    input logic rlast_i,
    input logic rvalid_i
);
  localparam int unsigned PORT_BITS = 32;
  localparam int unsigned SIZE = 2;

  logic rst, began_q;
  initial began_q = 1'b0;
  always_ff @(posedge clk_i) began_q <= 1'b1;
  assign rst = !began_q;  // the first cycle

  logic [CLIENTS-1:0] req_ready, data_valid;
  logic [PORT_BITS-1:0] data;
  logic quiet, fault, arvalid, rready;
  quasar_pkg::cause_e fault_cause;
  logic [63:0] fault_address, araddr;
  logic [7:0] arlen;
  logic [2:0] arsize;
  logic [1:0] arburst;

  axi_reader #(
      .CLIENTS(CLIENTS),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(LENGTH_BITS),
      .BURSTS(BURSTS),
      .LIMIT(2)
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
      .data_valid_o(data_valid),
      .data_o(data),
      .fault_o(fault),
      .fault_cause_o(fault_cause),
      .fault_address_o(fault_address),
      .m_axi_araddr_o(araddr),
      .m_axi_arlen_o(arlen),
      .m_axi_arsize_o(arsize),
      .m_axi_arburst_o(arburst),
      .m_axi_arvalid_o(arvalid),
      .m_axi_arready_i(arready_i),
      .m_axi_rdata_i(rdata_i),
      .m_axi_rresp_i(rresp_i),
      .m_axi_rlast_i(rlast_i),
      .m_axi_rvalid_i(rvalid_i),
      .m_axi_rready_o(rready)
  );

  stable_offer #(
      .WIDTH(72)
  ) stable_address (
      .clk_i,
      .rst_i(rst),
      .valid_i(arvalid),
      .ready_i(arready_i),
      .payload_i({araddr, arlen})
  );
  stable_offer #(
      .ASSUMED(1'b1),
      .WIDTH(34)
  ) stable_data (
      .clk_i,
      .rst_i(rst),
      .valid_i(rvalid_i),
      .ready_i(rready),
      .payload_i({rdata_i, rresp_i})
  );

  logic [7:0] watched_q;
  // Bursts and beats granted, asked for at the port, and answered.
  logic granted;
  logic [CLIENTS-1:0] grantee, owner_q;
  logic [7:0] granted_beats, grants_q, granted_q, addresses_q, asked_q, answered_q;
  logic owned_q, answered_watched_q;
  logic [31:0] watched_data_q;
  assign grantee = req_valid_i & req_ready;
  always_comb begin
    granted = 1'b0;
    granted_beats = 8'd0;
    for (int c = 0; c < CLIENTS; c++) begin
      if (grantee[c]) begin
        granted = 1'b1;
        granted_beats = 8'(req_length_i[c]) + 8'd1;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    watched_q <= watched_i;
    answered_watched_q <= 1'b0;
    if (granted) begin
      grants_q  <= grants_q + 8'd1;
      granted_q <= granted_q + granted_beats;
      if (!owned_q && watched_i - granted_q < granted_beats) begin
        owned_q <= 1'b1;
        owner_q <= grantee;
      end
    end
    if (arvalid && arready_i) begin
      addresses_q <= addresses_q + 8'd1;
      asked_q <= asked_q + arlen + 8'd1;
    end
    if (rvalid_i && rready) begin
      answered_q <= answered_q + 8'd1;
      answered_watched_q <= answered_q == watched_i;
      watched_data_q <= rdata_i;
    end
    if (rst) begin
      {grants_q, granted_q, addresses_q, asked_q, answered_q} <= '0;
      {owned_q, answered_watched_q} <= '0;
    end
  end

  always_ff @(posedge clk_i) begin
    for (int c = 0; c < CLIENTS; c++) begin
      assume (legal_burst(req_address_i[c], 8'(req_length_i[c]), SIZE));
    end
    assume (!(rvalid_i && began_q) || answered_q < asked_q);  // only what was asked for
    if (began_q) begin
      assume (watched_i == watched_q);
      a_one_grant : assert ((grantee & (grantee - 1'b1)) == '0);
      a_legal_address :
      assert (!arvalid ||
          (arsize == 3'(SIZE) && arburst == 2'b01 && legal_burst(araddr, arlen, SIZE)));
      a_address_offered : assert (grants_q == addresses_q || arvalid);
      a_one_address_waits : assert (grants_q - addresses_q <= 8'd1);
      a_bounded : assert (granted_q - answered_q <= 8'(BURSTS << LENGTH_BITS));
      a_ready_for_data : assert (answered_q == granted_q || rready);
      a_no_grant_in_abort : assert (!(abort_i && granted));
      a_quiet : assert (!quiet || (granted_q == answered_q && !arvalid));
      a_one_client : assert ((data_valid & (data_valid - 1'b1)) == '0);
      a_owner : assert (!answered_watched_q || (data_valid == owner_q && data == watched_data_q));
    end
  end
endmodule
