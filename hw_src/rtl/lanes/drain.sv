// From the array's captured accumulators to the epilogue's lanes, a slot of LANES digit rows a
// cycle: digits are joined (an 8-bit row is lo + 16 hi) and the bias added.
//
// The drain starts the cycle after the capture and takes the group's cost (LINEAR, see
// row_parameters.sv) or ROWS / LANES cycles (attention's value product, whose digit rows are
// channel pairs in order). A slow slot lets one digit row through a cycle.
module drain
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned LANES = 4,
    localparam int unsigned SLOTS = ROWS / LANES,
    localparam int unsigned SLOT_BITS = SLOTS > 1 ? $clog2(SLOTS) : 1
) (
    input  logic                                              clk_i,
    input  logic                                              rst_i,
    input  logic                                              final_i,
    input  meta_t                                             meta_i,
    input  logic      [ TOKENS-1:0][ ROWS-1:0][ACC_BITS-1:0]  captured_i,
    // row parameters
    output logic      [ROW_GROUP_BITS-1:0]                    place_o,
    output logic      [SLOT_BITS-1:0]                         slot_o,
    input  logic                                              slow_i,
    input  logic                                              slot_last_i,
    input  logic      [  LANES-1:0]                           row_valid_i,
    input  logic      [  LANES-1:0]                           row_wide_i,
    input  lane_row_t [  LANES-1:0]                           row_i,
    // parameters of a head
    output logic      [        3:0]                           head_o,
    input  logic      [       14:0]                           head_multiplier_i,
    input  logic      [        5:0]                           head_shift_i,
    // the tile's last slot has been read
    output logic                                              tile_done_o,
    output meta_t                                             tile_meta_o,
    // lanes, three cycles after the slot, and a cycle before that lanes are in use; last_o with the
    // tile's last slot
    output logic                                              coming_o,
    output logic      [  LANES-1:0]                           valid_o,
    output meta_t                                             meta_o,
    output logic      [ TOKENS:0]                             linear_o,  // it is of a LINEAR; copies
    output logic                                              last_o,
    output lane_row_t [  LANES-1:0]                           row_o,
    output logic      [ TOKENS-1:0][LANES-1:0][        31:0]  acc_o
);
  localparam int unsigned LANE_BITS = $clog2(LANES);
  localparam int unsigned PAIR_BITS = ACC_BITS + 5;

  // Slots of the captured tile.
  logic busy_q, slow, slot_last, step, tile_last;
  meta_t meta_q;
  logic [SLOT_BITS-1:0] slot_q, slot_d;
  logic [LANE_BITS-1:0] sub_q;
  assign place_o = meta_q.rows;
  assign slot_o = slot_q;
  assign slow = meta_q.kind == KIND_LINEAR && slow_i;
  assign slot_last = meta_q.kind == KIND_LINEAR ? slot_last_i : slot_q == SLOT_BITS'(SLOTS - 1);
  assign step = !slow || sub_q == LANE_BITS'(LANES - 1);
  assign tile_last = busy_q && step && slot_last;

  always_comb begin
    slot_d = slot_q;
    if (busy_q && step) slot_d = slot_q + SLOT_BITS'(1);  // chosen late: step comes last
    if (final_i && meta_i.kind != KIND_SCORE) slot_d = '0;
  end
  always_ff @(posedge clk_i) begin
    slot_q <= slot_d;
    if (busy_q) begin
      sub_q <= slow ? sub_q + LANE_BITS'(1) : '0;
      if (tile_last) busy_q <= 1'b0;
    end
    if (final_i && meta_i.kind != KIND_SCORE) begin
      busy_q <= 1'b1;
      meta_q <= meta_i;
      sub_q  <= '0;
    end
    if (rst_i) busy_q <= 1'b0;
  end
  assign tile_done_o = tile_last;
  assign tile_meta_o = meta_q;

  // 1: the slot's sums, beside its parameters' read.
  logic [LANES-1:0] enable1_q;
  logic valid1_q, last1_q;
  (* keep = "true" *) meta_t meta1_q;  // registers instead of a shift register's LUTs
  logic [SLOT_BITS-1:0] slot1_q;
  logic [TOKENS-1:0][LANES-1:0][ACC_BITS-1:0] sum1_q;
  always_ff @(posedge clk_i) begin
    valid1_q <= busy_q && !rst_i;
    enable1_q <= slow ? LANES'(1) << sub_q : '1;
    last1_q <= tile_last;
    meta1_q <= meta_q;
    slot1_q <= slot_q;
  end
  for (genvar t = 0; t < TOKENS; t++) begin : g_slot
    logic [SLOT_BITS-1:0] slot;
    if (SLOTS > 1) begin : g_register
      replica #(
          .WIDTH(SLOT_BITS)
      ) u_slot (
          .clk_i,
          .d_i(slot_d),
          .q_o(slot)
      );
    end else begin : g_only
      assign slot = '0;
    end
    always_ff @(posedge clk_i) sum1_q[t] <= captured_i[t][32'(slot)*LANES+:LANES];
  end
  assign head_o = meta1_q.head;

  // 2: digits joined, parameters chosen.
  logic [LANES-1:0] valid2_q;
  logic last2_q, coming_q;
  (* keep = "true" *) meta_t meta2_q;
  lane_row_t [LANES-1:0] row2_q, value_row;
  logic [TOKENS-1:0][LANES-1:0][PAIR_BITS-1:0] pair2_q;
  logic value1;
  assign value1 = meta1_q.kind == KIND_VALUE;
  for (genvar l = 0; l < LANES; l++) begin : g_value_row
    // Channel of the digit pair within the attention's output; the odd lanes stay empty.
    assign value_row[l] = '{
            bias: '0,
            multiplier: head_multiplier_i,
            shift: head_shift_i,
            channel: CHANNEL_BITS'(meta1_q.head) * CHANNEL_BITS'(HEAD_DIM) +
                CHANNEL_BITS'(meta1_q.group) * CHANNEL_BITS'(ROWS / 2) +
                CHANNEL_BITS'(slot1_q) * CHANNEL_BITS'(LANES / 2) + CHANNEL_BITS'(l / 2)
        };
  end
  always_ff @(posedge clk_i) begin
    last2_q <= last1_q && valid1_q && !rst_i;
    coming_q <= valid1_q && !rst_i;
    meta2_q <= meta1_q;
    for (int unsigned l = 0; l < LANES; l++) begin
      valid2_q[l] <= valid1_q && !rst_i && enable1_q[l] && (value1 ? l % 2 == 0 : row_valid_i[l]);
      row2_q[l] <= value1 ? value_row[l] : row_i[l];
      for (int unsigned t = 0; t < TOKENS; t++) begin
        pair2_q[t][l] <= PAIR_BITS'($signed(sum1_q[t][l]));
        if (l % 2 == 0 && (value1 || row_wide_i[l])) begin
          pair2_q[t][l] <= PAIR_BITS'($signed(sum1_q[t][l])) +
              (PAIR_BITS'($signed(sum1_q[t][(l+1)%LANES])) << 4);
        end
      end
    end
  end

  assign coming_o = coming_q;

  // 3: bias added.
  always_ff @(posedge clk_i) begin
    valid_o <= rst_i ? '0 : valid2_q;
    last_o <= last2_q && !rst_i;
    meta_o <= meta2_q;
    row_o <= row2_q;
    for (int unsigned l = 0; l < LANES; l++) begin
      for (int unsigned t = 0; t < TOKENS; t++) begin
        acc_o[t][l] <= 32'($signed(pair2_q[t][l])) + row2_q[l].bias;
      end
    end
  end
  for (genvar c = 0; c <= TOKENS; c++) begin : g_copy
    replica u_linear (
        .clk_i,
        .d_i(meta2_q.kind == KIND_LINEAR),
        .q_o(linear_o[c])
    );
  end
endmodule
