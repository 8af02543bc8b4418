// Checks a descriptor: check_fields, then that on-chip regions and memory ranges lie inside.
//
// The same tests in the same order as quasar_runtime/isa/program.py `check`, with the addresses (the
// offset of the field blamed) of quasar_runtime/devices/native/engine/check.c. Every range test has one form,
//
//     base + a * b <= limit       and for regions also       pitch * DEPTH >= channels,
//
// a region being ceil(tokens / TOKENS) * pitch words, so that one multiplier serves all of them, a
// test after the other. `done_o` comes some 10 to 30 cycles after `start_i`; descriptors are
// checked ahead, so that the time does not show. `descriptor_i` is stable from `start_i` to
// `done_o`; what follows from it alone is registered, and has four cycles to settle.

module range_check
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 6400,
    parameter int unsigned RES_WORDS = 1280,
    parameter int unsigned LOGITS = 1024
) (
    input logic clk_i,
    input logic rst_i,
    input logic start_i,
    input descriptor_t descriptor_i,
    input logic [31:0] program_bytes_i,
    input logic [31:0] image_bytes_i,
    input logic [31:0] output_bytes_i,
    output logic done_o,  // one cycle
    output violation_t violation_o,
    output logic [21:0] weight_words_o  // LINEAR: array beats of its weights
);

  localparam int unsigned DEPTH_BITS = $clog2(DEPTH);
  localparam int unsigned ROW_BITS = $clog2(ROWS);
  localparam int unsigned TOKEN_BITS = $clog2(TOKENS);
  localparam int unsigned WORD_BITS = $clog2(ROWS * DEPTH / 2);  // bytes of an array beat
  if (TOKENS != 1 << TOKEN_BITS) begin : gen_check_tokens_must_be
    $error("TOKENS must be a power of two");
  end
  if (ROWS != 1 << ROW_BITS || ROWS < 2) begin : gen_check_rows_must_be
    $error("ROWS must be a power of two");
  end
  if (DEPTH != 8 && DEPTH != 16 && DEPTH != 32) begin : gen_check_depth_must_be
    $error("DEPTH must be 8, 16 or 32");
  end

  // Byte offsets of the fields that range tests blame.
  localparam logic [7:0] AT_TOKENS = 8'd4, AT_OUTPUTS = 8'd10, AT_ROWS8 = 8'd12, AT_SOURCE = 8'd16,
      AT_SOURCE_KV = 8'd20, AT_DESTINATION = 8'd28, AT_SOURCE_PITCH = 8'd32,
      AT_DESTINATION_PITCH = 8'd36, AT_WEIGHTS = 8'd40, AT_PARAMETERS = 8'd44, AT_LOOKUP = 8'd48,
      AT_ADDRESS = 8'd52;

  typedef enum logic [2:0] {
    ACT,
    RES,
    LOGIT,
    PROGRAM_AREA,
    IMAGE_AREA,
    OUTPUT_AREA
  } area_e;

  typedef struct packed {
    logic valid;  // this step has a test
    logic last;
    area_e area;
    logic [7:0] blamed;
    logic [31:0] base;
    logic [15:0] a;
    logic [15:0] b;
    logic weights;  // scale by the bytes of an array beat
    logic region;  // b is a pitch that must hold `channels`
    logic [15:0] channels;
  } test_t;

  function automatic logic [15:0] tiles(input logic [15:0] tokens);
    return (tokens + 16'(TOKENS - 1)) >> TOKEN_BITS;
  endfunction

  function automatic test_t act(input logic [7:0] blamed, input logic [31:0] base,
                                input logic [15:0] tokens, input logic [15:0] pitch,
                                input logic [15:0] channels);
    return '{
        valid: 1'b1,
        last: 1'b0,
        area: ACT,
        blamed: blamed,
        base: base,
        a: tiles(tokens),
        b: pitch,
        weights: 1'b0,
        region: 1'b1,
        channels: channels
    };
  endfunction

  function automatic test_t res(input logic [7:0] blamed, input logic [15:0] tokens,
                                input logic [15:0] pitch, input logic [15:0] channels);
    res = act(blamed, '0, tokens, pitch, channels);
    res.area = RES;
  endfunction

  function automatic test_t bytes(input area_e area, input logic [7:0] blamed,
                                  input logic [31:0] base, input logic [15:0] a,
                                  input logic [15:0] b);
    bytes = '0;
    bytes.valid = 1'b1;
    bytes.area = area;
    bytes.blamed = blamed;
    bytes.base = base;
    bytes.a = a;
    bytes.b = b;
  endfunction

  // --- The test of each step
  descriptor_t d;
  test_t test;
  logic [2:0] step_q;
  logic [15:0] patches_q, line_bytes_q, channels_q, k_end_q, v_end_q, groups_q, steps_q;
  logic [7:0] columns;

  assign d = descriptor_i;
  assign columns = 8'(d.image_size >> 4);  // at most 15
  always_ff @(posedge clk_i) begin
    patches_q <= 16'(columns[3:0]) * 16'(columns[3:0]) + 1'b1;
    line_bytes_q <= 16'(d.image_size * 3);
    channels_q <= 16'(d.heads * 16'(HEAD_DIM));
    k_end_q <= d.channel_k + channels_q;
    v_end_q <= d.channel_v + channels_q;
    groups_q <= (d.outputs + d.rows8 + 16'(ROWS - 1)) >> ROW_BITS;
    steps_q <= (d.inputs + 16'(DEPTH - 1)) >> DEPTH_BITS;
  end

  always_comb begin
    test = '0;
    case (d.opcode)
      OPCODE_LOAD_IMAGE:
      case (step_q)
        3'd0: test = act(AT_DESTINATION, d.destination, patches_q, d.destination_pitch,
                         16'(PATCH_CHANNELS));
        3'd1: test = bytes(IMAGE_AREA, AT_ADDRESS, d.address, d.image_size, line_bytes_q);
        default: test.last = 1'b1;
      endcase
      OPCODE_LOAD_RESIDUAL:
      case (step_q)
        3'd0: test = res(AT_DESTINATION_PITCH, d.tokens, d.destination_pitch, d.inputs);
        3'd1: test = bytes(PROGRAM_AREA, AT_ADDRESS, d.address, d.tokens, d.inputs << 1);
        default: test.last = 1'b1;
      endcase
      OPCODE_LINEAR:
      case (step_q)
        3'd0: test = act(AT_SOURCE, d.source, d.tokens, d.source_pitch, d.inputs);
        3'd1:
        case (d.mode)
          EPILOGUE_RESIDUAL:
          test = res(AT_DESTINATION_PITCH, d.tokens, d.destination_pitch, d.outputs);
          EPILOGUE_LOGITS: test = bytes(LOGIT, AT_OUTPUTS, '0, d.outputs, 16'd1);
          default:
          test = act(AT_DESTINATION, d.destination, d.tokens, d.destination_pitch, d.outputs);
        endcase
        3'd2: begin
          test = bytes(PROGRAM_AREA, AT_WEIGHTS, d.weights, groups_q, steps_q);
          test.weights = 1'b1;
        end
        3'd3: test = bytes(PROGRAM_AREA, AT_PARAMETERS, d.parameters, d.outputs, 16'(ROW_BYTES));
        3'd4: begin
          test = bytes(PROGRAM_AREA, AT_LOOKUP, d.lookup, 16'd1, 16'(TABLE_BYTES));
          test.valid = d.mode == EPILOGUE_TABLE;
        end
        default: test.last = 1'b1;
      endcase
      OPCODE_LAYERNORM:
      case (step_q)
        3'd0: test = res(AT_SOURCE_PITCH, d.tokens, d.source_pitch, d.inputs);
        3'd1: test = act(AT_DESTINATION, d.destination, d.tokens, d.destination_pitch, d.inputs);
        3'd2: test = bytes(PROGRAM_AREA, AT_PARAMETERS, d.parameters, d.inputs, 16'd2);
        default: test.last = 1'b1;
      endcase
      OPCODE_ATTENTION:
      case (step_q)
        3'd0: test = act(AT_SOURCE, d.source, d.tokens, d.source_pitch, channels_q);
        3'd1: test = act(AT_SOURCE_KV, d.source_kv, d.keys, d.kv_pitch, k_end_q);
        3'd2: test = act(AT_SOURCE_KV, d.source_kv, d.keys, d.kv_pitch, v_end_q);
        3'd3: test = act(AT_DESTINATION, d.destination, d.tokens, d.destination_pitch, channels_q);
        3'd4: test = bytes(PROGRAM_AREA, AT_PARAMETERS, d.parameters, d.heads, 16'(HEAD_BYTES));
        default: test.last = 1'b1;
      endcase
      OPCODE_STORE:
      case (step_q)
        3'd0:
        case (d.mode)
          SOURCE_LOGITS: test = bytes(LOGIT, AT_OUTPUTS, '0, d.outputs, 16'd1);
          SOURCE_ACT: test = act(AT_SOURCE, d.source, d.tokens, d.source_pitch, d.inputs);
          default: test = res(AT_SOURCE_PITCH, d.tokens, d.source_pitch, d.inputs);
        endcase
        3'd1:
        case (d.mode)
          SOURCE_LOGITS: test = bytes(OUTPUT_AREA, AT_ADDRESS, d.address, d.outputs, 16'd4);
          SOURCE_ACT: test = bytes(OUTPUT_AREA, AT_ADDRESS, d.address, d.tokens, d.inputs);
          default: test = bytes(OUTPUT_AREA, AT_ADDRESS, d.address, d.tokens, d.inputs << 1);
        endcase
        default: test.last = 1'b1;
      endcase
      default: test.last = 1'b1;
    endcase
  end

  // --- Select, multiply, add, compare: a cycle each, one test under way at a time
  typedef enum logic [2:0] {
    IDLE,
    SETTLE,
    SELECT,
    MULTIPLY,
    ADD,
    COMPARE
  } state_e;
  state_e state_q;

  test_t test_q;
  violation_t fields_q;
  // The fields' checks by operation, then those of this one: a cycle each.
  localparam int unsigned OPCODES = 8;
  violation_t [OPCODES-1:0] by_opcode_q;
  logic [1:0] settle_q;
  logic [31:0] product_q, limit_q;
  logic [43:0] end_q;  // base + 2^32 * 2^9 at most
  logic narrow_q;

  // What relates two fields of a LINEAR; checked after the fields, before the ranges.
  violation_t related;
  always_comb begin
    related = '{cause: CAUSE_NONE, offset: 8'd0};
    if (d.opcode == OPCODE_LINEAR && d.mode == EPILOGUE_LOGITS && d.tokens != 16'd1)
      related = '{cause: CAUSE_BAD_FIELD, offset: AT_TOKENS};
    if (d.opcode == OPCODE_LINEAR && d.rows8 > d.outputs)
      related = '{cause: CAUSE_BAD_FIELD, offset: AT_ROWS8};
  end

  always_ff @(posedge clk_i) begin
    done_o   <= 1'b0;
    for (int unsigned o = 0; o < OPCODES; o++) begin
      automatic descriptor_t as_o = d;
      as_o.opcode = 8'(o);
      by_opcode_q[o] <= check_fields(as_o);
    end
    fields_q <= by_opcode_q[d.opcode < 8'(OPCODES) ? d.opcode[2:0] : 3'd0];  // 0 is none
    case (state_q)
      IDLE: begin
        step_q   <= '0;
        settle_q <= '0;
        if (start_i) state_q <= SETTLE;
      end
      SETTLE: begin
        settle_q <= settle_q + 1'b1;
        if (&settle_q) begin
          violation_o <= fields_q.cause != CAUSE_NONE ? fields_q : related;
          state_q <= SELECT;
        end
      end
      SELECT: begin
        test_q  <= test;
        step_q  <= step_q + 1'b1;
        state_q <= MULTIPLY;
        if (violation_o.cause != CAUSE_NONE || test.last) begin
          done_o  <= 1'b1;
          state_q <= IDLE;
        end
      end
      MULTIPLY: begin
        product_q <= test_q.a * test_q.b;
        // A region that is too narrow for its channels.
        narrow_q <= test_q.region && (24'(test_q.b) << DEPTH_BITS) < 24'(test_q.channels);
        case (test_q.area)
          ACT: limit_q <= ACT_WORDS;
          RES: limit_q <= RES_WORDS;
          LOGIT: limit_q <= LOGITS;
          PROGRAM_AREA: limit_q <= program_bytes_i;
          IMAGE_AREA: limit_q <= image_bytes_i;
          default: limit_q <= output_bytes_i;
        endcase
        state_q <= ADD;
      end
      ADD: begin
        end_q <= 44'(test_q.base) +
            (test_q.weights ? 44'(product_q) << WORD_BITS : 44'(product_q));
        if (test_q.weights) weight_words_o <= product_q[21:0];
        state_q <= COMPARE;
      end
      default: begin
        if (test_q.valid && (narrow_q || end_q > 44'(limit_q)))
          violation_o <= '{cause: CAUSE_BAD_RANGE, offset: test_q.blamed};
        state_q <= SELECT;
      end
    endcase
    if (rst_i) begin
      state_q <= IDLE;
      done_o <= 1'b0;
      violation_o <= '{cause: CAUSE_NONE, offset: 8'd0};
    end
  end

  logic unused;
  assign unused = ^{test_q.last, columns[7:4]};

endmodule
