// Parameters of the weight rows of two groups: while one group computes, the next one's arrive, a
// row a beat in streaming order. Each row is filed under its digit row within the group (an 8-bit
// row under its lower digit), so that the epilogue reads LANES digit rows, a slot, at once.
//
// While filing, the slot schedule of the group is worked out. Rows of a slot go out in one cycle
// unless two of them share a memory column (channel % DEPTH), or the destination takes one at a
// time (serial_i); then the slot takes LANES cycles, a digit row each. cost_o is the group's sum:
// the issuing unit spaces its tiles by it.
module row_parameters
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned LANES = 4,
    localparam int unsigned SLOTS = ROWS / LANES,
    localparam int unsigned SLOT_BITS = SLOTS > 1 ? $clog2(SLOTS) : 1,
    localparam int unsigned COST_BITS = $clog2(ROWS) + 1
) (
    input  logic                            clk_i,
    input  logic                            rst_i,
    input  logic                            start_i,
    input  descriptor_t                     descriptor_i,
    input  logic                            serial_i,
    // row parameters, a row a beat
    input  logic                            p_valid_i,
    output logic                            p_ready_o,
    input  logic        [            127:0] p_data_i,
    output logic                            fault_o,
    output cause_e                          fault_cause_o,
    output logic        [             31:0] fault_address_o,
    // groups filed
    output logic        [              1:0] full_o,
    output logic        [1:0][COST_BITS-1:0] cost_o,
    input  logic                            release_i,
    input  logic                            release_parity_i,
    // slot schedule, same cycle
    input  logic                            parity_i,
    input  logic        [SLOT_BITS-1:0]     slot_i,
    output logic                            slow_o,
    output logic                            slot_last_o,
    // rows of a slot, the cycle after
    output logic        [LANES-1:0]         valid_o,
    output logic        [LANES-1:0]         wide_o,
    output lane_row_t   [LANES-1:0]         row_o
);
  localparam int unsigned DIGIT_BITS = $clog2(ROWS);
  localparam int unsigned LANE_BITS = $clog2(LANES);
  localparam int unsigned COLUMN_BITS = $clog2(DEPTH);

  row_t row;
  assign row = row_t'(p_data_i);

  // Filing.
  logic [12:0] number_q;  // of the row, in streaming order
  logic busy_q, side_q;
  logic [DIGIT_BITS:0] digit_q, digit_next;
  logic [COST_BITS-1:0] cost_q, cost_d;
  logic [DEPTH-1:0] seen_q, seen, column;
  logic accept, wide, group_end, clash, slow_q;
  logic [1:0] full_q;
  logic [1:0][ROWS-1:0] valid_q, wide_q;
  logic [1:0][SLOTS-1:0] slow_slots_q;
  logic [1:0][SLOT_BITS-1:0] last_slot_q;
  logic [1:0][COST_BITS-1:0] group_cost_q;
  logic [SLOT_BITS-1:0] slot;
  logic [LANE_BITS-1:0] lane;
  logic slot_begin;

  assign p_ready_o = busy_q && !full_q[side_q];
  assign accept = p_valid_i && p_ready_o;
  assign wide = 16'(number_q) < descriptor_i.rows8;
  assign digit_next = digit_q + (wide ? (DIGIT_BITS + 1)'(2) : (DIGIT_BITS + 1)'(1));
  assign lane = digit_q[LANE_BITS-1:0];
  assign slot_begin = lane == '0;
  if (SLOTS > 1) begin : g_slots
    assign slot = digit_q[DIGIT_BITS-1:LANE_BITS];
  end else begin : g_slot
    assign slot = '0;
  end
  assign group_end = digit_next == (DIGIT_BITS + 1)'(ROWS) ||
      16'(number_q) + 16'd1 == descriptor_i.outputs;
  assign seen = slot_begin ? '0 : seen_q;
  assign column = DEPTH'(1) << row.channel[COLUMN_BITS-1:0];
  assign clash = serial_i || (seen & column) != '0;

  always_comb begin
    cost_d = digit_q == '0 ? '0 : cost_q;
    if (slot_begin) cost_d += serial_i ? COST_BITS'(LANES) : COST_BITS'(1);
    else if (clash && !slow_q) cost_d += COST_BITS'(LANES - 1);
  end

  always_ff @(posedge clk_i) begin
    if (release_i) full_q[release_parity_i] <= 1'b0;
    if (accept) begin
      number_q <= number_q + 13'd1;
      seen_q <= seen | column;
      slow_q <= clash || (!slot_begin && slow_q);
      cost_q <= cost_d;
      if (digit_q == '0) begin
        valid_q[side_q] <= '0;
        wide_q[side_q] <= '0;
        slow_slots_q[side_q] <= '0;
      end
      valid_q[side_q][digit_q[DIGIT_BITS-1:0]] <= 1'b1;
      wide_q[side_q][digit_q[DIGIT_BITS-1:0]] <= wide;
      if (clash) slow_slots_q[side_q][slot] <= 1'b1;
      digit_q <= digit_next;
      if (group_end) begin
        digit_q <= '0;
        side_q <= !side_q;
        full_q[side_q] <= 1'b1;
        last_slot_q[side_q] <= slot;
        group_cost_q[side_q] <= cost_d;
        busy_q <= 16'(number_q) + 16'd1 != descriptor_i.outputs;
      end
    end
    if (start_i) begin
      busy_q <= 1'b1;
      number_q <= '0;
      digit_q <= '0;
      side_q <= 1'b0;
      full_q <= '0;
    end
    if (rst_i) begin
      busy_q <= 1'b0;
      full_q <= '0;
    end
  end
  assign full_o = full_q;
  assign cost_o = group_cost_q;

  // A row outside its ranges.
  logic bad_channel, bad_requantisation;
  assign bad_channel = row.channel >= descriptor_i.outputs;
  assign bad_requantisation = row.multiplier > 16'(MULTIPLIER_MAX) || row.shift > 8'(SHIFT_MAX);
  always_ff @(posedge clk_i) begin
    fault_o <= accept && (bad_channel || bad_requantisation) && !rst_i;
    fault_cause_o <= bad_channel ? CAUSE_BAD_RANGE : CAUSE_BAD_FIELD;
    fault_address_o <= descriptor_i.parameters + 32'(number_q) * 32'(ROW_BYTES);
  end

  // One memory a lane, a word a slot of either group.
  for (genvar l = 0; l < LANES; l++) begin : g_lane
    lane_row_t filed;
    assign filed = '{
            bias: row.bias,
            multiplier: row.multiplier[14:0],
            shift: row.shift[5:0],
            channel: row.channel[CHANNEL_BITS-1:0]
        };
    small_memory #(
        .WIDTH($bits(lane_row_t)),
        .WORDS(2 * SLOTS)
    ) u_rows (
        .clk_i,
        .raddr_i(SLOTS > 1 ? ($clog2(2 * SLOTS))'({parity_i, slot_i}) : ($clog2(
            2 * SLOTS
        ))'(parity_i)),
        .rdata_o(row_o[l]),
        .we_i(accept && lane == LANE_BITS'(l)),
        .waddr_i(SLOTS > 1 ? ($clog2(2 * SLOTS))'({side_q, slot}) : ($clog2(2 * SLOTS))'(side_q)),
        .wdata_i(filed)
    );
  end
  always_ff @(posedge clk_i) begin
    valid_o <= valid_q[parity_i][32'(slot_i)*LANES+:LANES];
    wide_o <= wide_q[parity_i][32'(slot_i)*LANES+:LANES];
  end
  assign slow_o = slow_slots_q[parity_i][slot_i];
  assign slot_last_o = slot_i == last_slot_q[parity_i];

  logic unused;
  assign unused = ^{row.reserved9, descriptor_i};
endmodule
