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
  stable_offer #(
      .ASSUMED(1'b1),
      .WIDTH(8)
  ) stable_write_address (
      .clk_i,
      .rst_i,
      .valid_i(awvalid_i),
      .ready_i(awready_i),
      .payload_i(awaddr_i)
  );
  stable_offer #(
      .ASSUMED(1'b1),
      .WIDTH(36)
  ) stable_data (
      .clk_i,
      .rst_i,
      .valid_i(wvalid_i),
      .ready_i(wready_i),
      .payload_i({wdata_i, wstrb_i})
  );
  stable_offer #(
      .WIDTH(2)
  ) stable_b (
      .clk_i,
      .rst_i,
      .valid_i(bvalid_i),
      .ready_i(bready_i),
      .payload_i(bresp_i)
  );
  stable_offer #(
      .ASSUMED(1'b1),
      .WIDTH(8)
  ) stable_read_address (
      .clk_i,
      .rst_i,
      .valid_i(arvalid_i),
      .ready_i(arready_i),
      .payload_i(araddr_i)
  );
  stable_offer #(
      .WIDTH(34)
  ) stable_r (
      .clk_i,
      .rst_i,
      .valid_i(rvalid_i),
      .ready_i(rready_i),
      .payload_i({rdata_i, rresp_i})
  );

  // Accepted and not answered: at most one address and one word of data wait beyond an answer.
  logic [1:0] addresses_q, words_q, reads_q;
  logic pair, due_q, began_q;

  assign pair = addresses_q != 2'd0 && words_q != 2'd0;
  initial began_q = 1'b0;
  always_ff @(posedge clk_i) begin
    began_q <= 1'b1;
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
    if (began_q && !rst_i) begin
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
