// LINEAR: walks block -> token tile -> group -> step, a step a cycle, without a bubble between tiles,
// groups or operations, and takes the weight stream into the weight memory ahead of its use.
//
// Groups of ROWS digit rows are taken in blocks of up to BLOCK_GROUPS: all groups of a block see a
// tile before the next tile comes. A tile of the source is so needed for a long time before the next
// one is, and a tile of the result is final early: LAYERNORM works in the shadow of its neighbours. A
// block is as large as half of the weight memory allows and as weights and row parameters are there
// while the block before it is under way.
//
// The weight memory is a ring of BEATS beats. A block's beats stay until its last token tile has read
// them; the stream fills what is free, of this operation and then of the next one, which may be handed
// over while this one runs (room_o). A step may be issued as soon as its own beat has arrived, and
// the first step of a tile as soon as the producer of the source has written that tile (overlap.sv).
//
// Last steps of tiles are spaced by their groups' drain cost, because the captured accumulators have
// no other protection (array.sv). While attention_i, the array belongs to ATTENTION, and of the ring
// KV_BEATS beats: the stream fills what is behind them, in cycles in which K and V are not written
// (kv_write_i: in the next one they are). attention_start_i comes when the ring is empty.
module linear_unit
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned LANES = 4,
    parameter int unsigned BEATS = 512,
    parameter int unsigned KV_BEATS = BEATS,
    parameter int unsigned COST_BITS = 5,
    localparam int unsigned WADDRESS = $clog2(BEATS)
) (
    input  logic                                                   clk_i,
    input  logic                                                   rst_i,
    input  logic                                                   start_i,
    input  descriptor_t                                            descriptor_i,
    input  order_t                                                 order_i,
    output logic                                                   room_o,
    input  logic                                                   attention_start_i,
    input  logic                                                   attention_i,
    input  logic                                                   kv_write_i,
    input  logic        [     TAGS-1:0][TILE_BITS:0]               progress_i,
    // weight stream
    input  logic                                                   w_valid_i,
    output logic                                                   w_ready_o,
    output logic                                                   fill_we_o,
    output logic        [ WADDRESS-1:0]                            fill_address_o,
    // row parameters: groups filed so far, modulo 2 ROW_GROUPS, and their costs
    input  logic        [ROW_GROUP_BITS:0]                         filed_i,
    input  logic        [ROW_GROUPS-1:0][COST_BITS-1:0]            cost_i,
    // to the memories and the array
    output logic                                                   issue_o,
    output logic        [ADDRESS_BITS-1:0]                         x_address_o,
    output logic        [ WADDRESS-1:0]                            w_address_o,
    output logic                                                   first_o,
    output logic                                                   last_o,
    output meta_t                                                  meta_o
);
  localparam int unsigned GROUP_BITS = 13;
  localparam int unsigned STEP_BITS = $clog2(MAX_CHANNELS / DEPTH) + 1;
  localparam int unsigned BLOCK_BITS = $clog2(BLOCK_GROUPS) + 1;
  localparam int unsigned OFFSET_BITS = STEP_BITS + BLOCK_BITS;

  function automatic logic [GROUP_BITS-1:0] groups_of(input logic [15:0] outputs,
                                                      input logic [15:0] rows8);
    groups_of = GROUP_BITS'((outputs + rows8 + 16'(ROWS - 1)) >> $clog2(ROWS));
  endfunction

  // ---- The operation handed over, until both sides have taken it
  descriptor_t next_q;
  order_t next_order_q;
  logic next_fill_q, next_issue_q, fill_take, issue_take;
  assign room_o = !next_fill_q && !next_issue_q && !start_i;

  // ---- Filling. A beat is counted the cycle before it is written: the read of it comes later still.
  logic filling_q, accept, fill_group_last;
  logic [STEP_BITS-1:0] fill_steps_q, fill_step_q;
  logic [GROUP_BITS-1:0] fill_left_q;
  logic [WADDRESS-1:0] fill_address_q;
  logic [WADDRESS:0] resident_q;
  assign fill_take = next_fill_q && !filling_q;
  assign w_ready_o = filling_q && !kv_write_i && resident_q <
      (attention_i ? (WADDRESS + 1)'(BEATS - KV_BEATS) : (WADDRESS + 1)'(BEATS));
  assign accept = w_valid_i && w_ready_o;
  assign fill_group_last = fill_step_q == STEP_BITS'(1);
  assign fill_we_o = accept;
  assign fill_address_o = fill_address_q;

  always_ff @(posedge clk_i) begin
    if (accept) begin
      fill_address_q <= fill_address_q + WADDRESS'(1);
      fill_step_q <= fill_group_last ? fill_steps_q : fill_step_q - STEP_BITS'(1);
      if (fill_group_last) begin
        fill_left_q <= fill_left_q - GROUP_BITS'(1);
        if (fill_left_q == GROUP_BITS'(1)) filling_q <= 1'b0;
      end
    end
    if (fill_take) begin
      filling_q <= 1'b1;
      fill_steps_q <= STEP_BITS'(next_q.inputs >> $clog2(DEPTH));
      fill_step_q <= STEP_BITS'(next_q.inputs >> $clog2(DEPTH));
      fill_left_q <= groups_of(next_q.outputs, next_q.rows8);
    end
    if (attention_start_i) fill_address_q <= WADDRESS'(KV_BEATS);
    if (rst_i) begin
      filling_q <= 1'b0;
      fill_address_q <= '0;
    end
  end

  // ---- Issuing
  typedef enum logic [1:0] {
    IDLE,
    MEASURE,
    PLAN,
    RUN
  } state_e;
  state_e state_q;
  descriptor_t d_q;
  order_t order_q;
  logic go, step_last, member_last, tile_last, block_last, member_ready, block_end;
  logic [STEP_BITS-1:0] steps_q, step_q;
  logic [OFFSET_BITS-1:0] offset_q;  // of the step within the block's beats
  logic [OFFSET_BITS-1:0] beats_q[BLOCK_GROUPS+1];  // of blocks by size
  logic [BLOCK_BITS-1:0] member_q, size_q, plan_q, plan_d;
  logic [TILE_BITS-1:0] tile_q, tiles_q;
  logic [GROUP_BITS-1:0] left_q;  // groups after this block
  logic [WADDRESS-1:0] base_q;
  logic [ROW_GROUP_BITS:0] rows_q;  // groups before this block, as filed_i counts
  logic [ROW_GROUP_BITS:0] filed;
  logic [ROW_GROUP_BITS-1:0] place;
  logic [COST_BITS-1:0] pace_q;
  logic tile_ready_q, next_ready_q, tile_end, plan_ready_q;
  logic [ADDRESS_BITS-1:0] source_q, destination_q;

  assign filed = filed_i - rows_q;
  assign place = rows_q[ROW_GROUP_BITS-1:0] + ROW_GROUP_BITS'(member_q);
  assign member_ready = (ROW_GROUP_BITS + 1)'(member_q) < filed;
  assign step_last = step_q + STEP_BITS'(1) == steps_q;
  assign member_last = member_q + BLOCK_BITS'(1) == size_q;
  assign tile_last = tile_q + TILE_BITS'(1) == tiles_q;
  assign block_last = left_q == '0;
  assign go = state_q == RUN && !attention_i && 32'(offset_q) < 32'(resident_q) && tile_ready_q &&
      (!step_last || (member_ready && pace_q == '0 && plan_ready_q));
  assign tile_end = go && step_last && member_last;
  assign block_end = tile_end && tile_last;
  assign issue_take = next_issue_q && (state_q == IDLE || (block_end && block_last));

  // The next block's size, from what is left and there beyond the current block.
  logic [ROW_GROUP_BITS:0] rows_beyond;
  logic [WADDRESS:0] beats_beyond;
  assign rows_beyond = filed > (ROW_GROUP_BITS + 1)'(size_q) ?
      filed - (ROW_GROUP_BITS + 1)'(size_q) : '0;
  assign beats_beyond = 32'(resident_q) > 32'(beats_q[size_q]) ?
      resident_q - (WADDRESS + 1)'(beats_q[size_q]) : '0;
  always_comb begin
    plan_d = BLOCK_BITS'(1);
    for (int unsigned k = 2; k <= BLOCK_GROUPS; k++) begin
      if (GROUP_BITS'(k) <= left_q && 32'(beats_q[k]) <= BEATS / 2 &&
          (ROW_GROUP_BITS + 1)'(k) <= rows_beyond &&
          32'(beats_q[k]) <= 32'(beats_beyond)) begin
        plan_d = BLOCK_BITS'(k);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    resident_q <= resident_q + (WADDRESS + 1)'(accept) -
        (block_end ? (WADDRESS + 1)'(beats_q[size_q]) : '0);
    plan_q <= plan_d;
    plan_ready_q <= state_q == RUN && !block_end;

    // The source's tiles. next_ready_q may be too careful in the cycles after a tile's end.
    if (order_q.chained) begin
      if (progress_i[order_q.producer] > (TILE_BITS + 1)'(tile_q)) tile_ready_q <= 1'b1;
      next_ready_q <= !tile_end && progress_i[order_q.producer] > (TILE_BITS + 1)'(tile_q) +
          (TILE_BITS + 1)'(1);
    end
    if (tile_end && !tile_last) tile_ready_q <= next_ready_q || !order_q.chained;

    if (pace_q != '0) pace_q <= pace_q - COST_BITS'(1);
    if (attention_i) pace_q <= COST_BITS'(ROWS / LANES);
    if (go) begin
      step_q   <= step_last ? '0 : step_q + STEP_BITS'(1);
      offset_q <= tile_end ? '0 : offset_q + OFFSET_BITS'(1);
      if (step_last) begin
        pace_q   <= cost_i[place] - COST_BITS'(1);
        member_q <= member_last ? '0 : member_q + BLOCK_BITS'(1);
      end
      if (tile_end) begin
        tile_q <= tile_last ? '0 : tile_q + TILE_BITS'(1);
        source_q <= tile_last ? d_q.source[ADDRESS_BITS-1:0] :
            source_q + ADDRESS_BITS'(d_q.source_pitch);
        destination_q <= tile_last ? d_q.destination[ADDRESS_BITS-1:0] :
            destination_q + ADDRESS_BITS'(d_q.destination_pitch);
      end
      if (block_end) begin
        base_q <= base_q + WADDRESS'(beats_q[size_q]);
        rows_q <= rows_q + (ROW_GROUP_BITS + 1)'(size_q);
        size_q <= plan_q;
        left_q <= left_q - GROUP_BITS'(plan_q);
        if (block_last) state_q <= IDLE;
      end
    end

    case (state_q)
      MEASURE: begin
        for (int unsigned k = 0; k <= BLOCK_GROUPS; k++) begin
          beats_q[k] <= OFFSET_BITS'(k) * OFFSET_BITS'(steps_q);
        end
        state_q <= PLAN;
      end
      PLAN:
      if (!attention_i && tile_ready_q && filed != '0 && resident_q != '0) begin
        // Nothing is before the first block: size_q is 0 here.
        size_q  <= plan_d;
        left_q  <= left_q - GROUP_BITS'(plan_d);
        state_q <= RUN;
      end
      default: ;
    endcase
    if (issue_take) begin
      state_q <= MEASURE;
      d_q <= next_q;
      order_q <= next_order_q;
      steps_q <= STEP_BITS'(next_q.inputs >> $clog2(DEPTH));
      tiles_q <= TILE_BITS'((next_q.tokens + 16'(TOKENS - 1)) >> $clog2(TOKENS));
      left_q <= groups_of(next_q.outputs, next_q.rows8);
      size_q <= '0;
      source_q <= next_q.source[ADDRESS_BITS-1:0];
      destination_q <= next_q.destination[ADDRESS_BITS-1:0];
      tile_ready_q <= !next_order_q.chained;
      next_ready_q <= 1'b0;
    end

    issue_o <= go;
    x_address_o <= source_q + ADDRESS_BITS'(step_q);
    w_address_o <= base_q + WADDRESS'(offset_q);
    first_o <= step_q == '0;
    last_o <= step_last;
    meta_o <= '{
        kind: KIND_LINEAR,
        parity: 1'b0,
        head: '0,
        group: '0,
        rows: place,
        mode: d_q.mode[1:0],
        clamp: d_q.clamp[6:0],
        base: destination_q,
        tokens: tile_last ? 5'(d_q.tokens - 16'(tile_q) * 16'(TOKENS)) : 5'(TOKENS),
        group_last: tile_last,
        tile_final: block_last && member_last,
        op_last: tile_last && block_last && member_last,
        tag: order_q.tag
    };

    if (attention_start_i) base_q <= WADDRESS'(KV_BEATS);
    if (fill_take) next_fill_q <= 1'b0;
    if (issue_take) next_issue_q <= 1'b0;
    if (start_i) begin
      next_q <= descriptor_i;
      next_order_q <= order_i;
      next_fill_q <= 1'b1;
      next_issue_q <= 1'b1;
    end
    if (rst_i) begin
      state_q <= IDLE;
      issue_o <= 1'b0;
      next_fill_q <= 1'b0;
      next_issue_q <= 1'b0;
      resident_q <= '0;
      base_q <= '0;
      rows_q <= '0;
      pace_q <= '0;
      step_q <= '0;
      offset_q <= '0;
      member_q <= '0;
      tile_q <= '0;
    end
  end

`ifdef VERILATOR
  handed_over_twice :
  assert property (@(posedge clk_i) disable iff (rst_i)
      start_i |-> !next_fill_q && !next_issue_q);
  ring_in_use :
  assert property (@(posedge clk_i) disable iff (rst_i)
      attention_start_i |-> resident_q == '0 && !accept && state_q == IDLE);
`endif

  logic unused;
  assign unused = ^{descriptor_i, next_q, d_q, order_i};
endmodule
