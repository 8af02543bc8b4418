// Profile entries on their way to memory: begin and end cycle of a descriptor, two uint64, written
// as one beat to PROFILE + 16 * number, behind the work.

module profile_writer
  import quasar_pkg::*;
#(
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 4,
    parameter int unsigned ENTRIES = 8
) (
    input logic clk_i,
    input logic rst_i,
    input logic [63:0] profile_i,
    input logic valid_i,
    output logic ready_o,
    input logic [25:0] number_i,
    input logic [47:0] begin_i,
    input logic [47:0] end_i,
    output logic idle_o,  // every entry was handed to the port

    output logic req_valid_o,
    input logic req_ready_i,
    output logic [63:0] req_address_o,
    output logic [LENGTH_BITS-1:0] req_length_o,
    input logic pop_i,
    output logic [PORT_BITS-1:0] data_o,
    output logic [PORT_BITS/8-1:0] strobe_o
);

  if (PROFILE_BYTES * 8 != PORT_BITS) begin : gen_check_a_profile_entry
    $error("a profile entry must be one beat");
  end

  logic address_room, data_room, data_valid;
  logic [25:0] number;

  // The address goes when the burst is granted, the data when they are sent.
  fifo #(
      .WIDTH(26),
      .DEPTH(ENTRIES)
  ) i_addresses (
      .clk_i,
      .rst_i,
      .valid_i(valid_i && ready_o),
      .ready_o(address_room),
      .data_i (number_i),
      .valid_o(req_valid_o),
      .ready_i(req_ready_i),
      .data_o (number)
  );
  fifo #(
      .WIDTH(PORT_BITS),
      .DEPTH(ENTRIES)
  ) i_data (
      .clk_i,
      .rst_i,
      .valid_i(valid_i && ready_o),
      .ready_o(data_room),
      .data_i ({64'(end_i), 64'(begin_i)}),
      .valid_o(data_valid),
      .ready_i(pop_i),
      .data_o
  );

  assign ready_o = address_room && data_room;
  assign idle_o = !req_valid_o && !data_valid;
  assign req_address_o = profile_i + 64'({number, 4'd0});
  assign req_length_o = '0;
  assign strobe_o = '1;

endmodule
