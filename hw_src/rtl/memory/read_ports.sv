// The AXI4 read ports and who uses which.
//
// Clients by priority: descriptors, parameters on request, parameters ahead, tables ahead (all port
// 0), image, residual, weights. A client with one lane uses port 0 for the image and the last port
// else; one with two uses port 0 and the last one; weights with more take a port each.

module read_ports
  import quasar_pkg::*;
#(
    parameter int unsigned READ_PORTS = 2,
    parameter int unsigned STREAMS = 1,
    parameter int unsigned RESIDUAL_LANES = 1,
    parameter int unsigned WEIGHT_LANES = 1,
    parameter int unsigned PORT_BITS = 128,
    parameter int unsigned LENGTH_BITS = 5
) (
    input logic clk_i,
    input logic rst_i,
    input logic abort_i,
    output logic quiet_o,
    input logic [31:0] timeout_i,

    output logic [PORT_BITS-1:0] first_data_o,  // of port 0, for descriptors and parameters
    input logic descriptor_valid_i,
    output logic descriptor_ready_o,
    input logic [63:0] descriptor_address_i,
    input logic [LENGTH_BITS-1:0] descriptor_length_i,
    output logic descriptor_data_valid_o,
    input logic [2:0] parameter_valid_i,
    output logic [2:0] parameter_ready_o,
    input logic [2:0][63:0] parameter_address_i,
    input logic [2:0][LENGTH_BITS-1:0] parameter_length_i,
    output logic [2:0] parameter_data_valid_o,
    input logic [STREAMS-1:0] image_valid_i,
    output logic [STREAMS-1:0] image_ready_o,
    input logic [STREAMS-1:0][63:0] image_address_i,
    input logic [STREAMS-1:0][LENGTH_BITS-1:0] image_length_i,
    output logic [STREAMS-1:0] image_data_valid_o,
    output logic [STREAMS-1:0][PORT_BITS-1:0] image_data_o,
    input logic [RESIDUAL_LANES-1:0] residual_valid_i,
    output logic [RESIDUAL_LANES-1:0] residual_ready_o,
    input logic [RESIDUAL_LANES-1:0][63:0] residual_address_i,
    input logic [RESIDUAL_LANES-1:0][LENGTH_BITS-1:0] residual_length_i,
    output logic [RESIDUAL_LANES-1:0] residual_data_valid_o,
    output logic [RESIDUAL_LANES-1:0][PORT_BITS-1:0] residual_data_o,
    input logic [WEIGHT_LANES-1:0] weight_valid_i,
    output logic [WEIGHT_LANES-1:0] weight_ready_o,
    input logic [WEIGHT_LANES-1:0][63:0] weight_address_i,
    input logic [WEIGHT_LANES-1:0][LENGTH_BITS-1:0] weight_length_i,
    output logic [WEIGHT_LANES-1:0] weight_data_valid_o,
    output logic [WEIGHT_LANES-1:0][PORT_BITS-1:0] weight_data_o,

    output logic [READ_PORTS-1:0] fault_o,
    output cause_e [READ_PORTS-1:0] fault_cause_o,
    output logic [READ_PORTS-1:0][63:0] fault_address_o,

    output logic [READ_PORTS-1:0][63:0] m_axi_araddr_o,
    output logic [READ_PORTS-1:0][7:0] m_axi_arlen_o,
    output logic [READ_PORTS-1:0][2:0] m_axi_arsize_o,
    output logic [READ_PORTS-1:0][1:0] m_axi_arburst_o,
    output logic [READ_PORTS-1:0] m_axi_arvalid_o,
    input logic [READ_PORTS-1:0] m_axi_arready_i,
    input logic [READ_PORTS-1:0][PORT_BITS-1:0] m_axi_rdata_i,
    input logic [READ_PORTS-1:0][1:0] m_axi_rresp_i,
    input logic [READ_PORTS-1:0] m_axi_rlast_i,
    input logic [READ_PORTS-1:0] m_axi_rvalid_i,
    output logic [READ_PORTS-1:0] m_axi_rready_o
);

  // The two streams of the image are two clients, which may share a port.
  localparam int unsigned CLIENTS = 8;
  localparam int unsigned C_DESCRIPTORS = 0, C_PARAMETERS = 1, C_IMAGE = 4, C_RESIDUAL = 6,
      C_WEIGHTS = 7;
  localparam int unsigned LAST = READ_PORTS - 1;

  logic [READ_PORTS-1:0][CLIENTS-1:0] valid, ready, data_valid;
  logic [READ_PORTS-1:0][CLIENTS-1:0][63:0] address;
  logic [READ_PORTS-1:0][CLIENTS-1:0][LENGTH_BITS-1:0] length;
  logic [READ_PORTS-1:0][PORT_BITS-1:0] data;
  logic [READ_PORTS-1:0] quiet;

  assign quiet_o = &quiet;

  for (genvar p = 0; p < READ_PORTS; p++) begin : gen_port
    axi_reader #(
        .CLIENTS(CLIENTS),
        .PORT_BITS(PORT_BITS),
        .LENGTH_BITS(LENGTH_BITS)
    ) i_reader (
        .clk_i,
        .rst_i,
        .abort_i,
        .quiet_o(quiet[p]),
        .timeout_i,
        .req_valid_i(valid[p]),
        .req_ready_o(ready[p]),
        .req_address_i(address[p]),
        .req_length_i(length[p]),
        .data_valid_o(data_valid[p]),
        .data_o(data[p]),
        .fault_o(fault_o[p]),
        .fault_cause_o(fault_cause_o[p]),
        .fault_address_o(fault_address_o[p]),
        .m_axi_araddr_o(m_axi_araddr_o[p]),
        .m_axi_arlen_o(m_axi_arlen_o[p]),
        .m_axi_arsize_o(m_axi_arsize_o[p]),
        .m_axi_arburst_o(m_axi_arburst_o[p]),
        .m_axi_arvalid_o(m_axi_arvalid_o[p]),
        .m_axi_arready_i(m_axi_arready_i[p]),
        .m_axi_rdata_i(m_axi_rdata_i[p]),
        .m_axi_rresp_i(m_axi_rresp_i[p]),
        .m_axi_rlast_i(m_axi_rlast_i[p]),
        .m_axi_rvalid_i(m_axi_rvalid_i[p]),
        .m_axi_rready_o(m_axi_rready_o[p])
    );
  end

  // Ports of lane l of a client.
  function automatic int unsigned outer(input int unsigned lanes, input int unsigned l);
    return lanes == 1 ? LAST : l * LAST;
  endfunction
  function automatic int unsigned each(input int unsigned lanes, input int unsigned l);
    return lanes == 1 ? LAST : l;
  endfunction

  always_comb begin
    valid = '0;
    address = '0;
    length = '0;
    valid[0][C_DESCRIPTORS] = descriptor_valid_i;
    address[0][C_DESCRIPTORS] = descriptor_address_i;
    length[0][C_DESCRIPTORS] = descriptor_length_i;
    valid[0][C_PARAMETERS+:3] = parameter_valid_i;
    address[0][C_PARAMETERS+:3] = parameter_address_i;
    length[0][C_PARAMETERS+:3] = parameter_length_i;
    for (int unsigned l = 0; l < STREAMS; l++) begin
      valid[l*LAST][C_IMAGE+l] = image_valid_i[l];
      address[l*LAST][C_IMAGE+l] = image_address_i[l];
      length[l*LAST][C_IMAGE+l] = image_length_i[l];
    end
    for (int unsigned l = 0; l < RESIDUAL_LANES; l++) begin
      valid[outer(RESIDUAL_LANES, l)][C_RESIDUAL] = residual_valid_i[l];
      address[outer(RESIDUAL_LANES, l)][C_RESIDUAL] = residual_address_i[l];
      length[outer(RESIDUAL_LANES, l)][C_RESIDUAL] = residual_length_i[l];
    end
    for (int unsigned l = 0; l < WEIGHT_LANES; l++) begin
      valid[each(WEIGHT_LANES, l)][C_WEIGHTS] = weight_valid_i[l];
      address[each(WEIGHT_LANES, l)][C_WEIGHTS] = weight_address_i[l];
      length[each(WEIGHT_LANES, l)][C_WEIGHTS] = weight_length_i[l];
    end
  end

  assign first_data_o = data[0];
  assign descriptor_ready_o = ready[0][C_DESCRIPTORS];
  assign descriptor_data_valid_o = data_valid[0][C_DESCRIPTORS];
  assign parameter_ready_o = ready[0][C_PARAMETERS+:3];
  assign parameter_data_valid_o = data_valid[0][C_PARAMETERS+:3];
  for (genvar l = 0; l < STREAMS; l++) begin : gen_image
    assign image_ready_o[l] = ready[l*LAST][C_IMAGE+l];
    assign image_data_valid_o[l] = data_valid[l*LAST][C_IMAGE+l];
    assign image_data_o[l] = data[l*LAST];
  end
  for (genvar l = 0; l < RESIDUAL_LANES; l++) begin : gen_residual
    assign residual_ready_o[l] = ready[outer(RESIDUAL_LANES, l)][C_RESIDUAL];
    assign residual_data_valid_o[l] = data_valid[outer(RESIDUAL_LANES, l)][C_RESIDUAL];
    assign residual_data_o[l] = data[outer(RESIDUAL_LANES, l)];
  end
  for (genvar l = 0; l < WEIGHT_LANES; l++) begin : gen_weight
    assign weight_ready_o[l] = ready[each(WEIGHT_LANES, l)][C_WEIGHTS];
    assign weight_data_valid_o[l] = data_valid[each(WEIGHT_LANES, l)][C_WEIGHTS];
    assign weight_data_o[l] = data[each(WEIGHT_LANES, l)];
  end

  // Most ports have few clients.
  logic unused;
  assign unused = ^{ready, data_valid};

endmodule
