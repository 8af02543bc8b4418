// The AXI4-Lite register file of quasar_runtime/isa/interface.py, REGISTERS.
//
// One access per direction at a time. A write's address and data are accepted independently and
// held until both are there: no READY depends on a VALID, as AXI demands. Reads of undefined offsets
// give 0, writes to them and to read-only registers are ignored; answers are always OKAY. Byte strobes
// are honoured. Configuration survives CONTROL.reset.

module axil_registers
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned ACT_WORDS = 6400,
    parameter int unsigned RES_WORDS = 1280,
    parameter int unsigned LOGITS = 1024,
    parameter int unsigned READ_PORTS = 2,
    parameter int unsigned CLOCK_KHZ = 300000
) (
    input logic clk_i,
    input logic rst_i,
    output logic irq_o,

    // To and from the sequencer
    output logic start_o,  // one cycle
    output logic reset_o,  // one cycle
    input logic [3:0] status_i,
    input cause_e cause_i,
    input logic [31:0] descriptor_i,
    input logic [63:0] address_i,
    input logic [47:0] cycles_i,
    input logic done_event_i,
    input logic error_event_i,
    output logic [31:0] count_o,
    output logic [31:0] timeout_o,
    output logic [63:0] program_o,
    output logic [31:0] program_bytes_o,
    output logic [63:0] image_o,
    output logic [31:0] image_bytes_o,
    output logic [63:0] output_o,
    output logic [31:0] output_bytes_o,
    output logic [63:0] profile_o,
    output logic [31:0] profile_bytes_o,

    input logic [7:0] s_axil_awaddr_i,
    input logic s_axil_awvalid_i,
    output logic s_axil_awready_o,
    input logic [31:0] s_axil_wdata_i,
    input logic [3:0] s_axil_wstrb_i,
    input logic s_axil_wvalid_i,
    output logic s_axil_wready_o,
    output logic [1:0] s_axil_bresp_o,
    output logic s_axil_bvalid_o,
    input logic s_axil_bready_i,
    input logic [7:0] s_axil_araddr_i,
    input logic s_axil_arvalid_i,
    output logic s_axil_arready_o,
    output logic [31:0] s_axil_rdata_o,
    output logic [1:0] s_axil_rresp_o,
    output logic s_axil_rvalid_o,
    input logic s_axil_rready_i
);

  localparam logic [31:0] ARRAY = TOKENS | ROWS << 8 | DEPTH << 16;
  localparam logic [31:0] VERSION = VERSION_MAJOR << 16 | VERSION_MINOR;

  logic [1:0] enable_q, pending_q;

  // --- Writes
  logic write, address_held_q, data_held_q;
  logic [7:2] write_word_q;
  logic [31:0] wdata_q, mask;
  logic [3:0] wstrb_q;
  logic [7:0] write_offset;

  assign write = address_held_q && data_held_q && !s_axil_bvalid_o;
  assign s_axil_awready_o = !address_held_q;
  assign s_axil_wready_o = !data_held_q;
  assign s_axil_bresp_o = 2'b00;
  assign write_offset = {write_word_q, 2'b00};
  always_comb for (int b = 0; b < 4; b++) mask[8*b+:8] = {8{wstrb_q[b]}};

  always_ff @(posedge clk_i) begin
    if (!address_held_q) begin
      address_held_q <= s_axil_awvalid_i;
      write_word_q   <= s_axil_awaddr_i[7:2];
    end
    if (!data_held_q) begin
      data_held_q <= s_axil_wvalid_i;
      wdata_q <= s_axil_wdata_i;
      wstrb_q <= s_axil_wstrb_i;
    end
    if (write || rst_i) begin
      address_held_q <= 1'b0;
      data_held_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    s_axil_bvalid_o <= write || (s_axil_bvalid_o && !s_axil_bready_i);
    start_o <= 1'b0;
    reset_o <= 1'b0;
    if (write) begin
      case (write_offset)
        REG_CONTROL: begin
          start_o <= wdata_q[CONTROL_START_BIT] && mask[CONTROL_START_BIT] &&
              !(wdata_q[CONTROL_RESET_BIT] && mask[CONTROL_RESET_BIT]);
          reset_o <= wdata_q[CONTROL_RESET_BIT] && mask[CONTROL_RESET_BIT];
        end
        REG_INTERRUPT_ENABLE: if (wstrb_q[0]) enable_q <= wdata_q[1:0];
        default: ;
      endcase
      // Bytes with an enable each, so that data go to the registers without logic.
      for (int unsigned b = 0; b < 4; b++) begin
        if (wstrb_q[b]) begin
          case (write_offset)
            REG_DESCRIPTOR_COUNT: count_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_TIMEOUT: timeout_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_PROGRAM_LO: program_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_PROGRAM_HI: program_o[32+8*b+:8] <= wdata_q[8*b+:8];
            REG_PROGRAM_BYTES: program_bytes_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_IMAGE_LO: image_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_IMAGE_HI: image_o[32+8*b+:8] <= wdata_q[8*b+:8];
            REG_IMAGE_BYTES: image_bytes_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_OUTPUT_LO: output_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_OUTPUT_HI: output_o[32+8*b+:8] <= wdata_q[8*b+:8];
            REG_OUTPUT_BYTES: output_bytes_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_PROFILE_LO: profile_o[8*b+:8] <= wdata_q[8*b+:8];
            REG_PROFILE_HI: profile_o[32+8*b+:8] <= wdata_q[8*b+:8];
            REG_PROFILE_BYTES: profile_bytes_o[8*b+:8] <= wdata_q[8*b+:8];
            default: ;
          endcase
        end
      end
    end
    if (rst_i) begin
      s_axil_bvalid_o <= 1'b0;
      start_o <= 1'b0;
      reset_o <= 1'b0;
      enable_q <= '0;
      count_o <= '0;
      timeout_o <= '0;
      program_o <= '0;
      program_bytes_o <= '0;
      image_o <= '0;
      image_bytes_o <= '0;
      output_o <= '0;
      output_bytes_o <= '0;
      profile_o <= '0;
      profile_bytes_o <= '0;
    end
  end

  // --- Interrupts: an event sets its bit, writing one clears it, the event wins.
  logic [1:0] clear;
  assign clear = write && write_offset == REG_INTERRUPT_STATUS && wstrb_q[0] ?
      wdata_q[1:0] : 2'b00;

  always_ff @(posedge clk_i) begin
    pending_q <= (pending_q & ~clear) | {error_event_i, done_event_i};
    if (rst_i || reset_o) pending_q <= '0;
    irq_o <= !rst_i && |(pending_q & enable_q);
  end

  // --- Reads
  logic read;
  logic [31:0] read_data;

  assign s_axil_arready_o = !s_axil_rvalid_o;
  assign read = s_axil_arvalid_i && s_axil_arready_o;
  assign s_axil_rresp_o = 2'b00;

  always_comb begin
    case ({s_axil_araddr_i[7:2], 2'b00})
      REG_IDENTITY: read_data = IDENTITY;
      REG_VERSION: read_data = VERSION;
      REG_ARRAY: read_data = ARRAY;
      REG_ACT_WORDS: read_data = ACT_WORDS;
      REG_RES_WORDS: read_data = RES_WORDS;
      REG_LOGITS: read_data = LOGITS;
      REG_CLOCK_KHZ: read_data = CLOCK_KHZ;
      REG_PORTS: read_data = READ_PORTS;
      REG_STATUS: read_data = 32'(status_i);
      REG_ERROR_CAUSE: read_data = 32'(cause_i);
      REG_ERROR_DESCRIPTOR: read_data = descriptor_i;
      REG_ERROR_ADDRESS_LO: read_data = address_i[31:0];
      REG_ERROR_ADDRESS_HI: read_data = address_i[63:32];
      REG_CYCLES_LO: read_data = cycles_i[31:0];
      REG_CYCLES_HI: read_data = 32'(cycles_i[47:32]);
      REG_INTERRUPT_ENABLE: read_data = 32'(enable_q);
      REG_INTERRUPT_STATUS: read_data = 32'(pending_q);
      REG_DESCRIPTOR_COUNT: read_data = count_o;
      REG_TIMEOUT: read_data = timeout_o;
      REG_PROGRAM_LO: read_data = program_o[31:0];
      REG_PROGRAM_HI: read_data = program_o[63:32];
      REG_PROGRAM_BYTES: read_data = program_bytes_o;
      REG_IMAGE_LO: read_data = image_o[31:0];
      REG_IMAGE_HI: read_data = image_o[63:32];
      REG_IMAGE_BYTES: read_data = image_bytes_o;
      REG_OUTPUT_LO: read_data = output_o[31:0];
      REG_OUTPUT_HI: read_data = output_o[63:32];
      REG_OUTPUT_BYTES: read_data = output_bytes_o;
      REG_PROFILE_LO: read_data = profile_o[31:0];
      REG_PROFILE_HI: read_data = profile_o[63:32];
      REG_PROFILE_BYTES: read_data = profile_bytes_o;
      default: read_data = '0;
    endcase
  end

  always_ff @(posedge clk_i) begin
    s_axil_rvalid_o <= read || (s_axil_rvalid_o && !s_axil_rready_i);
    if (read) s_axil_rdata_o <= read_data;
    if (rst_i) s_axil_rvalid_o <= 1'b0;
  end

  logic unused;
  assign unused = ^{s_axil_awaddr_i[1:0], s_axil_araddr_i[1:0]};

endmodule
