// axil_registers keeps the rules of AXI4-Lite, gives one pulse for each command that was written, and
// none otherwise.
module axil_registers_proof (
    input logic clk_i,
    input logic [3:0] status_i,
    input logic [31:0] descriptor_i,
    input logic [63:0] address_i,
    input logic [47:0] cycles_i,
    input logic done_event_i,
    input logic error_event_i,
    input logic [7:0] awaddr_i,
    input logic awvalid_i,
    input logic [31:0] wdata_i,
    input logic [3:0] wstrb_i,
    input logic wvalid_i,
    input logic bready_i,
    input logic [7:0] araddr_i,
    input logic arvalid_i,
    input logic rready_i
);
  import quasar_pkg::*;

  logic rst, began_q;
  initial began_q = 1'b0;
  always_ff @(posedge clk_i) began_q <= 1'b1;
  assign rst = !began_q;  // the first cycle

  logic irq, start, reset, awready, wready, bvalid, arready, rvalid;
  logic [1:0] bresp, rresp;
  logic [31:0] rdata, count, timeout, program_bytes, image_bytes, output_bytes, profile_bytes;
  logic [63:0] program_base, image, out, profile;

  axil_registers dut (
      .clk_i,
      .rst_i(rst),
      .irq_o(irq),
      .start_o(start),
      .reset_o(reset),
      .status_i,
      .cause_i(CAUSE_NONE),
      .descriptor_i,
      .address_i,
      .cycles_i,
      .done_event_i,
      .error_event_i,
      .count_o(count),
      .timeout_o(timeout),
      .program_o(program_base),
      .program_bytes_o(program_bytes),
      .image_o(image),
      .image_bytes_o(image_bytes),
      .output_o(out),
      .output_bytes_o(output_bytes),
      .profile_o(profile),
      .profile_bytes_o(profile_bytes),
      .s_axil_awaddr_i(awaddr_i),
      .s_axil_awvalid_i(awvalid_i),
      .s_axil_awready_o(awready),
      .s_axil_wdata_i(wdata_i),
      .s_axil_wstrb_i(wstrb_i),
      .s_axil_wvalid_i(wvalid_i),
      .s_axil_wready_o(wready),
      .s_axil_bresp_o(bresp),
      .s_axil_bvalid_o(bvalid),
      .s_axil_bready_i(bready_i),
      .s_axil_araddr_i(araddr_i),
      .s_axil_arvalid_i(arvalid_i),
      .s_axil_arready_o(arready),
      .s_axil_rdata_o(rdata),
      .s_axil_rresp_o(rresp),
      .s_axil_rvalid_o(rvalid),
      .s_axil_rready_i(rready_i)
  );

  axi_lite_rules rules (
      .clk_i,
      .rst_i(rst),
      .awaddr_i,
      .awvalid_i,
      .awready_i(awready),
      .wdata_i,
      .wstrb_i,
      .wvalid_i,
      .wready_i(wready),
      .bresp_i(bresp),
      .bvalid_i(bvalid),
      .bready_i,
      .araddr_i,
      .arvalid_i,
      .arready_i(arready),
      .rdata_i(rdata),
      .rresp_i(rresp),
      .rvalid_i(rvalid),
      .rready_i
  );

  // The pair of address and data that is held, as the manager sent it, and whether it gave its pulse.
  logic given;
  logic [7:0] offset_q;
  logic [31:0] value_q;
  logic [3:0] strobe_q;
  logic was_b_q, command;
  assign given = bvalid && !was_b_q;  // the cycle after the write
  assign command = offset_q[7:2] == REG_CONTROL[7:2] && strobe_q[0];
  always_ff @(posedge clk_i) begin
    was_b_q <= bvalid && !bready_i;
    if (awvalid_i && awready) offset_q <= awaddr_i;
    if (wvalid_i && wready) begin
      value_q  <= wdata_i;
      strobe_q <= wstrb_i;
    end
    if (rst) was_b_q <= 1'b0;
  end
  always_ff @(posedge clk_i) begin
    if (began_q) begin
      // What ties the rules' counts to the registers, for the induction.
      a_addresses : assert (rules.addresses_q == 2'(dut.address_held_q) + 2'(bvalid));
      a_words : assert (rules.words_q == 2'(dut.data_held_q) + 2'(bvalid));
      a_reads : assert (rules.reads_q == 2'(rvalid));
      a_offset : assert (!dut.address_held_q || dut.write_word_q == offset_q[7:2]);
      a_value : assert (!dut.data_held_q || {dut.wdata_q, dut.wstrb_q} == {value_q, strobe_q});
      a_start : assert (start == (given && command && value_q[0] && !value_q[1]));
      a_reset : assert (reset == (given && command && value_q[1]));
      a_okay : assert (bresp == 2'b00 && rresp == 2'b00);
    end
  end
endmodule
