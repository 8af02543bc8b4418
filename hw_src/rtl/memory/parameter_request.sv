// Asks for a descriptor's parameters, once each: LINEAR its table, if any, then its rows; LAYERNORM
// its gains; ATTENTION its heads.
module parameter_request
  import quasar_pkg::*;
(
    input  logic               clk_i,
    input  logic               rst_i,
    input  logic               start_i,
    input  descriptor_t        descriptor_i,
    output logic               req_valid_o,
    input  logic               req_ready_i,
    output logic        [31:0] req_offset_o,
    output logic        [31:0] req_bytes_o
);
  logic valid_q, second_q;
  logic [31:0] offset_q, bytes_q, bytes;

  always_comb begin
    case (descriptor_i.opcode)
      OPCODE_LINEAR: bytes = 32'(descriptor_i.outputs) * 32'(ROW_BYTES);
      OPCODE_LAYERNORM: bytes = 32'(descriptor_i.inputs) * 32'd2;
      default: bytes = 32'(descriptor_i.heads) * 32'(HEAD_BYTES);
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (valid_q && req_ready_i) begin
      valid_q  <= second_q;
      second_q <= 1'b0;
      offset_q <= descriptor_i.parameters;
      bytes_q  <= bytes;
    end
    if (start_i) begin
      valid_q  <= 1'b1;
      second_q <= 1'b0;
      offset_q <= descriptor_i.parameters;
      bytes_q  <= bytes;
      if (descriptor_i.opcode == OPCODE_LINEAR && descriptor_i.mode == EPILOGUE_TABLE) begin
        second_q <= 1'b1;
        offset_q <= descriptor_i.lookup;
        bytes_q  <= 32'(TABLE_BYTES);
      end
    end
    if (rst_i) valid_q <= 1'b0;
  end
  assign req_valid_o  = valid_q;
  assign req_offset_o = offset_q;
  assign req_bytes_o  = bytes_q;

  logic unused;
  assign unused = ^descriptor_i;
endmodule
