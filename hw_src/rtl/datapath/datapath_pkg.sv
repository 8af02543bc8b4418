// Widths, latencies and the tag that travels with a tile through the array.
package datapath_pkg;

  // From a memory's address port to its data: the block RAM's own register and its output register.
  localparam int unsigned MEMORY_LATENCY = 2;
  // A digit row's sum: |sum| <= MAX_CHANNELS * 8 * 127 < 2^22.
  localparam int unsigned ACC_BITS = 23;
  // A score: |q . k| <= 64 * 127 * 119 < 2^20.
  localparam int unsigned SCORE_BITS = 21;
  localparam int unsigned ADDRESS_BITS = 24;
  // A row's destination channel, below MAX_CHANNELS.
  localparam int unsigned CHANNEL_BITS = 12;
  // Cycles of a requantisation lane, see requantise.sv.
  localparam int unsigned REQUANTISE_LATENCY = 10;
  // x * Dy - S1 * y inside LayerNorm: below 2^42.
  localparam int unsigned SUM_BITS = 44;

  typedef enum logic [1:0] {
    KIND_LINEAR = 2'd0,
    KIND_SCORE  = 2'd1,
    KIND_VALUE  = 2'd2
  } kind_e;

  // Groups of row parameters that are held (row_parameters.sv), and of groups that share the pass
  // over the tokens (linear_unit.sv).
  localparam int unsigned ROW_GROUPS = 16;
  localparam int unsigned BLOCK_GROUPS = 8;
  localparam int unsigned ROW_GROUP_BITS = $clog2(ROW_GROUPS);

  // Banks of LOGITS, by index: as many leave the accelerator in a beat.
  localparam int unsigned LOGIT_BANKS = 4;
  localparam int unsigned LOGIT_BANK_BITS = $clog2(LOGIT_BANKS);

  // Operations under way at once, and their tags: one more, so that a tag's tiles may still be asked
  // for when its operation is over (overlap.sv).
  localparam int unsigned TAG_BITS = 2;
  localparam int unsigned TAGS = 2 ** TAG_BITS;
  // Tiles of tokens of an operation: at most MAX_TOKENS / 2.
  localparam int unsigned TILE_BITS = 8;

  // An operation's number while it is under way, and what it waits for: tile t may be read when the
  // producer has written more than t tiles.
  typedef struct packed {
    logic [TAG_BITS-1:0] tag;
    logic chained;
    logic [TAG_BITS-1:0] producer;
  } order_t;

  // What a finished tile is and where it goes.
  typedef struct packed {
    kind_e kind;
    logic parity;  // attention: which tile buffer
    logic [3:0] head;  // attention
    logic [7:0] group;  // attention: group of rows within the head
    logic [ROW_GROUP_BITS-1:0] rows;  // LINEAR: place of its row parameters
    logic [1:0] mode;  // LINEAR: epilogue
    logic [6:0] clamp;  // LINEAR
    logic [ADDRESS_BITS-1:0] base;  // destination word of the tile's token row
    logic [4:0] tokens;  // tokens of the tile that exist
    logic group_last;  // LINEAR: last tile of its group; attention: last group of its tile
    logic tile_final;  // nothing more comes for these tokens
    logic op_last;  // last of the operation
    logic [TAG_BITS-1:0] tag;
  } meta_t;

  // What of an operation's progress is reported when a result is written.
  typedef struct packed {
    logic tile_final;
    logic op_last;
    logic [TAG_BITS-1:0] tag;
  } written_t;

  // A row's parameters as the epilogue uses them.
  typedef struct packed {
    logic signed [31:0] bias;
    logic [14:0] multiplier;
    logic [5:0] shift;
    logic [CHANNEL_BITS-1:0] channel;
  } lane_row_t;

  // Two digit rows as a multiplier takes them: w0 + w1 2^23 = {upper, sign of lower ..., lower}, with
  // upper = w1 less one where w0 is negative.
  typedef struct packed {
    logic [3:0] upper;
    logic [3:0] lower;
  } packed_digits_t;

  // Cycles by which operands of input k are delayed before a dot cell, beyond a register: a cascade
  // passes its four inputs one cycle after the other; one cycle more is inside the multipliers.
  function automatic int unsigned skew(input int unsigned k);
    skew = k % 4 < 2 ? 0 : k % 4 - 1;
  endfunction

  // Cycles of a dot cell: cascades of four, then two adder levels a register.
  function automatic int unsigned cell_latency(input int unsigned depth);
    cell_latency = 6 + ($clog2(depth / 4) + 1) / 2;
  endfunction

endpackage
