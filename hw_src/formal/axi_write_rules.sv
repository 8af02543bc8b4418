// The rules of an AXI4 write port (AMBA IHI 0022), for proofs: those of the manager are asserted and
// those of the subordinate assumed, or the reverse with MANAGER = 0.
//
//   stability     what is offered stays, valid and payload, until it is accepted
//   bursts        INCR of whole beats, aligned, within 4 KiB; WLAST at the burst's last beat, which is
//                 checked for one burst, whichever: number `watched_i` of those that were offered
//   answers       B only for a burst whose address and data were accepted
//   outstanding   at most OUTSTANDING bursts without their answer
module axi_write_rules #(
    parameter bit MANAGER = 1'b1,
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
    output logic [7:0] bursts_o,  // bursts whose data were accepted
    output logic [7:0] answers_o
);
  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);

  // What the last cycle was, to compare with.
  logic past_q, aw_waits_q, w_waits_q, b_waits_q;
  logic [63:0] awaddr_q;
  logic [7:0] awlen_q, watched_q;
  logic [PORT_BITS-1:0] wdata_q;
  logic [PORT_BITS/8-1:0] wstrb_q;
  logic wlast_q;
  logic [1:0] bresp_q;
  // The watched burst: its length once its address is there, the beats that were sent of it.
  logic known_q;
  logic [7:0] length_q, beat_q;
  logic [7:0] sent_q;  // beats of the watched burst when its last one went
  logic ended_q;

  initial past_q = 1'b0;
  always_ff @(posedge clk_i) begin
    past_q <= !rst_i;
    aw_waits_q <= awvalid_i && !awready_i;
    w_waits_q <= wvalid_i && !wready_i;
    b_waits_q <= bvalid_i && !bready_i;
    awaddr_q <= awaddr_i;
    awlen_q <= awlen_i;
    watched_q <= watched_i;
    wdata_q <= wdata_i;
    wstrb_q <= wstrb_i;
    wlast_q <= wlast_i;
    bresp_q <= bresp_i;
    if (awvalid_i && awready_i) begin
      addresses_o <= addresses_o + 8'd1;
      if (addresses_o == watched_i) begin
        known_q  <= 1'b1;
        length_q <= awlen_i;
      end
    end
    if (wvalid_i && wready_i) begin
      if (wlast_i) bursts_o <= bursts_o + 8'd1;
      if (bursts_o == watched_i) begin
        beat_q <= beat_q + 8'd1;
        if (wlast_i) begin
          ended_q <= 1'b1;
          sent_q  <= beat_q;
        end
      end
    end
    if (bvalid_i && bready_i) answers_o <= answers_o + 8'd1;
    if (rst_i) begin
      {addresses_o, bursts_o, answers_o, beat_q} <= '0;
      {known_q, ended_q} <= '0;
    end
  end

  logic stable_address, stable_data, stable_answer, legal_address, last_is_last, answered, bounded;
  assign stable_address = !aw_waits_q || (awvalid_i && awaddr_i == awaddr_q && awlen_i == awlen_q);
  assign stable_data = !w_waits_q ||
      (wvalid_i && wdata_i == wdata_q && wstrb_i == wstrb_q && wlast_i == wlast_q);
  assign stable_answer = !b_waits_q || (bvalid_i && bresp_i == bresp_q);
  assign legal_address = !awvalid_i || (awsize_i == 3'(SIZE) && awburst_i == 2'b01 &&
      awaddr_i[SIZE-1:0] == '0 &&
      32'(awaddr_i[11:0]) + ((32'(awlen_i) + 32'd1) << SIZE) <= 32'd4096);
  assign last_is_last = !(known_q && ended_q) || sent_q == length_q;
  // Addresses and data that were accepted before this cycle.
  assign answered = !bvalid_i || (answers_o < addresses_o && answers_o < bursts_o);
  assign bounded = 32'(addresses_o - answers_o) <= OUTSTANDING;

  logic began_q;
  initial began_q = 1'b0;
  always_ff @(posedge clk_i) begin
    began_q <= 1'b1;
    if (began_q) assume (watched_i == watched_q);
  end

  if (MANAGER) begin : g_manager
    always_ff @(posedge clk_i) begin
      if (past_q && !rst_i) begin
        a_stable_address : assert (stable_address);
        a_stable_data : assert (stable_data);
        a_legal_address : assert (legal_address);
        a_last_is_last : assert (last_is_last);
        a_bounded : assert (bounded);
        m_stable_answer : assume (stable_answer);
        m_answered : assume (answered);
      end
    end
  end else begin : g_subordinate
    always_ff @(posedge clk_i) begin
      if (past_q && !rst_i) begin
        m_stable_address : assume (stable_address);
        m_stable_data : assume (stable_data);
        m_legal_address : assume (legal_address);
        m_last_is_last : assume (last_is_last);
        a_stable_answer : assert (stable_answer);
        a_answered : assert (answered);
      end
    end
  end
endmodule
