// The rules of an AXI4 write port (AMBA IHI 0022), for proofs about a manager: its own are asserted,
// those of the subordinate assumed.
//
//   stability     what is offered stays, valid and payload, until it is accepted
//   bursts        INCR of whole beats, aligned, within 4 KiB; WLAST at the burst's last beat, which is
//                 checked for one burst, whichever: number `watched_i` of those that were offered
//   answers       B only for a burst whose address and data were accepted
//   outstanding   at most OUTSTANDING bursts without their answer
module axi_write_rules
  import rules_pkg::*;
#(
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned OUTSTANDING = 16
) (
    input logic clk_i,
    input logic rst_i,
    input logic [7:0] watched_i,  // constant
    input logic [63:0] awaddr_i,
    input logic [7:0] awlen_i,
    input logic [2:0] awsize_i,
    input logic [1:0] awburst_i,
    input logic awvalid_i,
    input logic awready_i,
    input logic [PORT_BITS-1:0] wdata_i,
    input logic [PORT_BITS/8-1:0] wstrb_i,
    input logic wlast_i,
    input logic wvalid_i,
    input logic wready_i,
    input logic [1:0] bresp_i,
    input logic bvalid_i,
    input logic bready_i,
    output logic [7:0] addresses_o,  // bursts whose address was accepted
    output logic [7:0] answers_o
);
  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);

  stable_offer #(
      .WIDTH(72)
  ) stable_address (
      .clk_i,
      .rst_i,
      .valid_i(awvalid_i),
      .ready_i(awready_i),
      .payload_i({awaddr_i, awlen_i})
  );
  stable_offer #(
      .WIDTH(PORT_BITS + PORT_BITS / 8 + 1)
  ) stable_data (
      .clk_i,
      .rst_i,
      .valid_i(wvalid_i),
      .ready_i(wready_i),
      .payload_i({wdata_i, wstrb_i, wlast_i})
  );
  stable_offer #(
      .ASSUMED(1'b1),
      .WIDTH(2)
  ) stable_answer (
      .clk_i,
      .rst_i,
      .valid_i(bvalid_i),
      .ready_i(bready_i),
      .payload_i(bresp_i)
  );

  // The watched burst: its length once its address is there, and how many beats its data had.
  logic known_q, ended_q;
  logic [7:0] length_q, beat_q, sent_q;
  logic [7:0] bursts_q;  // bursts whose data were accepted
  logic began_q;
  logic [7:0] watched_q;

  initial began_q = 1'b0;
  always_ff @(posedge clk_i) begin
    began_q   <= 1'b1;
    watched_q <= watched_i;
    if (awvalid_i && awready_i) begin
      addresses_o <= addresses_o + 8'd1;
      if (addresses_o == watched_i) begin
        known_q  <= 1'b1;
        length_q <= awlen_i;
      end
    end
    if (wvalid_i && wready_i) begin
      if (wlast_i) bursts_q <= bursts_q + 8'd1;
      if (bursts_q == watched_i) begin
        beat_q <= beat_q + 8'd1;
        if (wlast_i) begin
          ended_q <= 1'b1;
          sent_q  <= beat_q;
        end
      end
    end
    if (bvalid_i && bready_i) answers_o <= answers_o + 8'd1;
    if (rst_i) begin
      {addresses_o, bursts_q, answers_o, beat_q} <= '0;
      {known_q, ended_q} <= '0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (began_q) assume (watched_i == watched_q);
    if (began_q && !rst_i) begin
      a_legal_address :
      assert (!awvalid_i || (awsize_i == 3'(SIZE) && awburst_i == 2'b01 &&
          legal_burst(awaddr_i, awlen_i, SIZE)));
      a_last_is_last : assert (!(known_q && ended_q) || sent_q == length_q);
      a_bounded : assert (32'(addresses_o - answers_o) <= OUTSTANDING);
      // Only for an address and data that were accepted before this cycle.
      m_answered : assume (!bvalid_i || (answers_o < addresses_o && answers_o < bursts_q));
    end
  end
endmodule
