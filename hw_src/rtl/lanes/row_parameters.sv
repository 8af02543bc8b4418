// Parameters of the weight rows of up to ROW_GROUPS groups, of one operation and then of the next:
// while some compute, later ones arrive, a row a beat in streaming order. Each row is filed under its
// digit row within the group (an 8-bit row under its lower digit), so that the epilogue reads LANES
// digit rows, a slot, at once.
//
// Groups are filed and released in turn, so that a group's place is its number modulo ROW_GROUPS;
// filed_o counts them modulo 2 ROW_GROUPS.
//
// While filing, the slot schedule of the group is worked out. Rows of a slot go out in one cycle
// unless two of them share a memory column (channel % DEPTH; of logits channel % LOGIT_BANKS); then
// the slot takes LANES cycles, a digit row each. cost_o is the group's sum: the issuing unit spaces
// its tiles by it.
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
    // row parameters, a row a beat
    input  logic                            p_valid_i,
    output logic                            p_ready_o,
    input  logic        [            127:0] p_data_i,
    output logic                            fault_o,
    output cause_e                          fault_cause_o,
    output logic        [             31:0] fault_address_o,
    // rows are still to come
    output logic                            busy_o,
    // groups filed
    output logic [ROW_GROUP_BITS:0]         filed_o,
    output logic [ROW_GROUPS-1:0][COST_BITS-1:0] cost_o,
    input  logic                            release_i,
    // slot schedule, same cycle
    input  logic [ROW_GROUP_BITS-1:0]       place_i,
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

  // Filing. The operation's fields that this takes are kept: the next one may be handed over to
  // others when its rows are all here.
  logic [15:0] outputs_q, rows8_q;
  logic [31:0] offset_q;
  logic logits_q;
  logic [12:0] number_q;  // of the row, in streaming order
  logic busy_q;
  logic [ROW_GROUP_BITS:0] filed_q, released_q;
  logic [ROW_GROUP_BITS-1:0] place;
  logic [DIGIT_BITS:0] digit_q, digit_next, wide_end_q, wide_end;
  logic [COST_BITS-1:0] cost_q, cost_d;
  logic [DEPTH-1:0] seen_q, seen, column;
  logic accept, wide, group_end, clash, slow_q;
  logic [SLOTS-1:0] slow_slots_q, slow_slots;
  logic [SLOT_BITS-1:0] slot;
  logic [LANE_BITS-1:0] lane;
  logic slot_begin;

  assign p_ready_o = busy_q && filed_q - released_q != (ROW_GROUP_BITS + 1)'(ROW_GROUPS);
  assign accept = p_valid_i && p_ready_o;
  assign place = filed_q[ROW_GROUP_BITS-1:0];
  assign wide = 16'(number_q) < rows8_q;
  assign digit_next = digit_q + (wide ? (DIGIT_BITS + 1)'(2) : (DIGIT_BITS + 1)'(1));
  assign wide_end = wide ? digit_next : digit_q == '0 ? '0 : wide_end_q;
  assign lane = digit_q[LANE_BITS-1:0];
  assign slot_begin = lane == '0;
  if (SLOTS > 1) begin : g_slots
    assign slot = digit_q[DIGIT_BITS-1:LANE_BITS];
  end else begin : g_slot
    assign slot = '0;
  end
  assign group_end = digit_next == (DIGIT_BITS + 1)'(ROWS) ||
      16'(number_q) + 16'd1 == outputs_q;
  assign seen = slot_begin ? '0 : seen_q;
  assign column = logits_q ? DEPTH'(1) << row.channel[LOGIT_BANK_BITS-1:0] :
      DEPTH'(1) << row.channel[COLUMN_BITS-1:0];
  assign clash = (seen & column) != '0;
  always_comb begin
    slow_slots = digit_q == '0 ? '0 : slow_slots_q;
    if (clash) slow_slots[slot] = 1'b1;
    cost_d = digit_q == '0 ? '0 : cost_q;
    if (slot_begin) cost_d += COST_BITS'(1);
    else if (clash && !slow_q) cost_d += COST_BITS'(LANES - 1);
  end

  // A group: its cost, where its digit rows end and which of them are pairs, its slow slots.
  typedef struct packed {
    logic [DIGIT_BITS:0] digits;
    logic [DIGIT_BITS:0] wide;
    logic [SLOTS-1:0] slow;
  } group_t;
  group_t group_q[ROW_GROUPS];
  logic [ROW_GROUPS-1:0][COST_BITS-1:0] group_cost_q;

  always_ff @(posedge clk_i) begin
    if (release_i) released_q <= released_q + (ROW_GROUP_BITS + 1)'(1);
    if (accept) begin
      number_q <= number_q + 13'd1;
      seen_q <= seen | column;
      slow_q <= clash || (!slot_begin && slow_q);
      cost_q <= cost_d;
      slow_slots_q <= slow_slots;
      wide_end_q <= wide_end;
      digit_q <= digit_next;
      if (group_end) begin
        digit_q <= '0;
        filed_q <= filed_q + (ROW_GROUP_BITS + 1)'(1);
        group_q[place] <= '{digits: digit_next, wide: wide_end, slow: slow_slots};
        group_cost_q[place] <= cost_d;
        busy_q <= 16'(number_q) + 16'd1 != outputs_q;
      end
    end
    if (start_i) begin
      busy_q <= 1'b1;
      number_q <= '0;
      digit_q <= '0;
      outputs_q <= descriptor_i.outputs;
      rows8_q <= descriptor_i.rows8;
      offset_q <= descriptor_i.parameters;
      logits_q <= descriptor_i.mode == EPILOGUE_LOGITS;
    end
    if (rst_i) begin
      busy_q <= 1'b0;
      filed_q <= '0;
      released_q <= '0;
    end
  end
  assign busy_o  = busy_q;
  assign filed_o = filed_q;
  assign cost_o  = group_cost_q;

  // A row outside its ranges.
  logic bad_channel, bad_requantisation;
  assign bad_channel = row.channel >= outputs_q;
  assign bad_requantisation = row.multiplier > 16'(MULTIPLIER_MAX) || row.shift > 8'(SHIFT_MAX);
  always_ff @(posedge clk_i) begin
    fault_o <= accept && (bad_channel || bad_requantisation) && !rst_i;
    fault_cause_o <= bad_channel ? CAUSE_BAD_RANGE : CAUSE_BAD_FIELD;
    fault_address_o <= offset_q + 32'(number_q) * 32'(ROW_BYTES);
  end

  // One memory a lane, a word a slot.
  for (genvar l = 0; l < LANES; l++) begin : g_lane
    lane_row_t filed;
    logic [ROW_GROUP_BITS+SLOT_BITS-1:0] read_address, write_address;
    assign read_address  = {place_i, slot_i};
    assign write_address = {place, slot};
    assign filed = '{
            bias: row.bias,
            multiplier: row.multiplier[14:0],
            shift: row.shift[5:0],
            channel: row.channel[CHANNEL_BITS-1:0]
        };
    small_memory #(
        .WIDTH($bits(lane_row_t)),
        .WORDS(ROW_GROUPS << SLOT_BITS)
    ) u_rows (
        .clk_i,
        .raddr_i(read_address),
        .rdata_o(row_o[l]),
        .we_i(accept && lane == LANE_BITS'(l)),
        .waddr_i(write_address),
        .wdata_i(filed)
    );
  end

  // The upper digit of a pair has no row of its own.
  group_t group;
  logic [DIGIT_BITS:0] first;
  assign group = group_q[place_i];
  assign first = (DIGIT_BITS + 1)'(slot_i) * (DIGIT_BITS + 1)'(LANES);
  always_ff @(posedge clk_i) begin
    for (int unsigned l = 0; l < LANES; l++) begin
      wide_o[l]  <= first + (DIGIT_BITS + 1)'(l) < group.wide;
      valid_o[l] <= first + (DIGIT_BITS + 1)'(l) < group.digits &&
          (l % 2 == 0 || first + (DIGIT_BITS + 1)'(l) >= group.wide);
    end
  end
  assign slow_o = group.slow[slot_i];
  assign slot_last_o = first + (DIGIT_BITS + 1)'(LANES) >= group.digits;

  logic unused;
  assign unused = ^{row.reserved9, descriptor_i};
endmodule
