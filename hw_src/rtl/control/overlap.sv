// Which operations may be under way together, and what they wait for.
//
// Operations of the datapath are handed over in the order of the table. The next one may begin while
// up to two before it are under way, if its parameters can be taken (all those before were) and if it
// is one of these; P is the operation right before it:
//
//   LAYERNORM after a LINEAR that adds to the residual      waits for P's tiles
//   LINEAR after LAYERNORM                                  waits for P's tiles
//   LINEAR after LINEAR or ATTENTION, nothing else under way waits for P's tiles, or reads elsewhere
//
// Waiting for P's tiles (chained) means that both see the same tokens in the same place: same base and
// pitch, no row of tokens longer than the pitch, at most as many tokens. Then tile t is whole and
// final when P has written t + 1 tiles, which are counted here (progress_o) where they arrive in
// memory, and nothing else of P's is ever read.
//
// Why nothing is overwritten that is still to be read, and nothing is written in the wrong order:
//   array       LINEAR and ATTENTION issue their reads one after the other, each before its own
//               results; results of all operations leave through one pipeline in that order. So a
//               LINEAR's results never overtake reads or results of a LINEAR or ATTENTION before it.
//   LAYERNORM   writes ACT while P still reads it: P's source and its destination must be apart.
//               It reads RES, which only P writes: nobody after it may add to the residual.
//   after it    a LINEAR writes ACT while LAYERNORM still writes there: both must be apart.
//   residual    is read, added to and written: two that add are never under way together.
//   table       there is one: two LINEARs with a table are never under way together.
//   order       of ends: LAYERNORM and its neighbours have as many tokens, so that the last of them
//               passes through one after the other.
// All others begin when nothing else is under way. Operations end in their order.
module overlap
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH  = 16
) (
    input  logic                                 clk_i,
    input  logic                                 rst_i,
    // the next operation in the queue, and whether it may be started in the next cycle
    input  logic                                 next_valid_i,
    input  descriptor_t                          next_i,
    output logic                                 accept_o,
    // the operation started
    input  logic                                 start_i,
    input  descriptor_t                          descriptor_i,
    output order_t                               order_o,
    // units
    input  logic                                 parameters_taken_i,
    input  logic                                 linear_room_i,
    input  logic                                 norm_busy_i,
    // results written
    input  written_t                             written_i,
    output logic     [TAGS-1:0][TILE_BITS:0]     progress_o,
    output logic                                 done_o
);
  localparam int unsigned UNDER_WAY = TAGS - 1;
  localparam int unsigned END_BITS = ADDRESS_BITS + 1;
  localparam int unsigned COUNT_BITS = $clog2(TILE_BITS + 2);

  // The regions' ends, base + tiles * pitch, a bit of the tiles a cycle; then the comparison with the
  // operation before, a cycle more, and what follows from it, another.
  logic [COUNT_BITS-1:0] count_q;
  logic measured_q, compared_q, known_q;
  logic [TILE_BITS-1:0] tiles_q;
  logic [END_BITS-1:0] source_end_q, destination_end_q, source_step_q, destination_step_q;

  // Words of a row of tokens that are read and written.
  logic [15:0] words_in, words_out;
  assign words_in = next_i.inputs >> $clog2(DEPTH);
  always_comb begin
    case (descriptor_i.opcode)
      OPCODE_LINEAR: words_out = (descriptor_i.outputs + 16'(DEPTH - 1)) >> $clog2(DEPTH);
      OPCODE_ATTENTION: words_out = descriptor_i.heads << $clog2(HEAD_DIM / DEPTH);
      default: words_out = descriptor_i.inputs >> $clog2(DEPTH);
    endcase
  end

  // The operation before.
  typedef struct packed {
    logic norm;
    logic residual;
    logic act;
    logic fits;  // no row of tokens is longer than the pitch
    logic [15:0] tokens;
    logic [15:0] pitch;
    logic [ADDRESS_BITS-1:0] source;
    logic [ADDRESS_BITS-1:0] destination;
    logic [END_BITS-1:0] source_end;
    logic [END_BITS-1:0] destination_end;
  } before_t;
  before_t before_q;

  logic same_q, as_many_q, source_apart_q, norm_apart_q, linear_apart_q, source_is_first_q;
  logic [ADDRESS_BITS-1:0] source, destination;
  assign source = next_i.source[ADDRESS_BITS-1:0];
  assign destination = next_i.destination[ADDRESS_BITS-1:0];

  always_ff @(posedge clk_i) begin
    if (!next_valid_i || start_i) begin
      count_q <= '0;
      measured_q <= 1'b0;
      compared_q <= 1'b0;
    end else if (!measured_q) begin
      count_q <= count_q + COUNT_BITS'(1);
      tiles_q <= tiles_q >> 1;
      source_step_q <= source_step_q << 1;
      destination_step_q <= destination_step_q << 1;
      if (tiles_q[0]) begin
        source_end_q <= source_end_q + source_step_q;
        destination_end_q <= destination_end_q + destination_step_q;
      end
      if (count_q == '0) begin
        tiles_q <= TILE_BITS'((next_i.tokens + 16'(TOKENS - 1)) >> $clog2(TOKENS));
        source_step_q <= END_BITS'(next_i.source_pitch);
        destination_step_q <= END_BITS'(next_i.destination_pitch);
        source_end_q <= END_BITS'(source);
        destination_end_q <= END_BITS'(destination);
      end
      measured_q <= count_q == COUNT_BITS'(TILE_BITS);
    end else begin
      compared_q <= 1'b1;
      source_is_first_q <= source == before_q.destination;
      as_many_q <= next_i.tokens == before_q.tokens;
      same_q <= next_i.source_pitch == before_q.pitch && next_i.tokens <= before_q.tokens &&
          words_in <= next_i.source_pitch && before_q.fits;
      source_apart_q <= END_BITS'(source) >= before_q.destination_end ||
          source_end_q <= END_BITS'(before_q.destination);
      norm_apart_q <= END_BITS'(destination) >= before_q.source_end ||
          destination_end_q <= END_BITS'(before_q.source);
      linear_apart_q <= END_BITS'(destination) >= before_q.destination_end ||
          destination_end_q <= END_BITS'(before_q.destination);
    end
    if (rst_i) begin
      measured_q <= 1'b0;
      compared_q <= 1'b0;
      count_q <= '0;
    end
  end

  // What is under way.
  logic [TAG_BITS-1:0] tag_q, under_way_q;
  logic table_q, chained, allowed;
  logic [TAG_BITS-1:0] table_tag_q;
  logic linear_q, norm_q, residual_q, with_table_q, chain;  // known while the regions are measured
  always_ff @(posedge clk_i) begin
    linear_q <= next_i.opcode == OPCODE_LINEAR;
    norm_q <= next_i.opcode == OPCODE_LAYERNORM;
    residual_q <= next_i.opcode == OPCODE_LINEAR && next_i.mode == EPILOGUE_RESIDUAL;
    with_table_q <= next_i.opcode == OPCODE_LINEAR && next_i.mode == EPILOGUE_TABLE;
  end
  assign chain = same_q && source_is_first_q;

  // Whether the next operation may begin beside those under way, with P alone or with one more.
  logic beside_q, alone_q, waits_q;
  always_ff @(posedge clk_i) begin
    known_q <= compared_q && next_valid_i && !start_i && !rst_i;
    alone_q <= linear_q && !before_q.norm;
    if (norm_q) begin
      beside_q <= before_q.residual && chain && as_many_q && norm_apart_q;
      waits_q  <= 1'b1;
    end else if (before_q.norm) begin
      beside_q <= linear_q && chain && as_many_q && linear_apart_q && !residual_q;
      waits_q  <= 1'b1;
    end else begin
      beside_q <= linear_q && !(residual_q && before_q.residual) &&
          (!before_q.act || source_apart_q || chain);
      waits_q  <= before_q.act && !source_apart_q;
    end
  end
  assign allowed = under_way_q == '0 ||
      (beside_q && under_way_q != TAG_BITS'(UNDER_WAY) && (!alone_q || under_way_q == TAG_BITS'(1)));
  assign chained = under_way_q != '0 && waits_q;
  assign accept_o = known_q && allowed && parameters_taken_i && (!linear_q || linear_room_i) &&
      (!norm_q || !norm_busy_i) && !(with_table_q && table_q) && !start_i;

  logic chained_q;
  always_ff @(posedge clk_i) begin
    chained_q <= chained;
    under_way_q <= under_way_q + TAG_BITS'(start_i) - TAG_BITS'(done_o);
    if (written_i.tile_final) begin
      progress_o[written_i.tag] <= progress_o[written_i.tag] + (TILE_BITS + 1)'(1);
    end
    if (done_o && written_i.tag == table_tag_q) table_q <= 1'b0;
    if (start_i) begin
      tag_q <= tag_q + TAG_BITS'(1);
      progress_o[tag_q] <= '0;
      if (descriptor_i.opcode == OPCODE_LINEAR && descriptor_i.mode == EPILOGUE_TABLE) begin
        table_q <= 1'b1;
        table_tag_q <= tag_q;
      end
      before_q <= '{
          norm: descriptor_i.opcode == OPCODE_LAYERNORM,
          residual: descriptor_i.opcode == OPCODE_LINEAR &&
              descriptor_i.mode == EPILOGUE_RESIDUAL,
          act: descriptor_i.opcode != OPCODE_LINEAR ||
              descriptor_i.mode == EPILOGUE_REQUANTISE || descriptor_i.mode == EPILOGUE_TABLE,
          fits: words_out <= descriptor_i.destination_pitch,
          tokens: descriptor_i.tokens,
          pitch: descriptor_i.destination_pitch,
          source: descriptor_i.source[ADDRESS_BITS-1:0],
          destination: descriptor_i.destination[ADDRESS_BITS-1:0],
          source_end: source_end_q,
          destination_end: destination_end_q
      };
    end
    if (rst_i) begin
      tag_q <= '0;
      under_way_q <= '0;
      table_q <= 1'b0;
    end
  end
  assign done_o  = written_i.op_last;
  assign order_o = '{tag: tag_q, chained: chained_q, producer: tag_q - TAG_BITS'(1)};

`ifdef VERILATOR
  out_of_order :
  assert property (@(posedge clk_i) disable iff (rst_i)
      done_o |-> written_i.tag == tag_q - under_way_q);
  too_many :
  assert property (@(posedge clk_i) disable iff (rst_i)
      start_i |-> under_way_q != TAG_BITS'(UNDER_WAY) || done_o);
`endif

  logic unused;
  assign unused = ^{next_i, descriptor_i, before_q};
endmodule
