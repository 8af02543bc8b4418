// ATTENTION: the order of the array's work for a range of heads and query tokens.
//
// For each head and tile of TOKENS queries there are two products: scores (rows = keys as 8-bit
// digits, depth = 64 channels) and values (rows = 64 channels of V as digits, depth = keys, the
// softmax numerators as activations). They alternate, scores one tile ahead:
//
//   S0 S1 V0 S2 V1 S3 V2 ... V(n-1)        over all heads without a gap
//
// so that a tile's softmax has the time of a V and an S. K and V of a head lie in one half of the
// weight memory (kv_fill.sv), those of the next head are filled into the other while this one runs.
module attention_unit
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned LANES = 4,
    parameter int unsigned WADDRESS = 9,
    localparam int unsigned EADDRESS = $clog2(2 * MAX_TOKENS / DEPTH)
) (
    input  logic                       clk_i,
    input  logic                       rst_i,
    input  logic                       start_i,
    input  descriptor_t                descriptor_i,
    input  logic  [TAG_BITS-1:0]       tag_i,
    output logic                       busy_o,  // steps are left
    // K and V in the weight memory, by parity of the head
    input  logic  [         1:0]       k_full_i,
    input  logic  [         1:0]       v_full_i,
    output logic                       kv_release_o,
    // softmax
    input  logic                       score_release_i,
    input  logic                       numerators_i,
    input  logic                       softmax_parity_i,
    // to the memories and the array
    output logic                       issue_o,
    output logic                       from_numerators_o,
    output logic  [ADDRESS_BITS-1:0]   x_address_o,
    output logic  [EADDRESS-1:0]       e_address_o,
    output logic  [WADDRESS-1:0]       w_address_o,
    output logic                       first_o,
    output logic                       last_o,
    output meta_t                      meta_o
);
  localparam int unsigned KV_BEATS = 2 * MAX_TOKENS * HEAD_DIM / (ROWS * DEPTH);
  localparam int unsigned K_STEPS = HEAD_DIM / DEPTH;
  localparam int unsigned V_STEPS = MAX_TOKENS / DEPTH;  // room, not the steps taken
  localparam int unsigned V_GROUPS = 2 * HEAD_DIM / ROWS;
  localparam int unsigned SLOTS = ROWS / LANES;

  // From the cycle after start_i, when the first step may be taken.
  logic [8:0] last_tile_q, last_v_step_q, last_k_group_q;
  always_ff @(posedge clk_i) begin
    last_tile_q <= 9'((descriptor_i.tokens - 16'd1) >> $clog2(TOKENS));
    last_v_step_q <= 9'((descriptor_i.keys - 16'd1) >> $clog2(DEPTH));
    last_k_group_q <= 9'((descriptor_i.keys - 16'd1) >> $clog2(ROWS / 2));
  end

  // Where each product stands, and how many tiles the scores are ahead of the values.
  typedef struct packed {
    logic left;  // tiles are left
    logic parity;  // of the tile
    logic [3:0] head;
    logic [8:0] tile;
    logic [ADDRESS_BITS-1:0] base;  // SCORE: of Q; VALUE: of the destination
  } place_t;
  place_t s_q, v_q, here;
  logic values_q;  // the product at hand
  logic [1:0] ahead_q;
  logic [8:0] group_q, step_q;
  logic [1:0] score_busy_q, e_full_q;
  logic [$clog2(SLOTS+1)-1:0] pace_q;
  logic go, step_last, group_last, tile_done, head_done, ready, all_done, last_head;

  assign here = values_q ? v_q : s_q;
  assign step_last = step_q == (values_q ? last_v_step_q : 9'(K_STEPS - 1));
  assign group_last = group_q == (values_q ? 9'(V_GROUPS - 1) : last_k_group_q);
  assign ready = values_q ? v_full_i[v_q.head[0]] && e_full_q[v_q.parity] :
      k_full_i[s_q.head[0]] && !score_busy_q[s_q.parity];
  assign go = here.left && ready && (!values_q || !step_last || pace_q == '0);
  assign tile_done = go && step_last && group_last;
  assign head_done = here.tile == last_tile_q;
  assign last_head = 16'(here.head) + 16'd1 == descriptor_i.heads;
  assign all_done = head_done && last_head;
  assign busy_o = s_q.left || v_q.left;
  // tile_done && values_q && head_done, from what concerns the values alone: it goes far.
  assign kv_release_o = values_q && v_q.left && v_full_i[v_q.head[0]] && e_full_q[v_q.parity] &&
      pace_q == '0 && step_q == last_v_step_q && group_q == 9'(V_GROUPS - 1) &&
      v_q.tile == last_tile_q;

  place_t next;
  always_comb begin
    next = here;
    next.parity = !here.parity;
    next.tile = head_done ? '0 : here.tile + 9'd1;
    next.head = here.head + 4'(head_done);
    next.left = !all_done;
    if (values_q) begin
      next.base = head_done ? descriptor_i.destination[ADDRESS_BITS-1:0] :
          here.base + ADDRESS_BITS'(descriptor_i.destination_pitch);
    end else begin
      next.base = head_done ? descriptor_i.source[ADDRESS_BITS-1:0] :
          here.base + ADDRESS_BITS'(descriptor_i.source_pitch);
    end
  end

  always_ff @(posedge clk_i) begin
    if (pace_q != '0) pace_q <= pace_q - ($clog2(SLOTS + 1))'(1);
    if (score_release_i) score_busy_q[softmax_parity_i] <= 1'b0;
    if (numerators_i) e_full_q[softmax_parity_i] <= 1'b1;
    if (go) begin
      step_q <= step_last ? '0 : step_q + 9'd1;
      if (step_last) begin
        group_q <= group_last ? '0 : group_q + 9'd1;
        if (values_q) pace_q <= ($clog2(SLOTS + 1))'(SLOTS - 1);
      end
    end
    if (tile_done) begin
      if (values_q) begin
        v_q <= next;
        e_full_q[v_q.parity] <= 1'b0;
        ahead_q <= ahead_q - 2'd1;
        values_q <= !s_q.left;
      end else begin
        s_q <= next;
        score_busy_q[s_q.parity] <= 1'b1;
        ahead_q <= ahead_q + 2'd1;
        // After the first tile's scores come the second's; the values follow from there.
        values_q <= ahead_q == 2'd1 || !next.left;
      end
    end

    issue_o <= go;
    from_numerators_o <= values_q;
    x_address_o <= s_q.base + ADDRESS_BITS'(s_q.head) * ADDRESS_BITS'(K_STEPS) +
        ADDRESS_BITS'(step_q);
    e_address_o <= {v_q.parity, (EADDRESS - 1)'(step_q)};
    w_address_o <= WADDRESS'(here.head[0]) * WADDRESS'(2 * KV_BEATS) +
        (values_q ? WADDRESS'(KV_BEATS) + WADDRESS'(group_q) * WADDRESS'(V_STEPS) :
         WADDRESS'(group_q) * WADDRESS'(K_STEPS)) + WADDRESS'(step_q);
    first_o <= step_q == '0;
    last_o <= step_last;
    meta_o <= '{
        kind: values_q ? KIND_VALUE : KIND_SCORE,
        parity: here.parity,
        head: here.head,
        group: group_q[7:0],
        rows: '0,
        mode: EPILOGUE_REQUANTISE[1:0],
        clamp: 7'(ACTIVATION_MAX),
        base: v_q.base,
        tokens: head_done ? 5'(descriptor_i.tokens - 16'(here.tile) * 16'(TOKENS)) : 5'(TOKENS),
        group_last: group_last,
        tile_final: group_last && last_head && values_q,
        op_last: group_last && all_done && values_q,
        tag: tag_i
    };

    if (start_i) begin
      s_q <= '{left: 1'b1, parity: 1'b0, head: '0, tile: '0,
               base: descriptor_i.source[ADDRESS_BITS-1:0]};
      v_q <= '{left: 1'b1, parity: 1'b0, head: '0, tile: '0,
               base: descriptor_i.destination[ADDRESS_BITS-1:0]};
      values_q <= 1'b0;
      ahead_q <= '0;
      group_q <= '0;
      step_q <= '0;
      pace_q <= '0;
      score_busy_q <= '0;
      e_full_q <= '0;
    end
    if (rst_i) begin
      s_q.left <= 1'b0;
      v_q.left <= 1'b0;
      issue_o  <= 1'b0;
    end
  end

`ifdef VERILATOR
  released_when_done :
  assert property (@(posedge clk_i) disable iff (rst_i)
      kv_release_o == (tile_done && values_q && head_done));
`endif

  logic unused;
  assign unused = ^descriptor_i;
endmodule
