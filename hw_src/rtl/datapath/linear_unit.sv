// LINEAR: walks block -> token tile -> group -> step, one step per cycle, without a bubble between
// tiles, groups or operations, and takes the weight stream into the weight memory ahead of its use.
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
// The first group of an operation begins before it is known how large its block is: that is needed
// at the group's last step only.
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
  localparam int unsigned BEAT_BITS = STEP_BITS + BLOCK_BITS;
  localparam int unsigned COUNT_BITS = WADDRESS + 1;  // beats in the ring
  localparam int unsigned FREE_BEATS = BEATS - KV_BEATS;  // what ATTENTION leaves
  if (BLOCK_GROUPS != 8) begin : g_bad_block
    $error("multiples of a group's steps are written out for blocks of up to eight");
  end

  // k n, with one adder.
  function automatic logic [BEAT_BITS-1:0] multiple(input int unsigned k,
                                                    input logic [STEP_BITS-1:0] n);
    logic [BEAT_BITS-1:0] one;
    one = BEAT_BITS'(n);
    case (k)
      0: multiple = '0;
      3: multiple = (one << 1) + one;
      5: multiple = (one << 2) + one;
      6: multiple = (one << 2) + (one << 1);
      7: multiple = (one << 3) - one;
      default: multiple = one << $clog2(k);
    endcase
  endfunction

  // ---- The operation handed over, until both sides have taken it
  descriptor_t next_q;
  order_t next_order_q;
  logic next_fill_q, next_issue_q, fill_take, issue_take;
  logic [STEP_BITS-1:0] next_steps_q;
  logic [TILE_BITS-1:0] next_tiles_q;
  logic [GROUP_BITS-1:0] next_groups_q;
  assign room_o = !next_fill_q && !next_issue_q;  // not to be looked at beside start_i

  // ---- Filling. A beat is counted the cycle before it is written: the read of it comes later still.
  logic filling_q, accept, fill_group_last_q, fill_one_step_q, fill_last_q;
  logic room_q, room_now, room_less;
  logic [STEP_BITS-1:0] fill_steps_q, fill_step_q;
  logic [GROUP_BITS-1:0] fill_left_q;
  logic [WADDRESS-1:0] fill_address_q;
  logic [COUNT_BITS-1:0] resident_q;  // beats from the block's first one on
  assign fill_take = next_fill_q && !filling_q;
  assign w_ready_o = filling_q && !kv_write_i && room_q;
  assign accept = w_valid_i && w_ready_o;
  assign fill_we_o = accept;
  assign fill_address_o = fill_address_q;
  // Room for one more, and for one beside the one that is taken now; what a block's end frees counts
  // a cycle later.
  logic free_now, free_less;
  if (FREE_BEATS > 1) begin : g_free
    assign free_now  = resident_q < COUNT_BITS'(FREE_BEATS);
    assign free_less = resident_q < COUNT_BITS'(FREE_BEATS - 1);
  end else begin : g_none_free
    assign {free_now, free_less} = '0;
  end
  assign room_now  = attention_i ? free_now : resident_q < COUNT_BITS'(BEATS);
  assign room_less = attention_i ? free_less : resident_q < COUNT_BITS'(BEATS - 1);

  always_ff @(posedge clk_i) begin
    room_q <= accept ? room_less : room_now;
    if (attention_start_i) room_q <= 1'b0;
    if (accept) begin
      fill_address_q <= fill_address_q + WADDRESS'(1);
      fill_step_q <= fill_group_last_q ? fill_steps_q : fill_step_q - STEP_BITS'(1);
      fill_group_last_q <= fill_group_last_q ? fill_one_step_q : fill_step_q == STEP_BITS'(2);
      if (fill_group_last_q) begin
        fill_left_q <= fill_left_q - GROUP_BITS'(1);
        fill_last_q <= fill_left_q == GROUP_BITS'(2);
        if (fill_last_q) filling_q <= 1'b0;
      end
    end
    if (fill_take) begin
      filling_q <= 1'b1;
      fill_steps_q <= next_steps_q;
      fill_step_q <= next_steps_q;
      fill_one_step_q <= next_steps_q == STEP_BITS'(1);
      fill_group_last_q <= next_steps_q == STEP_BITS'(1);
      fill_left_q <= next_groups_q;
      fill_last_q <= next_groups_q == GROUP_BITS'(1);
    end
    if (attention_start_i) fill_address_q <= WADDRESS'(KV_BEATS);
    if (rst_i) begin
      filling_q <= 1'b0;
      fill_address_q <= '0;
    end
  end

  // ---- Issuing. What a step depends on is known in flags, a cycle ahead where it is exact and later
  // where lateness costs nothing: last steps are ROWS / LANES cycles apart at least.
  logic run_q;
  descriptor_t d_q;
  order_t order_q;
  logic go, group_end, tile_end, block_end, op_end;
  logic step_last_q, one_step_q, member_last_q, one_member_q, tile_last_q, one_tile_q, block_last_q;
  logic [STEP_BITS-1:0] step_q, steps_less_2_q;
  logic [BLOCK_BITS-1:0] member_q, size_less_2_q;
  logic [TILE_BITS-1:0] tile_q, tiles_less_2_q;
  logic there_q;  // this step's beat is
  logic tile_ready_q, next_ready_q;  // this tile of the source is, and the next one
  logic last_ok_q;  // a last step may be issued
  logic moved_q;  // the group is another one since this cycle
  logic [COST_BITS-1:0] pace_q, cost_q;
  logic [ROW_GROUP_BITS:0] block_place_q, place_q;  // as filed_i counts: the block's first, this group
  logic [WADDRESS-1:0] base_q, address_q;
  logic [ADDRESS_BITS-1:0] source_q, destination_q;
  logic [4:0] last_tokens_q;  // of the last tile

  assign go = run_q && there_q && tile_ready_q && (!step_last_q || last_ok_q);
  assign group_end = go && step_last_q;
  assign tile_end = group_end && member_last_q;
  assign block_end = tile_end && tile_last_q;
  assign op_end = block_end && block_last_q;
  assign issue_take = next_issue_q && (!run_q || op_end);

  // The beats that are there: from this step on, and behind this block.
  logic [COUNT_BITS-1:0] ahead_q;
  logic signed [COUNT_BITS:0] beyond_q;

  // The next block's size, from what is left and there beyond the current block. Both only grow, so
  // that two registers on the way make it careful, never wrong. first_q: the operation's first block
  // has no size yet; its first group is under way nevertheless.
  logic first_q, adopt, advance;
  logic [1:0] fresh_q;  // cycles since a block took its size: the plan is of this block when both are
  logic [GROUP_BITS-1:0] left_q;  // groups after this block
  logic [ROW_GROUP_BITS:0] beyond_place_q, rows_beyond;  // first group after this block
  logic [BEAT_BITS-1:0] beats_q[BLOCK_GROUPS+1];  // of blocks by size
  logic [BLOCK_GROUPS:0] fits_q, left_is_q;
  logic none_left_q;
  logic [BLOCK_BITS-1:0] plan_d, plan_q;
  logic [COUNT_BITS-1:0] plan_beats_d, plan_beats_q;
  logic plan_last_d, plan_last_q;
  assign rows_beyond = filed_i - beyond_place_q;  // modulo 2 ROW_GROUPS; -1: not even this block's
  assign adopt = first_q && fresh_q[1] && there_q && tile_ready_q;
  assign advance = adopt || block_end;
  always_comb begin
    plan_d = none_left_q ? '0 : BLOCK_BITS'(1);
    plan_beats_d = none_left_q ? '0 : COUNT_BITS'(beats_q[1]);
    plan_last_d = left_is_q[1];
    for (int unsigned k = 2; k <= BLOCK_GROUPS; k++) begin
      if (fits_q[k]) begin
        plan_d = BLOCK_BITS'(k);
        plan_beats_d = COUNT_BITS'(beats_q[k]);
        plan_last_d = left_is_q[k];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int unsigned k = 0; k <= BLOCK_GROUPS; k++) begin
      fits_q[k] <= GROUP_BITS'(k) <= left_q && 32'(beats_q[k]) <= BEATS / 2 &&
          rows_beyond != '1 && (ROW_GROUP_BITS + 1)'(k) <= rows_beyond &&
          $signed((COUNT_BITS + 2)'(beats_q[k])) <= (COUNT_BITS + 2)'(beyond_q);
      left_is_q[k] <= left_q == GROUP_BITS'(k);
    end
    none_left_q <= left_q == '0;
    plan_q <= plan_d;
    plan_beats_q <= plan_beats_d;
    plan_last_q <= plan_last_d;
    fresh_q <= advance || issue_take ? '0 : {fresh_q[0], 1'b1};

    // The ring.
    resident_q <= (block_end ? COUNT_BITS'(beyond_q) : resident_q) + COUNT_BITS'(accept);
    beyond_q <= beyond_q - (advance ? (COUNT_BITS + 1)'(plan_beats_q) : '0) +
        (COUNT_BITS + 1)'(accept);
    there_q <= !attention_i && ahead_q != '0;
    if (go) begin
      there_q <= tile_end ? !tile_last_q || beyond_q > 0 : ahead_q > COUNT_BITS'(1);
    end
    if (block_end) ahead_q <= COUNT_BITS'(beyond_q) + COUNT_BITS'(accept);
    else if (tile_end) ahead_q <= resident_q + COUNT_BITS'(accept);
    else ahead_q <= ahead_q - COUNT_BITS'(go) + COUNT_BITS'(accept);

    // The source's tiles. next_ready_q may be too careful in the cycles after a tile's end.
    if (order_q.chained) begin
      if (progress_i[order_q.producer] > (TILE_BITS + 1)'(tile_q)) tile_ready_q <= 1'b1;
      next_ready_q <= !tile_end && progress_i[order_q.producer] > (TILE_BITS + 1)'(tile_q) +
          (TILE_BITS + 1)'(1);
    end
    if (tile_end && !tile_last_q) tile_ready_q <= next_ready_q || !order_q.chained;

    // Last steps: when the group's row parameters are there, after the drain of the one before, and,
    // since it may be a block's last, when the next block has a size.
    moved_q <= group_end;
    cost_q <= cost_i[place_q[ROW_GROUP_BITS-1:0]];
    last_ok_q <= !group_end && !moved_q && pace_q <= COST_BITS'(1) && filed_i != place_q &&
        fresh_q[0] && !first_q;
    if (group_end) pace_q <= cost_q - COST_BITS'(1);
    else if (pace_q != '0) pace_q <= pace_q - COST_BITS'(1);
    if (attention_i) pace_q <= COST_BITS'(ROWS / LANES);

    if (go) begin
      step_q <= step_last_q ? '0 : step_q + STEP_BITS'(1);
      step_last_q <= step_last_q ? one_step_q : step_q == steps_less_2_q;
      address_q <= tile_end && !tile_last_q ? base_q : address_q + WADDRESS'(1);
    end
    if (group_end) begin
      place_q <= tile_end && !tile_last_q ? block_place_q : place_q + (ROW_GROUP_BITS + 1)'(1);
      member_q <= member_last_q ? '0 : member_q + BLOCK_BITS'(1);
      member_last_q <= member_last_q ? one_member_q : member_q == size_less_2_q;
    end
    if (tile_end) begin
      tile_q <= tile_last_q ? '0 : tile_q + TILE_BITS'(1);
      tile_last_q <= tile_last_q ? one_tile_q : tile_q == tiles_less_2_q;
      source_q <= tile_last_q ? d_q.source[ADDRESS_BITS-1:0] :
          source_q + ADDRESS_BITS'(d_q.source_pitch);
      destination_q <= tile_last_q ? d_q.destination[ADDRESS_BITS-1:0] :
          destination_q + ADDRESS_BITS'(d_q.destination_pitch);
    end
    if (block_end) begin
      base_q <= address_q + WADDRESS'(1);
      block_place_q <= beyond_place_q;
    end
    if (op_end) run_q <= 1'b0;
    if (advance) begin
      first_q <= 1'b0;
      left_q <= left_q - GROUP_BITS'(plan_q);
      beyond_place_q <= beyond_place_q + (ROW_GROUP_BITS + 1)'(plan_q);
      block_last_q <= plan_last_q;
      member_last_q <= plan_q == BLOCK_BITS'(1);
      one_member_q <= plan_q == BLOCK_BITS'(1);
      size_less_2_q <= plan_q - BLOCK_BITS'(2);
    end
    if (issue_take) begin
      run_q <= 1'b1;
      first_q <= 1'b1;
      d_q <= next_q;
      order_q <= next_order_q;
      step_last_q <= next_steps_q == STEP_BITS'(1);
      one_step_q <= next_steps_q == STEP_BITS'(1);
      steps_less_2_q <= next_steps_q - STEP_BITS'(2);
      tile_last_q <= next_tiles_q == TILE_BITS'(1);
      one_tile_q <= next_tiles_q == TILE_BITS'(1);
      tiles_less_2_q <= next_tiles_q - TILE_BITS'(2);
      last_tokens_q <= 5'((next_q.tokens - 16'd1) & 16'(TOKENS - 1)) + 5'd1;
      for (int unsigned k = 0; k <= BLOCK_GROUPS; k++) beats_q[k] <= multiple(k, next_steps_q);
      left_q <= next_groups_q;
      source_q <= next_q.source[ADDRESS_BITS-1:0];
      destination_q <= next_q.destination[ADDRESS_BITS-1:0];
      tile_ready_q <= !next_order_q.chained;
      next_ready_q <= 1'b0;
    end

    // The flags of tile and block hold in last steps, the only ones in which they are looked at.
    issue_o <= go;
    x_address_o <= source_q + ADDRESS_BITS'(step_q);
    w_address_o <= address_q;
    first_o <= step_q == '0;
    last_o <= step_last_q;
    meta_o <= '{
        kind: KIND_LINEAR,
        parity: 1'b0,
        head: '0,
        group: '0,
        rows: place_q[ROW_GROUP_BITS-1:0],
        mode: d_q.mode[1:0],
        clamp: d_q.clamp[6:0],
        base: destination_q,
        tokens: tile_last_q ? last_tokens_q : 5'(TOKENS),
        group_last: tile_last_q,
        tile_final: block_last_q && member_last_q,
        op_last: tile_last_q && block_last_q && member_last_q,
        tag: order_q.tag
    };

    if (attention_start_i) begin
      base_q <= WADDRESS'(KV_BEATS);
      address_q <= WADDRESS'(KV_BEATS);
    end
    if (fill_take) next_fill_q <= 1'b0;
    if (issue_take) next_issue_q <= 1'b0;
    if (start_i) begin
      next_q <= descriptor_i;
      next_order_q <= order_i;
      next_fill_q <= 1'b1;
      next_issue_q <= 1'b1;
      next_steps_q <= STEP_BITS'(descriptor_i.inputs >> $clog2(DEPTH));
      next_tiles_q <= TILE_BITS'((descriptor_i.tokens + 16'(TOKENS - 1)) >> $clog2(TOKENS));
      next_groups_q <= GROUP_BITS'((descriptor_i.outputs + descriptor_i.rows8 + 16'(ROWS - 1)) >>
                                   $clog2(ROWS));
    end
    if (rst_i) begin
      run_q <= 1'b0;
      first_q <= 1'b0;
      issue_o <= 1'b0;
      next_fill_q <= 1'b0;
      next_issue_q <= 1'b0;
      resident_q <= '0;
      ahead_q <= '0;
      beyond_q <= '0;
      there_q <= 1'b0;
      base_q <= '0;
      address_q <= '0;
      place_q <= '0;
      block_place_q <= '0;
      beyond_place_q <= '0;
      left_q <= '0;
      pace_q <= '0;
      step_q <= '0;
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
      attention_start_i |-> resident_q == '0 && !accept && !run_q);
`endif

  logic unused;
  assign unused = ^{descriptor_i, next_q, d_q, order_i};
endmodule
