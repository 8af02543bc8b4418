// LINEAR: walks group -> token tile -> step, a step a cycle, without a bubble between tiles or
// groups, and takes the weight stream into the weight memory ahead of its use.
//
// The weight memory is a ring of BEATS beats. A group's beats stay until its last token tile has
// read them; the stream fills what is free, so that later groups are there early. A step may be
// issued as soon as its own beat has arrived.
//
// Last steps of tiles are spaced by the group's drain cost, because the captured accumulators have
// no other protection (array.sv).
module linear_unit
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned BEATS = 512,
    parameter int unsigned COST_BITS = 5,
    localparam int unsigned WADDRESS = $clog2(BEATS)
) (
    input  logic                                  clk_i,
    input  logic                                  rst_i,
    input  logic                                  start_i,
    input  descriptor_t                           descriptor_i,
    // weight stream
    input  logic                                  w_valid_i,
    output logic                                  w_ready_o,
    output logic                                  fill_we_o,
    output logic        [WADDRESS-1:0]            fill_address_o,
    // row parameters
    input  logic        [         1:0]            full_i,
    input  logic        [         1:0][COST_BITS-1:0] cost_i,
    input  logic                                  release_i,
    input  logic                                  release_parity_i,
    // to the memories and the array
    output logic                                  issue_o,
    output logic        [ADDRESS_BITS-1:0]        x_address_o,
    output logic        [WADDRESS-1:0]            w_address_o,
    output logic                                  first_o,
    output logic                                  last_o,
    output meta_t                                 meta_o
);
  localparam int unsigned GROUP_BITS = 13;

  logic running_q;
  logic [15:0] steps, step_q;
  logic [8:0] tiles, tile_q;
  logic [GROUP_BITS-1:0] groups, group_q;
  assign steps  = descriptor_i.inputs >> $clog2(DEPTH);
  assign tiles  = 9'((descriptor_i.tokens + 16'(TOKENS - 1)) >> $clog2(TOKENS));
  assign groups = GROUP_BITS'((descriptor_i.outputs + descriptor_i.rows8 + 16'(ROWS - 1)) >>
                              $clog2(ROWS));

  // Filling. A beat is counted the cycle before it is written: the read of it comes later still.
  logic filling_q, accept, fill_group_last;
  logic [15:0] fill_step_q;
  logic [GROUP_BITS-1:0] fill_group_q;
  logic [WADDRESS-1:0] fill_address_q, base_q;
  logic [WADDRESS:0] resident_q;
  logic release_group;
  assign w_ready_o = filling_q && resident_q != (WADDRESS + 1)'(BEATS);
  assign accept = w_valid_i && w_ready_o;
  assign fill_group_last = fill_step_q + 16'd1 == steps;
  assign fill_we_o = accept;
  assign fill_address_o = fill_address_q;

  // Issuing.
  logic go, step_last, tile_last, group_last;
  logic [COST_BITS-1:0] pace_q;
  logic [1:0] issued_q;
  logic rows_ready;
  assign step_last = step_q + 16'd1 == steps;
  assign tile_last = tile_q + 9'd1 == tiles;
  assign group_last = group_q + GROUP_BITS'(1) == groups;
  // A group's parameters must be there when a tile's last step is issued. They stay full until the
  // group's last tile is drained: issued_q tells them from new ones.
  assign rows_ready = full_i[group_q[0]] && !issued_q[group_q[0]];
  assign go = running_q && step_q < 16'(resident_q) &&
      (!step_last || (rows_ready && pace_q == '0));
  assign release_group = go && step_last && tile_last;

  logic [ADDRESS_BITS-1:0] source_q, destination_q;
  always_ff @(posedge clk_i) begin
    if (accept) begin
      fill_address_q <= fill_address_q + WADDRESS'(1);
      fill_step_q <= fill_group_last ? '0 : fill_step_q + 16'd1;
      if (fill_group_last) begin
        fill_group_q <= fill_group_q + GROUP_BITS'(1);
        if (fill_group_q + GROUP_BITS'(1) == groups) filling_q <= 1'b0;
      end
    end
    resident_q <= resident_q + (WADDRESS + 1)'(accept) -
        (release_group ? (WADDRESS + 1)'(steps) : '0);

    if (pace_q != '0) pace_q <= pace_q - COST_BITS'(1);
    if (go) begin
      step_q <= step_last ? '0 : step_q + 16'd1;
      if (step_last) begin
        pace_q <= cost_i[group_q[0]] - COST_BITS'(1);
        tile_q <= tile_last ? '0 : tile_q + 9'd1;
        source_q <= tile_last ? descriptor_i.source[ADDRESS_BITS-1:0] :
            source_q + ADDRESS_BITS'(descriptor_i.source_pitch);
        destination_q <= tile_last ? descriptor_i.destination[ADDRESS_BITS-1:0] :
            destination_q + ADDRESS_BITS'(descriptor_i.destination_pitch);
        if (tile_last) begin
          base_q  <= base_q + WADDRESS'(steps);
          group_q <= group_q + GROUP_BITS'(1);
          if (group_last) running_q <= 1'b0;
        end
      end
    end

    if (release_group) issued_q[group_q[0]] <= 1'b1;
    if (release_i) issued_q[release_parity_i] <= 1'b0;

    issue_o <= go;
    x_address_o <= source_q + ADDRESS_BITS'(step_q);
    w_address_o <= base_q + WADDRESS'(step_q);
    first_o <= step_q == '0;
    last_o <= step_last;
    meta_o <= '{
        kind: KIND_LINEAR,
        parity: group_q[0],
        head: '0,
        group: '0,
        base: destination_q,
        tokens: tile_last ? 5'(descriptor_i.tokens - 16'(tile_q) * 16'(TOKENS)) : 5'(TOKENS),
        group_last: tile_last,
        op_last: tile_last && group_last
    };

    if (start_i) begin
      running_q <= 1'b1;
      filling_q <= 1'b1;
      fill_step_q <= '0;
      fill_group_q <= '0;
      fill_address_q <= '0;
      base_q <= '0;
      resident_q <= '0;
      step_q <= '0;
      tile_q <= '0;
      group_q <= '0;
      pace_q <= '0;
      issued_q <= '0;
      source_q <= descriptor_i.source[ADDRESS_BITS-1:0];
      destination_q <= descriptor_i.destination[ADDRESS_BITS-1:0];
    end
    if (rst_i) begin
      running_q <= 1'b0;
      filling_q <= 1'b0;
      issue_o   <= 1'b0;
    end
  end

  logic unused;
  assign unused = ^descriptor_i;
endmodule
