// Answers the datapath's parameter requests: row, gain and head parameters, and lookup tables.
//
// Requests (offset from PROGRAM, bytes) are answered in order, ceil(bytes / beat) beats each. What an
// operation is going to ask for is known when its descriptor is queued: its parameters in order, and
// its table. Both are read ahead (`prefetch`). A request that continues the prefetched range is
// answered from there; any other is read from memory when its turn comes, with the memory's latency.
// A request is compared with what was prefetched in the cycle after it was taken, and its answer
// leaves through a register (`slice`).

module parameter_unit
  import quasar_pkg::*;
#(
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5
) (
    input logic clk_i,
    input logic rst_i,
    input logic [63:0] program_i,

    input logic ahead_valid_i,
    input descriptor_t ahead_descriptor_i,
    input logic [7:0] ahead_number_i,
    input logic [7:0] current_i,  // number of the operation under way

    // Read port clients: 0 direct, 1 parameters ahead, 2 tables ahead
    output logic [2:0] req_valid_o,
    input logic [2:0] req_ready_i,
    output logic [2:0][63:0] req_address_o,
    output logic [2:0][LENGTH_BITS-1:0] req_length_o,
    input logic [2:0] data_valid_i,
    input logic [PORT_BITS-1:0] data_i,

    input logic p_req_valid_i,
    output logic p_req_ready_o,
    input logic [31:0] p_req_offset_i,
    input logic [31:0] p_req_bytes_i,
    output logic p_valid_o,
    input logic p_ready_i,
    output logic [PORT_BITS-1:0] p_data_o
);

  localparam int unsigned SIZE = $clog2(PORT_BITS / 8);

  function automatic logic [12:0] beats(input logic [31:0] size);
    return 13'((size + 32'(2 ** SIZE - 1)) >> SIZE);
  endfunction

  // --- Reading ahead
  descriptor_t d;
  logic is_linear, has_rows, has_table;
  logic [31:0] bytes;

  assign d = ahead_descriptor_i;
  assign is_linear = d.opcode == OPCODE_LINEAR;
  assign has_rows = is_linear || d.opcode == OPCODE_LAYERNORM || d.opcode == OPCODE_ATTENTION;
  assign has_table = is_linear && d.mode == EPILOGUE_TABLE;
  always_comb begin
    case (d.opcode)
      OPCODE_LINEAR: bytes = 32'(d.outputs) * 32'(ROW_BYTES);
      OPCODE_LAYERNORM: bytes = 32'(d.inputs) * 32'd2;
      default: bytes = 32'(d.heads) * 32'(HEAD_BYTES);
    endcase
  end

  logic [1:0] head_valid, valid, ready;  // 0 parameters, 1 tables
  logic [1:0][31:0] head_offset;
  logic [1:0][12:0] head_left;
  logic [1:0][PORT_BITS-1:0] data;

  prefetch #(
      .BEATS(512),
      .BLOCK(1'b1),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(LENGTH_BITS)
  ) i_rows (
      .clk_i,
      .rst_i,
      .program_i,
      .current_i,
      .ahead_valid_i(ahead_valid_i && has_rows),
      .ahead_offset_i(d.parameters),
      .ahead_beats_i(beats(bytes)),
      .ahead_number_i,
      .req_valid_o(req_valid_o[1]),
      .req_ready_i(req_ready_i[1]),
      .req_address_o(req_address_o[1]),
      .req_length_o(req_length_o[1]),
      .data_valid_i(data_valid_i[1]),
      .data_i,
      .head_valid_o(head_valid[0]),
      .head_offset_o(head_offset[0]),
      .head_left_o(head_left[0]),
      .valid_o(valid[0]),
      .ready_i(ready[0]),
      .data_o(data[0])
  );

  prefetch #(
      .BEATS(32),
      .BLOCK(1'b0),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(LENGTH_BITS)
  ) i_tables (
      .clk_i,
      .rst_i,
      .program_i,
      .current_i,
      .ahead_valid_i(ahead_valid_i && has_table),
      .ahead_offset_i(d.lookup),
      .ahead_beats_i(beats(32'(TABLE_BYTES))),
      .ahead_number_i,
      .req_valid_o(req_valid_o[2]),
      .req_ready_i(req_ready_i[2]),
      .req_address_o(req_address_o[2]),
      .req_length_o(req_length_o[2]),
      .data_valid_i(data_valid_i[2]),
      .data_i,
      .head_valid_o(head_valid[1]),
      .head_offset_o(head_offset[1]),
      .head_left_o(head_left[1]),
      .valid_o(valid[1]),
      .ready_i(ready[1]),
      .data_o(data[1])
  );

  // --- Requests
  typedef enum logic [1:0] {
    NEXT,
    AHEAD,
    TABLE,
    DIRECT
  } state_e;
  state_e state_q;

  logic asked_q, compared_q, request_taken, job_ready, direct_valid, beat, last_q;
  logic answer_valid, answer_ready;
  logic [31:0] offset_q;
  logic [12:0] length_q, left_q;
  logic [1:0] hit_q;
  logic [PORT_BITS-1:0] direct_data, answer;

  // Nothing of what was prefetched is taken from the comparison until its use: a hit stays one.
  assign p_req_ready_o = !asked_q;
  assign request_taken = compared_q && (|hit_q || job_ready);
  always_ff @(posedge clk_i) begin
    if (!asked_q) begin
      asked_q  <= p_req_valid_i;
      offset_q <= p_req_offset_i;
      length_q <= beats(p_req_bytes_i);
    end
    compared_q <= asked_q && state_q == NEXT && !request_taken;
    for (int i = 0; i < 2; i++)
      hit_q[i] <= head_valid[i] && head_offset[i] == offset_q && length_q <= head_left[i];
    if (request_taken) asked_q <= 1'b0;
    if (rst_i) begin
      asked_q <= 1'b0;
      compared_q <= 1'b0;
    end
  end

  read_client #(
      .BEATS(32),
      .PORT_BITS(PORT_BITS),
      .LENGTH_BITS(LENGTH_BITS)
  ) i_direct (
      .clk_i,
      .rst_i,
      .job_valid_i(compared_q && !(|hit_q)),
      .job_ready_o(job_ready),
      .job_address_i(program_i + 64'(offset_q)),
      .job_beats_i(28'(length_q)),
      .req_valid_o(req_valid_o[0]),
      .req_ready_i(req_ready_i[0]),
      .req_address_o(req_address_o[0]),
      .req_length_o(req_length_o[0]),
      .data_valid_i(data_valid_i[0]),
      .data_i,
      .valid_o(direct_valid),
      .ready_i(state_q == DIRECT && answer_ready),
      .data_o(direct_data)
  );

  always_comb begin
    answer_valid = 1'b0;
    answer = data[0];
    case (state_q)
      AHEAD: answer_valid = valid[0];
      TABLE: begin
        answer_valid = valid[1];
        answer = data[1];
      end
      DIRECT: begin
        answer_valid = direct_valid;
        answer = direct_data;
      end
      default: ;
    endcase
  end
  assign ready[0] = state_q == AHEAD && answer_ready;
  assign ready[1] = state_q == TABLE && answer_ready;
  assign beat = answer_valid && answer_ready;

  always_ff @(posedge clk_i) begin
    if (beat) begin
      left_q <= left_q - 1'b1;
      last_q <= left_q == 13'd2;
      if (last_q) state_q <= NEXT;
    end
    if (request_taken) begin
      left_q <= length_q;
      last_q <= length_q == 13'd1;
      if (length_q != '0) state_q <= hit_q[0] ? AHEAD : hit_q[1] ? TABLE : DIRECT;
    end
    if (rst_i) state_q <= NEXT;
  end

  slice #(
      .WIDTH(PORT_BITS)
  ) i_answer (
      .clk_i,
      .rst_i,
      .valid_i(answer_valid),
      .ready_o(answer_ready),
      .data_i (answer),
      .valid_o(p_valid_o),
      .ready_i(p_ready_i),
      .data_o (p_data_o)
  );

  logic unused;
  assign unused = ^{d.layer, d.tokens, d.keys, d.rows8, d.source, d.source_kv, d.channel_k,
                    d.channel_v, d.destination, d.source_pitch, d.kv_pitch, d.destination_pitch,
                    d.clamp, d.shift, d.weights, d.address, d.epsilon, d.image_size, d.reserved};

endmodule
