// Softmax between attention's two products, for a tile of TOKENS queries at a time:
//
//   e = EXP[min(255, (d * m) >> n)], d = row maximum - score;  (y, k) = reciprocal(sum of e)
//
// Scores come as whole array tiles (ROWS / 2 keys), HEAD_DIM / DEPTH cycles apart or more. In that
// time they go into the buffer in blocks of EXP_ROWS keys, a cycle each, and their maximum is formed on
// the way. Once a tile's last scores are in, its numerators are computed a block a cycle into
// the numerator buffer, from which the array reads them as activations of the value product; the
// sum's reciprocal goes to the epilogue. Both buffers hold two tiles (parity): while one tile's
// numerators are computed, the array works on the scores of the next or the values of the last.
//
// Numerators beyond the last key are zero up to a multiple of DEPTH, so that the value product may
// read whatever lies behind V.
module softmax
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned EXP_ROWS = 2,
    parameter bit FABRIC = 1'b0,  // products in LUTs
    localparam int unsigned ESTEPS = MAX_TOKENS / DEPTH,
    localparam int unsigned EADDRESS = $clog2(2 * ESTEPS)
) (
    input  logic                                        clk_i,
    input  logic                                        rst_i,
    input  logic                                        start_i,
    input  descriptor_t                                 descriptor_i,
    // scores
    input  logic                                        score_i,
    input  meta_t                                       meta_i,
    input  logic  [TOKENS-1:0][ ROWS-1:0][ACC_BITS-1:0] acc_i,
    // parameters of the head whose numerators are computed
    output logic  [       3:0]                          head_o,
    input  logic  [      14:0]                          multiplier_i,
    input  logic  [       4:0]                          shift_i,
    // buffers: scores read, numerators complete, values drained
    output logic                                        score_release_o,
    output logic                                        ready_o,
    output logic                                        parity_o,
    input  logic                                        drained_i,
    input  logic                                        drained_parity_i,
    // numerators as activations, MEMORY_LATENCY cycles after the address
    input  logic  [EADDRESS-1:0]                        e_address_i,
    output logic  [TOKENS-1:0][DEPTH-1:0][         7:0] e_o,
    // reciprocals: mean = rs(acc * y, shift)
    output logic  [       1:0][TOKENS-1:0][       15:0] y_o,
    output logic  [       1:0][TOKENS-1:0][        5:0] shift_o
);
  localparam int unsigned KEYS = ROWS / 2;  // a score tile
  localparam int unsigned SADDRESS = $clog2(2 * MAX_TOKENS / EXP_ROWS);
  localparam int unsigned PARTS = KEYS / EXP_ROWS;  // blocks of a score tile
  localparam int unsigned PART_BITS = PARTS > 1 ? $clog2(PARTS) : 1;
  localparam int unsigned BLOCKS_PER_STEP = DEPTH / EXP_ROWS;
  localparam int unsigned BLOCK_BITS = $clog2(MAX_TOKENS / EXP_ROWS) + 1;
  localparam int unsigned QUADS = (EXP_ROWS + 3) / 4;
  localparam int unsigned QUAD = EXP_ROWS < 4 ? EXP_ROWS : 4;
  localparam int unsigned PRODUCT_BITS = SCORE_BITS + 16;
  typedef logic signed [SCORE_BITS-1:0] score_t;

  logic [15:0] keys;
  assign keys = descriptor_i.keys;

  if (PARTS * DEPTH > HEAD_DIM) begin : g_slow
    $error("a score tile's EXP_ROWS keys a cycle take longer than the array's next tile");
  end

  // A tile's first block as it comes, the others from a copy.
  logic part_valid, part_last;
  logic [PART_BITS-1:0] part_q, part_d;
  meta_t part_meta, tile_meta_q;
  logic [TOKENS-1:0][ROWS-1:0][SCORE_BITS-1:0] digits, later_q;
  logic [PARTS-1:0][TOKENS-1:0][2*EXP_ROWS-1:0][SCORE_BITS-1:0] choice;
  assign part_valid = (score_i && meta_i.kind == KIND_SCORE) || part_q != '0;
  assign part_last = part_q == PART_BITS'(PARTS - 1);
  assign part_meta = part_q == '0 ? meta_i : tile_meta_q;
  always_comb begin
    part_d = part_q;
    if (part_valid) part_d = part_last ? '0 : part_q + PART_BITS'(1);
    if (rst_i || start_i) part_d = '0;
  end
  logic [TOKENS-1:0][PART_BITS-1:0] token_part;
  for (genvar t = 0; t < TOKENS; t++) begin : g_tile
    if (PARTS > 1) begin : g_copy
      replica #(
          .WIDTH(PART_BITS)
      ) u_part (
          .clk_i,
          .d_i(part_d),
          .q_o(token_part[t])
      );
    end else begin : g_whole
      assign token_part[t] = '0;
    end
    always_ff @(posedge clk_i) if (token_part[t] == '0) later_q[t] <= digits[t];
    for (genvar r = 0; r < ROWS; r++) begin : g_digit
      assign digits[t][r] = SCORE_BITS'(acc_i[t][r]);
      assign choice[r/(2*EXP_ROWS)][t][r%(2*EXP_ROWS)] =
          r < 2 * EXP_ROWS ? digits[t][r] : later_q[t][r];
    end
  end
  always_ff @(posedge clk_i) begin
    if (part_q == '0) tile_meta_q <= meta_i;
    part_q <= part_d;
  end

  // Scores joined from their digits, buffered, and their maximum.
  logic valid1_q, valid2_q, last1_q, last2_q;
  logic [PART_BITS-1:0] part1_q;
  meta_t meta1_q, meta2_q;
  logic [TOKENS-1:0][EXP_ROWS-1:0][SCORE_BITS-1:0] score1_q;
  logic [TOKENS-1:0][QUADS-1:0][SCORE_BITS-1:0] quad2_q;
  logic [1:0][TOKENS-1:0][SCORE_BITS-1:0] maximum_q;
  logic [1:0] scored_q;
  logic first2_q, any2_q;

  // The maximum of keys that exist, pair by pair: where the second of two exists, the first does.
  function automatic score_t larger(input score_t first, input score_t second, input logic second_exists);
    return second_exists && second > first ? second : first;
  endfunction
  logic [SADDRESS-2:0] block1;
  logic [EXP_ROWS-1:0] exists;
  score_t [TOKENS-1:0][QUADS-1:0] quad;
  score_t [TOKENS-1:0] best;
  logic [QUADS-1:0] quad_exists_q;
  assign block1 = (SADDRESS - 1)'(meta1_q.group) * (SADDRESS - 1)'(PARTS) + (SADDRESS - 1)'(part1_q);
  for (genvar l = 0; l < EXP_ROWS; l++) begin : g_exists
    assign exists[l] = 16'(block1) * 16'(EXP_ROWS) + 16'(l) < keys;
  end
  for (genvar t = 0; t < TOKENS; t++) begin : g_maximum
    for (genvar q = 0; q < QUADS; q++) begin : g_quad
      localparam int unsigned PAIR = QUAD < 2 ? 0 : 1;  // of one key, the key itself
      score_t [(QUAD+1)/2-1:0] pair;
      for (genvar i = 0; i < (QUAD + 1) / 2; i++) begin : g_pair
        localparam int unsigned P = 4 * q + 2 * i;
        assign pair[i] = larger(score1_q[t][P], score1_q[t][P+PAIR], exists[P+PAIR]);
      end
      assign quad[t][q] = larger(pair[0], pair[(QUAD+1)/2-1], QUAD == 4 && exists[4*q+QUAD-2+QUAD%2]);
    end
    // A heap: node n is the larger of 2 n and 2 n + 1, the quads are its last QUADS nodes.
    score_t [2*QUADS-1:0] node;
    assign node[QUADS+:QUADS] = quad2_q[t];
    assign node[0] = node[1];
    for (genvar n = 1; n < QUADS; n++) begin : g_node
      localparam int unsigned LEVEL = $clog2(n + 1) - 1;
      localparam int unsigned SPAN = QUADS >> LEVEL;
      localparam int unsigned SECOND = (n - 2 ** LEVEL) * SPAN + SPAN / 2;
      assign node[n] = larger(node[2*n], node[2*n+1], quad_exists_q[SECOND]);
    end
    assign best[t] = node[0];
  end

  always_ff @(posedge clk_i) begin
    for (int unsigned q = 0; q < QUADS; q++) quad_exists_q[q] <= exists[4*q];
    valid1_q <= part_valid && !rst_i && !start_i;
    valid2_q <= valid1_q && !rst_i;
    part1_q <= part_q;
    last1_q <= part_last && part_meta.group_last;
    last2_q <= last1_q;
    meta1_q <= part_meta;
    meta2_q <= meta1_q;
    first2_q <= block1 == '0;
    any2_q <= exists[0];
    for (int unsigned t = 0; t < TOKENS; t++) begin
      for (int unsigned l = 0; l < EXP_ROWS; l++) begin
        score1_q[t][l] <= choice[token_part[t]][t][2*l] + (choice[token_part[t]][t][2*l+1] << 4);
      end
      for (int unsigned q = 0; q < QUADS; q++) quad2_q[t][q] <= quad[t][q];
      if (valid2_q && any2_q && (first2_q ||
                       best[t] > $signed(maximum_q[meta2_q.parity][t]))) begin
        maximum_q[meta2_q.parity][t] <= best[t];
      end
    end
  end

  logic [SADDRESS-1:0] score_address;
  logic [TOKENS-1:0][EXP_ROWS-1:0][SCORE_BITS-1:0] score_word;
  small_memory #(
      .WIDTH(TOKENS * EXP_ROWS * SCORE_BITS),
      .WORDS(2 * MAX_TOKENS / EXP_ROWS),
      .BLOCK(1'b1)
  ) u_scores (
      .clk_i,
      .raddr_i(score_address),
      .rdata_o(score_word),
      .we_i(valid1_q),
      .waddr_i({meta1_q.parity, block1}),
      .wdata_i(score1_q)
  );

  // Numerators: blocks of EXP_ROWS keys of the tile at hand.
  // A tile is followed by a pause (flush) in which its sum and the reciprocals come out.
  logic run_q, flush_q, parity_q, begin_tile, block_last;
  logic [BLOCK_BITS-1:0] block_q, last_block_q;
  logic [1:0] e_busy_q;
  logic [8:0] tile_q, last_tile_q;
  logic [3:0] head_q;
  logic finish;
  always_ff @(posedge clk_i) begin
    last_tile_q <= 9'((descriptor_i.tokens - 16'd1) >> $clog2(TOKENS));
    last_block_q <= BLOCK_BITS'(((keys - 16'd1) >> $clog2(DEPTH)) * 16'(BLOCKS_PER_STEP)) +
        BLOCK_BITS'(BLOCKS_PER_STEP - 1);
  end
  assign block_last = block_q == last_block_q;
  assign begin_tile = !run_q && !flush_q && scored_q[parity_q] && !e_busy_q[parity_q];
  assign score_address = {parity_q, (SADDRESS - 1)'(block_q)};
  assign head_o = head_q;

  assign score_release_o = run_q && block_last;

  always_ff @(posedge clk_i) begin
    if (valid2_q && last2_q) scored_q[meta2_q.parity] <= 1'b1;
    if (drained_i) e_busy_q[drained_parity_i] <= 1'b0;
    if (begin_tile) begin
      run_q <= 1'b1;
      block_q <= '0;
      e_busy_q[parity_q] <= 1'b1;
      scored_q[parity_q] <= 1'b0;
    end
    if (run_q) begin
      block_q <= block_q + BLOCK_BITS'(1);
      if (block_last) begin
        run_q   <= 1'b0;
        flush_q <= 1'b1;
      end
    end
    if (finish) begin
      flush_q <= 1'b0;
      parity_q <= !parity_q;
      tile_q <= tile_q + 9'd1;
      if (tile_q == last_tile_q) begin
        tile_q <= '0;
        head_q <= head_q + 4'd1;
      end
    end
    if (start_i) begin
      head_q <= '0;
      tile_q <= '0;
      parity_q <= 1'b0;
    end
    if (rst_i || start_i) begin
      run_q <= 1'b0;
      flush_q <= 1'b0;
      scored_q <= '0;
      e_busy_q <= '0;
    end
  end

  // Register 1 the scores' word, 2 difference, 3 and 4 product (in LUTs 3 to 5), then index, numerator.
  localparam int unsigned STAGES = FABRIC ? 7 : 6;
  logic [STAGES-1:0] valid_q, last_q;
  logic [BLOCK_BITS-1:0] number_q[STAGES];
  logic [TOKENS-1:0][EXP_ROWS-1:0][PRODUCT_BITS-1:0] product;
  logic [TOKENS-1:0][EXP_ROWS-1:0][7:0] index_q;
  logic [TOKENS-1:0][4:0] token_shift;
  for (genvar t = 0; t < TOKENS; t++) begin : g_difference
    logic [14:0] multiplier;
    replica #(
        .WIDTH(5)
    ) u_shift (
        .clk_i,
        .d_i(shift_i),
        .q_o(token_shift[t])
    );
    if (FABRIC) begin : g_multiplier
      replica #(
          .WIDTH(15)
      ) u_multiplier (
          .clk_i,
          .d_i(multiplier_i),
          .q_o(multiplier)
      );
    end else begin : g_multiplier
      assign multiplier = multiplier_i;
    end
    for (genvar l = 0; l < EXP_ROWS; l++) begin : g_row
      logic signed [SCORE_BITS:0] difference;
      assign difference = (SCORE_BITS + 1)'($signed(maximum_q[parity_q][t])) -
          (SCORE_BITS + 1)'($signed(score_word[t][l]));
      if (FABRIC) begin : g_fabric
        logic signed [SCORE_BITS:0] difference_q;
        logic signed [PRODUCT_BITS:0] whole;
        always_ff @(posedge clk_i) difference_q <= difference;
        fabric_multiplier #(
            .A_BITS(SCORE_BITS + 1),
            .B_BITS(16)
        ) u_product (
            .clk_i,
            .a_i(difference_q),
            .b_i({1'b0, multiplier}),
            .p_o(whole)
        );
        assign product[t][l] = whole[PRODUCT_BITS-1:0];
        logic unused_top;
        assign unused_top = whole[PRODUCT_BITS];
      end else begin : g_dsp
        logic [47:0] whole, unused_cascade;
        dsp #(
            .INPUTS(1)
        ) u_dsp (
            .clk_i,
            .a_i(27'(difference)),
            .b_i({3'd0, multiplier}),
            .c_i('0),
            .cascade_i('0),
            .p_o(whole),
            .cascade_o(unused_cascade)
        );
        assign product[t][l] = whole[PRODUCT_BITS-1:0];
        logic unused_bits;
        assign unused_bits = ^{unused_cascade, whole[47:PRODUCT_BITS]};
      end
    end
  end

  // min(255, product >> shift), by sixteens, fours and ones; what a step drops must be zero.
  function automatic logic [7:0] scaled(input logic [PRODUCT_BITS-1:0] value,
                                        input logic [4:0] shift);
    logic [22:0] wide;
    logic [10:0] narrow;
    logic over;
    wide = shift[4] ? 23'(value >> 16) : value[22:0];
    over = !shift[4] && value[PRODUCT_BITS-1:23] != '0;
    narrow = 11'(wide >> {shift[3:2], 2'b00});
    case (shift[3:2])
      2'd0: over |= wide[22:11] != '0;
      2'd1: over |= wide[22:15] != '0;
      2'd2: over |= wide[22:19] != '0;
      default: ;
    endcase
    case (shift[1:0])
      2'd0: over |= narrow[10:8] != '0;
      2'd1: over |= narrow[10:9] != '0;
      2'd2: over |= narrow[10];
      default: ;
    endcase
    return over ? 8'hFF : 8'(narrow >> shift[1:0]);
  endfunction

  logic [TOKENS-1:0][EXP_ROWS-1:0][6:0] e_q;
  logic [TOKENS-1:0][15:0] total_q;
  for (genvar i = 0; i < STAGES - 2; i++) begin : g_passed
    logic unused_number;
    assign unused_number = ^number_q[i];
  end
  always_ff @(posedge clk_i) begin
    valid_q <= {valid_q[STAGES-2:0], run_q && !rst_i};
    last_q <= {last_q[STAGES-2:0], run_q && block_last && !rst_i};
    number_q[0] <= block_q;
    for (int unsigned i = 1; i < STAGES; i++) number_q[i] <= number_q[i-1];
    for (int unsigned t = 0; t < TOKENS; t++) begin
      automatic logic [15:0] part = '0;
      for (int unsigned l = 0; l < EXP_ROWS; l++) begin
        automatic logic [15:0] key = 16'(number_q[STAGES-2]) * 16'(EXP_ROWS) + 16'(l);
        index_q[t][l] <= scaled(product[t][l], token_shift[t]);
        e_q[t][l] <= key < keys ? EXP[index_q[t][l]] : 7'd0;
        part += 16'(e_q[t][l]);
      end
      if (valid_q[STAGES-1]) total_q[t] <= (number_q[STAGES-1] == '0 ? 16'd0 : total_q[t]) + part;
    end
  end

  // The numerator buffer: for a query a memory for each of a step's blocks.
  logic [BLOCK_BITS-1:0] block6;
  logic [TOKENS-1:0][DEPTH-1:0][6:0] e_word_q;
  assign block6 = number_q[STAGES-1];
  for (genvar t = 0; t < TOKENS; t++) begin : g_query
    for (genvar b = 0; b < BLOCKS_PER_STEP; b++) begin : g_block
      logic [EXP_ROWS-1:0][6:0] e_word;
      small_memory #(
          .WIDTH(7 * EXP_ROWS),
          .WORDS(2 * ESTEPS)
      ) u_numerators (
          .clk_i,
          .raddr_i(e_address_i),
          .rdata_o(e_word),
          .we_i(valid_q[STAGES-1] && 32'(block6) % BLOCKS_PER_STEP == b),
          .waddr_i({parity_q, (EADDRESS - 1)'(block6 / BLOCK_BITS'(BLOCKS_PER_STEP))}),
          .wdata_i(e_q[t])
      );
      always_ff @(posedge clk_i) e_word_q[t][b*EXP_ROWS+:EXP_ROWS] <= e_word;
    end
    for (genvar k = 0; k < DEPTH; k++) begin : g_key
      assign e_o[t][k] = {1'b0, e_word_q[t][k]};
    end
  end

  // Reciprocals, a query a cycle once the sums are complete.
  localparam int unsigned ROOT = 5;
  localparam int unsigned TOKEN_BITS = $clog2(TOKENS);
  logic divide_q;
  logic [TOKEN_BITS-1:0] token_q, index_token_q[ROOT];
  logic [ROOT-1:0] divide_valid_q;
  logic [15:0] total_token_q, y;
  logic [4:0] length;
  reciprocal u_reciprocal (
      .clk_i,
      .s_i(total_token_q),
      .y_o(y),
      .length_o(length)
  );
  always_ff @(posedge clk_i) begin
    if (valid_q[STAGES-1] && last_q[STAGES-1]) begin
      divide_q <= 1'b1;
      token_q  <= '0;
    end
    if (divide_q) begin
      token_q <= token_q + TOKEN_BITS'(1);
      if (token_q == TOKEN_BITS'(TOKENS - 1)) divide_q <= 1'b0;
    end
    total_token_q <= total_q[token_q];
    divide_valid_q <= {divide_valid_q[ROOT-2:0], divide_q};
    index_token_q[0] <= token_q;
    for (int unsigned i = 1; i < ROOT; i++) index_token_q[i] <= index_token_q[i-1];
    if (divide_valid_q[ROOT-1]) begin
      y_o[parity_q][index_token_q[ROOT-1]] <= y;
      shift_o[parity_q][index_token_q[ROOT-1]] <= 6'(length) + 6'(15 - MEAN_FRACTION);
    end
    if (rst_i || start_i) begin
      divide_q <= 1'b0;
      divide_valid_q <= '0;
    end
  end
  assign finish = divide_valid_q[ROOT-1] && index_token_q[ROOT-1] == TOKEN_BITS'(TOKENS - 1);
  // The values may start before the reciprocals: those are needed only where the values' first
  // results enter the epilogue.
  assign ready_o = valid_q[STAGES-1] && last_q[STAGES-1];
  if (TOKENS + 6 >= cell_latency(DEPTH) + 10) begin : g_late
    $error("reciprocals of TOKENS queries come too late for the first values");
  end
  assign parity_o = parity_q;

  logic unused;
  assign unused = ^{descriptor_i, meta1_q, meta2_q, acc_i, later_q, quad_exists_q[0]};
endmodule
