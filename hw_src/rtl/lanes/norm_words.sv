// Words of the residual, tile after tile, cut into LANES channels a step.
//
// Two words are held: while one is used, the next is read. request_o asks for a read in the next cycle,
// grant_i says that it happens; data come MEMORY_LATENCY + 1 cycles after that. A tile is begun as
// soon as tile_ready_i. x_o is there while valid_o, and step_i takes it.
module norm_words
  import datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned DEPTH  = 16,
    parameter int unsigned LANES  = 4,
    parameter int unsigned WORD_BITS = 8
) (
    input  logic                                          clk_i,
    input  logic                                          rst_i,
    input  logic                                          start_i,
    input  logic [WORD_BITS-1:0]                          words_i,
    input  logic [TILE_BITS-1:0]                          tiles_i,
    input  logic [ADDRESS_BITS-1:0]                       pitch_i,
    // reading
    output logic [TILE_BITS-1:0]                          tile_o,
    output logic                                          reading_o,  // tiles are left to read
    input  logic                                          tile_ready_i,
    output logic                                          tile_read_o,  // the tile's last word is
    output logic                                          request_o,
    output logic [ADDRESS_BITS-1:0]                       address_o,
    input  logic                                          grant_i,
    input  logic [TOKENS-1:0][DEPTH-1:0][15:0]            rdata_i,
    // using
    output logic                                          valid_o,
    output logic                                          first_o,  // of the tile
    output logic                                          last_o,
    output logic [WORD_BITS-1:0]                          word_o,
    output logic [$clog2(DEPTH/LANES)-1:0]                phase_o,
    output logic [TOKENS-1:0][LANES-1:0][15:0]            x_o,
    input  logic                                          step_i
);
  localparam int unsigned PHASES = DEPTH / LANES;
  localparam int unsigned PHASE_BITS = $clog2(PHASES);

  // Reading.
  logic run_q, read, word_last;
  logic [TILE_BITS-1:0] tile_q;
  logic [WORD_BITS-1:0] word_q;
  logic [ADDRESS_BITS-1:0] base_q;
  logic [1:0] free_q;
  logic release_word;
  assign word_last = word_q + WORD_BITS'(1) == words_i;
  assign request_o = run_q && free_q != '0 && (word_q != '0 || tile_ready_i);
  assign address_o = base_q + ADDRESS_BITS'(word_q);
  assign read = request_o && grant_i;
  assign tile_o = tile_q;
  assign reading_o = run_q;
  assign tile_read_o = read && word_last;

  always_ff @(posedge clk_i) begin
    if (read) begin
      word_q <= word_last ? '0 : word_q + WORD_BITS'(1);
      if (word_last) begin
        base_q <= base_q + pitch_i;
        tile_q <= tile_q + TILE_BITS'(1);
        if (tile_q + TILE_BITS'(1) == tiles_i) run_q <= 1'b0;
      end
    end
    free_q <= free_q - 2'(read) + 2'(release_word);
    if (start_i) begin
      run_q  <= 1'b1;
      tile_q <= '0;
      word_q <= '0;
      base_q <= '0;
    end
    if (rst_i) begin
      run_q  <= 1'b0;
      free_q <= 2'd2;
    end
  end

  // Arriving.
  logic [MEMORY_LATENCY:0] arriving_q;
  logic write_side_q, use_side_q, use_side_d;
  logic [1:0] full_q, write_d;
  logic [1:0][TOKENS-1:0][DEPTH-1:0][15:0] held_q;
  assign use_side_d = (use_side_q ^ release_word) && !rst_i;
  for (genvar s = 0; s < 2; s++) begin : g_side
    assign write_d[s] = arriving_q[MEMORY_LATENCY-1] && !rst_i &&
        (write_side_q ^ arriving_q[MEMORY_LATENCY]) == 1'(s);
  end
  for (genvar t = 0; t < TOKENS; t++) begin : g_held
    logic [1:0] write;
    replica #(
        .WIDTH(2)
    ) u_write (
        .clk_i,
        .d_i(write_d),
        .q_o(write)
    );
    always_ff @(posedge clk_i) begin
      for (int unsigned s = 0; s < 2; s++) if (write[s]) held_q[s][t] <= rdata_i[t];
    end
  end
  always_ff @(posedge clk_i) begin
    arriving_q <= rst_i ? '0 : {arriving_q[MEMORY_LATENCY-1:0], read};
    if (arriving_q[MEMORY_LATENCY]) write_side_q <= !write_side_q;
    for (int unsigned s = 0; s < 2; s++) begin
      if (release_word && use_side_q == 1'(s)) full_q[s] <= 1'b0;
      if (arriving_q[MEMORY_LATENCY] && write_side_q == 1'(s)) full_q[s] <= 1'b1;
    end
    use_side_q <= use_side_d;
    if (rst_i) begin
      write_side_q <= 1'b0;
      full_q <= '0;
    end
  end

  // Using.
  logic [WORD_BITS-1:0] use_word_q;
  logic [PHASE_BITS-1:0] phase_q, phase_d;
  logic use_word_last, phase_last;
  assign use_word_last = use_word_q + WORD_BITS'(1) == words_i;
  assign phase_d = rst_i ? '0 : phase_q + PHASE_BITS'(step_i);
  assign phase_last = phase_q == PHASE_BITS'(PHASES - 1);
  assign release_word = step_i && phase_last;
  assign valid_o = full_q[use_side_q];
  assign first_o = use_word_q == '0 && phase_q == '0;
  assign last_o = use_word_last && phase_last;
  assign word_o = use_word_q;
  assign phase_o = phase_q;
  for (genvar t = 0; t < TOKENS; t++) begin : g_token
    logic side;
    logic [PHASE_BITS-1:0] phase;
    replica #(
        .WIDTH(1 + PHASE_BITS)
    ) u_place (
        .clk_i,
        .d_i({use_side_d, phase_d}),
        .q_o({side, phase})
    );
    assign x_o[t] = held_q[side][t][32'(phase)*LANES+:LANES];
  end
  always_ff @(posedge clk_i) begin
    phase_q <= phase_d;
    if (release_word) use_word_q <= use_word_last ? '0 : use_word_q + WORD_BITS'(1);
    if (rst_i) use_word_q <= '0;
  end
endmodule
