// The rules of an AXI4-Lite subordinate (AMBA IHI 0022), for proofs: its own are asserted, those of
// the manager assumed.
//
//   stability   what is offered stays, valid and payload, until it is accepted
//   answers     one B for each pair of an address and data, one R for each address, none before
//   progress    B is offered two cycles after the later of address and data at most, R one cycle after
//               its address, unless the answer before waits for the manager
module axi_lite_rules (
    input logic clk_i,
    input logic rst_i,
    input logic [7:0] awaddr_i,
    input logic awvalid_i,
    input logic awready_i,
    input logic [31:0] wdata_i,
    input logic [3:0] wstrb_i,
    input logic wvalid_i,
    input logic wready_i,
    input logic [1:0] bresp_i,
    input logic bvalid_i,
    input logic bready_i,
    input logic [7:0] araddr_i,
    input logic arvalid_i,
    input logic arready_i,
    input logic [31:0] rdata_i,
    input logic [1:0] rresp_i,
    input logic rvalid_i,
    input logic rready_i
);
  logic past_q, aw_waits_q, w_waits_q, b_waits_q, ar_waits_q, r_waits_q;
  logic [7:0] awaddr_q, araddr_q;
  logic [31:0] wdata_q, rdata_q;
  logic [3:0] wstrb_q;
  logic [1:0] bresp_q, rresp_q;
  // Accepted and not answered: at most one address and one word of data wait beyond an answer.
  logic [1:0] addresses_q, words_q, reads_q;
  logic pair, due_q, due2_q, read_due_q;

  assign pair = addresses_q != 2'd0 && words_q != 2'd0;
  initial past_q = 1'b0;
  always_ff @(posedge clk_i) begin
    past_q <= !rst_i;
    aw_waits_q <= awvalid_i && !awready_i;
    w_waits_q <= wvalid_i && !wready_i;
    b_waits_q <= bvalid_i && !bready_i;
    ar_waits_q <= arvalid_i && !arready_i;
    r_waits_q <= rvalid_i && !rready_i;
    awaddr_q <= awaddr_i;
    araddr_q <= araddr_i;
    wdata_q <= wdata_i;
    wstrb_q <= wstrb_i;
    bresp_q <= bresp_i;
    rresp_q <= rresp_i;
    rdata_q <= rdata_i;
    addresses_q <= addresses_q + 2'(awvalid_i && awready_i) - 2'(bvalid_i && bready_i);
    words_q <= words_q + 2'(wvalid_i && wready_i) - 2'(bvalid_i && bready_i);
    reads_q <= reads_q + 2'(arvalid_i && arready_i) - 2'(rvalid_i && rready_i);
    due_q <= pair && !bvalid_i;
    if (rst_i) begin
      {addresses_q, words_q, reads_q} <= '0;
      due_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (past_q && !rst_i) begin
      m_stable_write_address : assume (!aw_waits_q || (awvalid_i && awaddr_i == awaddr_q));
      m_stable_data :
      assume (!w_waits_q || (wvalid_i && wdata_i == wdata_q && wstrb_i == wstrb_q));
      m_stable_read_address : assume (!ar_waits_q || (arvalid_i && araddr_i == araddr_q));
      a_stable_b : assert (!b_waits_q || (bvalid_i && bresp_i == bresp_q));
      a_stable_r : assert (!r_waits_q || (rvalid_i && rdata_i == rdata_q && rresp_i == rresp_q));
      a_b_after_both : assert (!bvalid_i || pair);
      a_r_after_address : assert (!rvalid_i || reads_q != 2'd0);
      a_few_wait : assert (addresses_q <= 2'd2 && words_q <= 2'd2 && reads_q <= 2'd1);
      a_b_comes : assert (!due_q || bvalid_i);
      a_r_comes : assert (reads_q == 2'd0 || rvalid_i);
      a_address_is_taken : assert (addresses_q >= 2'd1 || awready_i);
      a_data_are_taken : assert (words_q >= 2'd1 || wready_i);
      a_read_is_taken : assert (reads_q != 2'd0 || arready_i);
    end
  end
endmodule
