// Generated from quasar_runtime/isa/interface.py by quasar_runtime.isa.emit.

package quasar_pkg;

  localparam int unsigned IDENTITY = 32'h51554153;
  localparam int unsigned VERSION_MAJOR = 1;
  localparam int unsigned VERSION_MINOR = 0;
  localparam int unsigned DESCRIPTOR_BYTES = 64;
  localparam int unsigned PROFILE_BYTES = 16;
  localparam int unsigned ROW_BYTES = 16;
  localparam int unsigned HEAD_BYTES = 8;
  localparam int unsigned TABLE_BYTES = 256;
  localparam int unsigned ALIGNMENT = 64;
  localparam int unsigned HEAD_DIM = 64;
  localparam int unsigned PATCH = 16;
  localparam int unsigned PATCH_CHANNELS = 768;
  localparam int unsigned MAX_TOKENS = 256;
  localparam int unsigned MAX_CHANNELS = 4096;
  localparam int unsigned MAX_WIDTH = 1024;
  localparam int unsigned MAX_HEADS = 16;
  localparam int unsigned MAX_DESCRIPTORS = 1024;
  localparam int unsigned CHANNEL_MULTIPLE = 32;
  localparam int unsigned ACTIVATION_MAX = 127;
  localparam int unsigned WEIGHT8_MAX = 119;
  localparam int unsigned WEIGHT4_MAX = 7;
  localparam int unsigned MULTIPLIER_MAX = 32767;
  localparam int unsigned SHIFT_MAX = 40;
  localparam int unsigned SCORE_SHIFT_MAX = 23;
  localparam int unsigned NORM_FRACTION = 12;
  localparam int unsigned MEAN_FRACTION = 8;
  localparam int unsigned RSQRT_FIRST = 64;

  typedef enum logic [7:0] { OPCODE_LOAD_IMAGE = 8'd1, OPCODE_LOAD_RESIDUAL = 8'd2,
  OPCODE_LINEAR = 8'd3, OPCODE_LAYERNORM = 8'd4, OPCODE_ATTENTION = 8'd5, OPCODE_STORE = 8'd6,
  OPCODE_END = 8'd7 } opcode_e;

  typedef enum logic [7:0] { EPILOGUE_REQUANTISE = 8'd0, EPILOGUE_TABLE = 8'd1,
  EPILOGUE_RESIDUAL = 8'd2, EPILOGUE_LOGITS = 8'd3 } epilogue_e;

  typedef enum logic [7:0] { SOURCE_LOGITS = 8'd0, SOURCE_ACT = 8'd1, SOURCE_RESIDUAL = 8'd2 }
  source_e;

  typedef enum logic [7:0] { CAUSE_NONE = 8'd0, CAUSE_BAD_OPCODE = 8'd1, CAUSE_BAD_FIELD =
  8'd2, CAUSE_BAD_RANGE = 8'd3, CAUSE_MISALIGNED = 8'd4, CAUSE_READ_SLVERR = 8'd5,
  CAUSE_READ_DECERR = 8'd6, CAUSE_WRITE_SLVERR = 8'd7, CAUSE_WRITE_DECERR = 8'd8, CAUSE_STALLED
  = 8'd9, CAUSE_START_WHILE_BUSY = 8'd10, CAUSE_NO_END = 8'd11 } cause_e;

  localparam int unsigned STATUS_IDLE_BIT = 0;
  localparam int unsigned STATUS_BUSY_BIT = 1;
  localparam int unsigned STATUS_DONE_BIT = 2;
  localparam int unsigned STATUS_ERROR_BIT = 3;
  localparam int unsigned CONTROL_START_BIT = 0;
  localparam int unsigned CONTROL_RESET_BIT = 1;

  // A descriptor; byte 0 of memory is bits 7:0.
  typedef struct packed {
    logic [15:0] reserved;  // byte 62: zero
    logic [15:0] image_size;  // byte 60: LOAD_IMAGE: side in pixels
    logic [31:0] epsilon;  // byte 56: LAYERNORM: added to the variance
    logic [31:0] address;  // byte 52: offset from PROGRAM (LOAD_RESIDUAL), IMAGE or OUTPUT
    logic [31:0] lookup;  // byte 48: offset from PROGRAM of a 256-byte lookup table
    logic [31:0] parameters;  // byte 44: offset from PROGRAM of the row, gain or head parameters
    logic [31:0] weights;  // byte 40: offset from PROGRAM of the packed weights
    logic [7:0] shift;  // byte 39: LAYERNORM: n
    logic [7:0] clamp;  // byte 38: LINEAR: limit of a requantised result
    logic [15:0] destination_pitch;  // byte 36: words per token row of the destination
    logic [15:0] kv_pitch;  // byte 34: words per token row of the region that holds K and V
    logic [15:0] source_pitch;  // byte 32: words per token row of the source; ATTENTION: of Q
    logic [31:0] destination;  // byte 28: ACT word address written
    logic [15:0] channel_v;  // byte 26: first channel of V in that region
    logic [15:0] channel_k;  // byte 24: first channel of K in that region
    logic [31:0] source_kv;  // byte 20: ATTENTION: ACT word address of the region that holds K and V
    logic [31:0] source;  // byte 16: ACT word address read; ATTENTION: of Q
    logic [15:0] heads;  // byte 14: ATTENTION: heads
    logic [15:0] rows8;  // byte 12: LINEAR: 8-bit rows, which come first; the others are 4-bit
    logic [15:0] outputs;  // byte 10: rows of the weight matrix; STORE of logits: how many
    logic [15:0] inputs;  // byte 8: channels read a token
    logic [15:0] keys;  // byte 6: ATTENTION: tokens of K and V
    logic [15:0] tokens;  // byte 4: tokens processed; ATTENTION: query tokens
    logic [15:0] layer;  // byte 2: layer number, for timing; not interpreted
    logic [7:0] mode;  // byte 1: LINEAR: epilogue; STORE: source
    logic [7:0] opcode;  // byte 0: operation
  } descriptor_t;

  // Parameters of a weight row; byte 0 of memory is bits 7:0.
  typedef struct packed {
    logic [55:0] reserved9;
    logic [7:0] shift;
    logic [15:0] channel;
    logic [15:0] multiplier;
    logic signed [31:0] bias;
  } row_t;

  // Parameters of an attention head.
  typedef struct packed {
    logic [7:0] reserved7;
    logic [7:0] out_shift;
    logic [15:0] out_multiplier;
    logic [7:0] reserved3;
    logic [7:0] score_shift;
    logic [15:0] score_multiplier;
  } head_t;

  typedef struct packed {
    cause_e cause;
    logic [7:0] offset;  // of the field, in bytes
  } violation_t;

  // The first field outside its range, in field order; CAUSE_NONE when all are legal.
  // The layer number may be anything, so that its bits stay unused here.
  // verilator lint_off UNUSEDSIGNAL
  function automatic violation_t check_fields(input descriptor_t d);
    check_fields = '{cause: CAUSE_NONE, offset: 8'd0};
    case (d.opcode)
      OPCODE_LOAD_IMAGE: begin
        if (d.reserved > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd62};
        if ((d.image_size % 16'd16) != 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.image_size < 16'd16 || d.image_size > 16'd240) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.epsilon > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd56};
        if ((d.address % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd52};
        if (d.address > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd52};
        if (d.lookup > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd48};
        if (d.parameters > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd44};
        if (d.weights > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd40};
        if (d.shift > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd39};
        if (d.clamp > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd38};
        if (d.destination_pitch < 16'd1 || d.destination_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd36};
        if (d.kv_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd34};
        if (d.source_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd32};
        if (d.destination > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd28};
        if (d.channel_v > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd26};
        if (d.channel_k > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd24};
        if (d.source_kv > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd20};
        if (d.source > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd16};
        if (d.heads > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd14};
        if (d.rows8 > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd12};
        if (d.outputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd10};
        if (d.inputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.keys > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd6};
        if (d.tokens > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd4};
        if (d.mode > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd1};
      end
      OPCODE_LOAD_RESIDUAL: begin
        if (d.reserved > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd62};
        if (d.image_size > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.epsilon > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd56};
        if ((d.address % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd52};
        if (d.address > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd52};
        if (d.lookup > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd48};
        if (d.parameters > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd44};
        if (d.weights > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd40};
        if (d.shift > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd39};
        if (d.clamp > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd38};
        if (d.destination_pitch < 16'd1 || d.destination_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd36};
        if (d.kv_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd34};
        if (d.source_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd32};
        if (d.destination > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd28};
        if (d.channel_v > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd26};
        if (d.channel_k > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd24};
        if (d.source_kv > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd20};
        if (d.source > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd16};
        if (d.heads > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd14};
        if (d.rows8 > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd12};
        if (d.outputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd10};
        if ((d.inputs % 16'd32) != 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.inputs < 16'd32 || d.inputs > 16'd1024) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.keys > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd6};
        if (d.tokens < 16'd1 || d.tokens > 16'd256) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd4};
        if (d.mode > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd1};
      end
      OPCODE_LINEAR: begin
        if (d.reserved > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd62};
        if (d.image_size > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.epsilon > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd56};
        if (d.address > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd52};
        if ((d.lookup % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd48};
        if (d.lookup > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd48};
        if ((d.parameters % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd44};
        if (d.parameters > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd44};
        if ((d.weights % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd40};
        if (d.weights > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd40};
        if (d.shift > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd39};
        if (d.clamp < 8'd119 || d.clamp > 8'd127) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd38};
        if (d.destination_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd36};
        if (d.kv_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd34};
        if (d.source_pitch < 16'd1 || d.source_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd32};
        if (d.destination > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd28};
        if (d.channel_v > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd26};
        if (d.channel_k > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd24};
        if (d.source_kv > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd20};
        if (d.source > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd16};
        if (d.heads > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd14};
        if (d.rows8 > 16'd4096) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd12};
        if (d.outputs < 16'd1 || d.outputs > 16'd4096) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd10};
        if ((d.inputs % 16'd32) != 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.inputs < 16'd32 || d.inputs > 16'd4096) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.keys > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd6};
        if (d.tokens < 16'd1 || d.tokens > 16'd256) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd4};
        if (d.mode > 8'd3) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd1};
      end
      OPCODE_LAYERNORM: begin
        if (d.reserved > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd62};
        if (d.image_size > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.epsilon < 32'd1) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd56};
        if (d.address > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd52};
        if (d.lookup > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd48};
        if ((d.parameters % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd44};
        if (d.parameters > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd44};
        if (d.weights > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd40};
        if (d.shift < 8'd1 || d.shift > 8'd40) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd39};
        if (d.clamp > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd38};
        if (d.destination_pitch < 16'd1 || d.destination_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd36};
        if (d.kv_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd34};
        if (d.source_pitch < 16'd1 || d.source_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd32};
        if (d.destination > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd28};
        if (d.channel_v > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd26};
        if (d.channel_k > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd24};
        if (d.source_kv > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd20};
        if (d.source > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd16};
        if (d.heads > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd14};
        if (d.rows8 > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd12};
        if (d.outputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd10};
        if ((d.inputs % 16'd32) != 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.inputs < 16'd32 || d.inputs > 16'd1024) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.keys > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd6};
        if (d.tokens < 16'd1 || d.tokens > 16'd256) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd4};
        if (d.mode > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd1};
      end
      OPCODE_ATTENTION: begin
        if (d.reserved > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd62};
        if (d.image_size > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.epsilon > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd56};
        if (d.address > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd52};
        if (d.lookup > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd48};
        if ((d.parameters % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd44};
        if (d.parameters > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd44};
        if (d.weights > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd40};
        if (d.shift > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd39};
        if (d.clamp > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd38};
        if (d.destination_pitch < 16'd1 || d.destination_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd36};
        if (d.kv_pitch < 16'd1 || d.kv_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd34};
        if (d.source_pitch < 16'd1 || d.source_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd32};
        if (d.destination > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd28};
        if ((d.channel_v % 16'd64) != 16'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd26};
        if (d.channel_v > 16'd3072) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd26};
        if ((d.channel_k % 16'd64) != 16'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd24};
        if (d.channel_k > 16'd3072) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd24};
        if (d.source_kv > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd20};
        if (d.source > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd16};
        if (d.heads < 16'd1 || d.heads > 16'd16) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd14};
        if (d.rows8 > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd12};
        if (d.outputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd10};
        if (d.inputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.keys < 16'd1 || d.keys > 16'd256) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd6};
        if (d.tokens < 16'd1 || d.tokens > 16'd256) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd4};
        if (d.mode > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd1};
      end
      OPCODE_STORE: begin
        if (d.reserved > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd62};
        if (d.image_size > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.epsilon > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd56};
        if ((d.address % 32'd64) != 32'd0) check_fields = '{cause: CAUSE_MISALIGNED, offset: 8'd52};
        if (d.address > 32'd4294967232) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd52};
        if (d.lookup > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd48};
        if (d.parameters > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd44};
        if (d.weights > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd40};
        if (d.shift > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd39};
        if (d.clamp > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd38};
        if (d.destination_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd36};
        if (d.kv_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd34};
        if (d.source_pitch > 16'd32767) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd32};
        if (d.destination > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd28};
        if (d.channel_v > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd26};
        if (d.channel_k > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd24};
        if (d.source_kv > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd20};
        if (d.source > 32'd16777215) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd16};
        if (d.heads > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd14};
        if (d.rows8 > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd12};
        if (d.outputs > 16'd4096) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd10};
        if ((d.inputs % 16'd32) != 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.inputs > 16'd4096) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.keys > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd6};
        if (d.tokens > 16'd256) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd4};
        if (d.mode > 8'd2) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd1};
      end
      OPCODE_END: begin
        if (d.reserved > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd62};
        if (d.image_size > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd60};
        if (d.epsilon > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd56};
        if (d.address > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd52};
        if (d.lookup > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd48};
        if (d.parameters > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd44};
        if (d.weights > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd40};
        if (d.shift > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd39};
        if (d.clamp > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd38};
        if (d.destination_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd36};
        if (d.kv_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd34};
        if (d.source_pitch > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd32};
        if (d.destination > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd28};
        if (d.channel_v > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd26};
        if (d.channel_k > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd24};
        if (d.source_kv > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd20};
        if (d.source > 32'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd16};
        if (d.heads > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd14};
        if (d.rows8 > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd12};
        if (d.outputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd10};
        if (d.inputs > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd8};
        if (d.keys > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd6};
        if (d.tokens > 16'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd4};
        if (d.mode > 8'd0) check_fields = '{cause: CAUSE_BAD_FIELD, offset: 8'd1};
      end
      default: check_fields = '{cause: CAUSE_BAD_OPCODE, offset: 8'd0};
    endcase
  endfunction
  // verilator lint_on UNUSEDSIGNAL

  localparam logic [7:0] REG_IDENTITY = 8'h00;  // r 0x51554153, 'QUAS'
  localparam logic [7:0] REG_VERSION = 8'h04;  // r interface version: major << 16 | minor
  localparam logic [7:0] REG_ARRAY = 8'h08;  // r TOKENS | ROWS << 8 | DEPTH << 16
  localparam logic [7:0] REG_ACT_WORDS = 8'h0C;  // r words of the ACT memory
  localparam logic [7:0] REG_RES_WORDS = 8'h10;  // r words of the RES memory
  localparam logic [7:0] REG_LOGITS = 8'h14;  // r entries of the LOGITS memory
  localparam logic [7:0] REG_CLOCK_KHZ = 8'h18;  // r clock for which the overlay was built; 0: profile in ns
  localparam logic [7:0] REG_PORTS = 8'h1C;  // r weight read ports
  localparam logic [7:0] REG_CONTROL = 8'h20;  // rw bit 0 start, bit 1 reset; reads 0
  localparam logic [7:0] REG_STATUS = 8'h24;  // r bit 0 idle, bit 1 busy, bit 2 done, bit 3 error
  localparam logic [7:0] REG_ERROR_CAUSE = 8'h28;  // r 0, or a cause
  localparam logic [7:0] REG_ERROR_DESCRIPTOR = 8'h2C;  // r number of the descriptor that stopped it
  localparam logic [7:0] REG_ERROR_ADDRESS_LO = 8'h30;  // r address or field offset, by cause
  localparam logic [7:0] REG_ERROR_ADDRESS_HI = 8'h34;  // r
  localparam logic [7:0] REG_CYCLES_LO = 8'h38;  // r cycles since start; holds at the end
  localparam logic [7:0] REG_CYCLES_HI = 8'h3C;  // r
  localparam logic [7:0] REG_INTERRUPT_ENABLE = 8'h40;  // rw bit 0 done, bit 1 error
  localparam logic [7:0] REG_INTERRUPT_STATUS = 8'h44;  // w1c bit 0 done, bit 1 error
  localparam logic [7:0] REG_DESCRIPTOR_COUNT = 8'h48;  // rw descriptors in the table at PROGRAM + 0
  localparam logic [7:0] REG_TIMEOUT = 8'h4C;  // rw cycles a memory port may stall; 0 means never an error
  localparam logic [7:0] REG_PROGRAM_LO = 8'h50;  // rw base of the program
  localparam logic [7:0] REG_PROGRAM_HI = 8'h54;  // rw
  localparam logic [7:0] REG_PROGRAM_BYTES = 8'h58;  // rw its size
  localparam logic [7:0] REG_IMAGE_LO = 8'h60;  // rw base of the raw RGB image
  localparam logic [7:0] REG_IMAGE_HI = 8'h64;  // rw
  localparam logic [7:0] REG_IMAGE_BYTES = 8'h68;  // rw its size
  localparam logic [7:0] REG_OUTPUT_LO = 8'h70;  // rw base of the output area
  localparam logic [7:0] REG_OUTPUT_HI = 8'h74;  // rw
  localparam logic [7:0] REG_OUTPUT_BYTES = 8'h78;  // rw its size
  localparam logic [7:0] REG_PROFILE_LO = 8'h80;  // rw base of the profile area, 16 bytes per descriptor
  localparam logic [7:0] REG_PROFILE_HI = 8'h84;  // rw
  localparam logic [7:0] REG_PROFILE_BYTES = 8'h88;  // rw its size

  // EXP[i] = round(127 exp(-i / 45)). An array, which tools map as a ROM.
  localparam logic [6:0] EXP[256] = '{
    7'd127, 7'd124, 7'd121, 7'd119, 7'd116, 7'd114, 7'd111, 7'd109, 7'd106, 7'd104, 7'd102,
    7'd99, 7'd97, 7'd95, 7'd93, 7'd91, 7'd89, 7'd87, 7'd85, 7'd83, 7'd81, 7'd80, 7'd78, 7'd76,
    7'd75, 7'd73, 7'd71, 7'd70, 7'd68, 7'd67, 7'd65, 7'd64, 7'd62, 7'd61, 7'd60, 7'd58, 7'd57,
    7'd56, 7'd55, 7'd53, 7'd52, 7'd51, 7'd50, 7'd49, 7'd48, 7'd47, 7'd46, 7'd45, 7'd44, 7'd43,
    7'd42, 7'd41, 7'd40, 7'd39, 7'd38, 7'd37, 7'd37, 7'd36, 7'd35, 7'd34, 7'd33, 7'd33, 7'd32,
    7'd31, 7'd31, 7'd30, 7'd29, 7'd29, 7'd28, 7'd27, 7'd27, 7'd26, 7'd26, 7'd25, 7'd25, 7'd24,
    7'd23, 7'd23, 7'd22, 7'd22, 7'd21, 7'd21, 7'd21, 7'd20, 7'd20, 7'd19, 7'd19, 7'd18, 7'd18,
    7'd18, 7'd17, 7'd17, 7'd16, 7'd16, 7'd16, 7'd15, 7'd15, 7'd15, 7'd14, 7'd14, 7'd14, 7'd13,
    7'd13, 7'd13, 7'd13, 7'd12, 7'd12, 7'd12, 7'd12, 7'd11, 7'd11, 7'd11, 7'd11, 7'd10, 7'd10,
    7'd10, 7'd10, 7'd9, 7'd9, 7'd9, 7'd9, 7'd9, 7'd8, 7'd8, 7'd8, 7'd8, 7'd8, 7'd8, 7'd7, 7'd7,
    7'd7, 7'd7, 7'd7, 7'd7, 7'd6, 7'd6, 7'd6, 7'd6, 7'd6, 7'd6, 7'd6, 7'd6, 7'd5, 7'd5, 7'd5,
    7'd5, 7'd5, 7'd5, 7'd5, 7'd5, 7'd5, 7'd4, 7'd4, 7'd4, 7'd4, 7'd4, 7'd4, 7'd4, 7'd4, 7'd4,
    7'd4, 7'd4, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3, 7'd3,
    7'd3, 7'd3, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2,
    7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd2, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1,
    7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1,
    7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1,
    7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1, 7'd1,
    7'd0, 7'd0, 7'd0, 7'd0, 7'd0, 7'd0
  };

  // RSQRT[j] ~ 2^15 / sqrt((j + 64.5) / 64). An array, which tools map as a ROM.
  localparam logic [15:0] RSQRT[192] = '{
    16'd32641, 16'd32391, 16'd32146, 16'd31907, 16'd31673, 16'd31445, 16'd31221, 16'd31002,
    16'd30787, 16'd30577, 16'd30371, 16'd30169, 16'd29972, 16'd29778, 16'd29587, 16'd29401,
    16'd29217, 16'd29038, 16'd28861, 16'd28688, 16'd28518, 16'd28350, 16'd28186, 16'd28024,
    16'd27866, 16'd27709, 16'd27556, 16'd27405, 16'd27256, 16'd27110, 16'd26966, 16'd26825,
    16'd26686, 16'd26548, 16'd26413, 16'd26280, 16'd26149, 16'd26020, 16'd25893, 16'd25767,
    16'd25644, 16'd25522, 16'd25402, 16'd25283, 16'd25167, 16'd25051, 16'd24938, 16'd24826,
    16'd24715, 16'd24606, 16'd24498, 16'd24392, 16'd24287, 16'd24184, 16'd24081, 16'd23980,
    16'd23881, 16'd23782, 16'd23685, 16'd23589, 16'd23494, 16'd23400, 16'd23307, 16'd23216,
    16'd23125, 16'd23036, 16'd22947, 16'd22860, 16'd22774, 16'd22688, 16'd22604, 16'd22520,
    16'd22437, 16'd22356, 16'd22275, 16'd22195, 16'd22116, 16'd22037, 16'd21960, 16'd21883,
    16'd21808, 16'd21732, 16'd21658, 16'd21585, 16'd21512, 16'd21440, 16'd21368, 16'd21298,
    16'd21228, 16'd21159, 16'd21090, 16'd21022, 16'd20955, 16'd20888, 16'd20822, 16'd20757,
    16'd20692, 16'd20628, 16'd20564, 16'd20501, 16'd20439, 16'd20377, 16'd20316, 16'd20255,
    16'd20195, 16'd20135, 16'd20076, 16'd20017, 16'd19959, 16'd19902, 16'd19845, 16'd19788,
    16'd19732, 16'd19676, 16'd19621, 16'd19566, 16'd19512, 16'd19458, 16'd19405, 16'd19352,
    16'd19299, 16'd19247, 16'd19196, 16'd19144, 16'd19093, 16'd19043, 16'd18993, 16'd18943,
    16'd18894, 16'd18845, 16'd18797, 16'd18749, 16'd18701, 16'd18653, 16'd18606, 16'd18560,
    16'd18513, 16'd18467, 16'd18422, 16'd18376, 16'd18331, 16'd18287, 16'd18242, 16'd18198,
    16'd18155, 16'd18111, 16'd18068, 16'd18025, 16'd17983, 16'd17941, 16'd17899, 16'd17857,
    16'd17816, 16'd17775, 16'd17734, 16'd17694, 16'd17654, 16'd17614, 16'd17574, 16'd17535,
    16'd17496, 16'd17457, 16'd17418, 16'd17380, 16'd17342, 16'd17304, 16'd17267, 16'd17229,
    16'd17192, 16'd17155, 16'd17119, 16'd17082, 16'd17046, 16'd17010, 16'd16974, 16'd16939,
    16'd16904, 16'd16869, 16'd16834, 16'd16799, 16'd16765, 16'd16731, 16'd16697, 16'd16663,
    16'd16629, 16'd16596, 16'd16563, 16'd16530, 16'd16497, 16'd16465, 16'd16432, 16'd16400
  };

  // RECIPROCAL[j] ~ 2^15 / ((j + 256.5) / 256). An array, which tools map as a ROM.
  localparam logic [15:0] RECIPROCAL[256] = '{
    16'd32704, 16'd32577, 16'd32451, 16'd32326, 16'd32202, 16'd32079, 16'd31957, 16'd31835,
    16'd31715, 16'd31596, 16'd31477, 16'd31359, 16'd31242, 16'd31127, 16'd31011, 16'd30897,
    16'd30784, 16'd30671, 16'd30560, 16'd30449, 16'd30339, 16'd30229, 16'd30121, 16'd30013,
    16'd29906, 16'd29800, 16'd29694, 16'd29589, 16'd29485, 16'd29382, 16'd29280, 16'd29178,
    16'd29077, 16'd28976, 16'd28876, 16'd28777, 16'd28679, 16'd28581, 16'd28484, 16'd28388,
    16'd28292, 16'd28197, 16'd28103, 16'd28009, 16'd27916, 16'd27823, 16'd27731, 16'd27640,
    16'd27549, 16'd27459, 16'd27369, 16'd27280, 16'd27192, 16'd27104, 16'd27016, 16'd26930,
    16'd26844, 16'd26758, 16'd26673, 16'd26588, 16'd26504, 16'd26421, 16'd26338, 16'd26255,
    16'd26174, 16'd26092, 16'd26011, 16'd25931, 16'd25851, 16'd25771, 16'd25693, 16'd25614,
    16'd25536, 16'd25459, 16'd25382, 16'd25305, 16'd25229, 16'd25153, 16'd25078, 16'd25003,
    16'd24929, 16'd24855, 16'd24782, 16'd24709, 16'd24636, 16'd24564, 16'd24492, 16'd24421,
    16'd24350, 16'd24280, 16'd24210, 16'd24140, 16'd24071, 16'd24002, 16'd23933, 16'd23865,
    16'd23797, 16'd23730, 16'd23663, 16'd23597, 16'd23530, 16'd23465, 16'd23399, 16'd23334,
    16'd23269, 16'd23205, 16'd23141, 16'd23077, 16'd23014, 16'd22951, 16'd22888, 16'd22826,
    16'd22764, 16'd22703, 16'd22641, 16'd22580, 16'd22520, 16'd22459, 16'd22399, 16'd22340,
    16'd22280, 16'd22221, 16'd22163, 16'd22104, 16'd22046, 16'd21988, 16'd21931, 16'd21874,
    16'd21817, 16'd21760, 16'd21704, 16'd21648, 16'd21592, 16'd21537, 16'd21482, 16'd21427,
    16'd21372, 16'd21318, 16'd21264, 16'd21210, 16'd21157, 16'd21103, 16'd21050, 16'd20998,
    16'd20945, 16'd20893, 16'd20841, 16'd20790, 16'd20738, 16'd20687, 16'd20636, 16'd20586,
    16'd20535, 16'd20485, 16'd20435, 16'd20385, 16'd20336, 16'd20287, 16'd20238, 16'd20189,
    16'd20141, 16'd20092, 16'd20044, 16'd19997, 16'd19949, 16'd19902, 16'd19855, 16'd19808,
    16'd19761, 16'd19715, 16'd19668, 16'd19622, 16'd19577, 16'd19531, 16'd19486, 16'd19441,
    16'd19396, 16'd19351, 16'd19306, 16'd19262, 16'd19218, 16'd19174, 16'd19130, 16'd19087,
    16'd19043, 16'd19000, 16'd18957, 16'd18915, 16'd18872, 16'd18830, 16'd18787, 16'd18745,
    16'd18704, 16'd18662, 16'd18621, 16'd18579, 16'd18538, 16'd18497, 16'd18457, 16'd18416,
    16'd18376, 16'd18336, 16'd18296, 16'd18256, 16'd18216, 16'd18177, 16'd18138, 16'd18098,
    16'd18059, 16'd18021, 16'd17982, 16'd17944, 16'd17905, 16'd17867, 16'd17829, 16'd17791,
    16'd17754, 16'd17716, 16'd17679, 16'd17642, 16'd17605, 16'd17568, 16'd17531, 16'd17494,
    16'd17458, 16'd17422, 16'd17386, 16'd17350, 16'd17314, 16'd17278, 16'd17243, 16'd17207,
    16'd17172, 16'd17137, 16'd17102, 16'd17067, 16'd17033, 16'd16998, 16'd16964, 16'd16930,
    16'd16895, 16'd16862, 16'd16828, 16'd16794, 16'd16760, 16'd16727, 16'd16694, 16'd16661,
    16'd16628, 16'd16595, 16'd16562, 16'd16529, 16'd16497, 16'd16464, 16'd16432, 16'd16400
  };

endpackage
