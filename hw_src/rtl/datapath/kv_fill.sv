// K and V of a head from ACT into the weight memory, as the array's second operand: a value
// v = 16 h + l becomes the digits l (even digit row) and h (odd).
//
//   K: rows are keys, depth the 64 channels. An ACT word, TOKENS keys x DEPTH channels, fills
//      2 TOKENS digit rows of one beat.
//   V: rows are channels, depth the keys. An ACT word fills, for each ROWS / 2 of its channels,
//      TOKENS neighbouring inputs of all digit rows of a beat: it is read DEPTH / (ROWS / 2) times.
//
// The memory's write port is here: the weight stream's beats (fill_we_i) come to it as well, and go
// first. A value's digits are registered before they are laid out, so that its choice among K, V and
// the stream is one LUT a bit.
//
// Beats of a head lie in one half of the memory, by its parity: K group by group, then V with room
// for MAX_TOKENS keys. The next head is filled while one computes, in cycles in which the array
// does not read ACT (grant_i).
module kv_fill
  import quasar_pkg::*, datapath_pkg::*;
#(
    parameter int unsigned TOKENS = 4,
    parameter int unsigned ROWS = 16,
    parameter int unsigned DEPTH = 16,
    parameter int unsigned WADDRESS = 9,
    localparam int unsigned CHUNKS = DEPTH / TOKENS
) (
    input  logic                                       clk_i,
    input  logic                                       rst_i,
    input  logic                                       start_i,
    input  descriptor_t                                descriptor_i,
    output logic  [         1:0]                       k_full_o,
    output logic  [         1:0]                       v_full_o,
    input  logic                                       release_i,
    // ACT
    output logic                                       read_o,
    input  logic                                       grant_i,
    output logic  [ADDRESS_BITS-1:0]                   address_o,
    input  logic  [  TOKENS-1:0][DEPTH-1:0][      7:0] rdata_i,
    // the weight stream; it never writes when write_next_o
    input  logic                                       fill_we_i,
    input  logic [WADDRESS-1:0]                        fill_address_i,
    input  logic [    ROWS-1:0][DEPTH-1:0][      3:0]  fill_data_i,
    // weight memory; write_next_o a cycle before K or V
    output logic                                       write_next_o,
    output logic  [    ROWS-1:0][CHUNKS-1:0]           we_o,
    output logic  [WADDRESS-1:0]                       waddress_o,
    output logic  [    ROWS-1:0][DEPTH-1:0][      3:0] wdata_o
);
  localparam int unsigned KV_BEATS = 2 * MAX_TOKENS * HEAD_DIM / (ROWS * DEPTH);
  localparam int unsigned K_STEPS = HEAD_DIM / DEPTH;
  localparam int unsigned V_STEPS = MAX_TOKENS / DEPTH;
  localparam int unsigned PARTS = DEPTH / (ROWS / 2);  // V: beats an ACT word goes to
  localparam int unsigned BLOCKS = ROWS / 2 / TOKENS;  // K: ACT words of keys a beat takes

  // What is read: head, K or V, tile of keys, word of channels, part of the word.
  logic active_q, is_v_q;
  logic [4:0] head_q, released_q;
  logic [8:0] tile_q, last_tile_q;  // the latter from the cycle after start_i
  logic [3:0] word_q;
  logic [3:0] part_q;
  logic [ADDRESS_BITS-1:0] base_q;
  logic part_last, word_last, tile_last, head_last, go, room;
  always_ff @(posedge clk_i) last_tile_q <= 9'((descriptor_i.keys - 16'd1) >> $clog2(TOKENS));
  assign part_last = !is_v_q || part_q == 4'(PARTS - 1);
  assign word_last = word_q == 4'(K_STEPS - 1);
  assign tile_last = tile_q == last_tile_q;
  assign head_last = 16'(head_q) + 16'd1 == descriptor_i.heads;
  assign room = head_q < released_q + 5'd2;
  assign read_o = active_q && room;
  assign go = read_o && grant_i;
  logic [15:0] channel;
  assign channel = is_v_q ? descriptor_i.channel_v : descriptor_i.channel_k;
  assign address_o = base_q + ADDRESS_BITS'(channel >> $clog2(DEPTH)) +
      ADDRESS_BITS'(head_q) * ADDRESS_BITS'(K_STEPS) + ADDRESS_BITS'(word_q);

  // Where it goes, when the word is there.
  typedef struct packed {
    logic valid;
    logic is_v;
    logic last;
    logic parity;
    logic [8:0] tile;
    logic [3:0] word;
    logic [3:0] part;
  } tag_t;
  tag_t tag_q[MEMORY_LATENCY], tag, written_q;
  assign tag = tag_q[MEMORY_LATENCY-1];
  assign write_next_o = tag.valid;

  always_ff @(posedge clk_i) begin
    tag_q[0] <= '{
        valid: go,
        is_v: is_v_q,
        last: tile_last && word_last && part_last,
        parity: head_q[0],
        tile: tile_q,
        word: word_q,
        part: part_q
    };
    for (int unsigned i = 1; i < MEMORY_LATENCY; i++) tag_q[i] <= tag_q[i-1];
    written_q <= tag;
    if (go) begin
      part_q <= part_last ? '0 : part_q + 4'd1;
      if (part_last) begin
        word_q <= word_last ? '0 : word_q + 4'd1;
        if (word_last) begin
          tile_q <= tile_last ? '0 : tile_q + 9'd1;
          base_q <= tile_last ? descriptor_i.source_kv[ADDRESS_BITS-1:0] :
              base_q + ADDRESS_BITS'(descriptor_i.kv_pitch);
          if (tile_last) begin
            is_v_q <= !is_v_q;
            if (is_v_q) begin
              head_q   <= head_q + 5'd1;
              active_q <= !head_last;
            end
          end
        end
      end
    end
    if (release_i) begin
      // A half is free again: its head's flags go.
      k_full_o[released_q[0]] <= 1'b0;
      v_full_o[released_q[0]] <= 1'b0;
      released_q <= released_q + 5'd1;
    end
    if (written_q.valid && written_q.last) begin
      if (written_q.is_v) v_full_o[written_q.parity] <= 1'b1;
      else k_full_o[written_q.parity] <= 1'b1;
    end
    if (start_i) begin
      active_q <= 1'b1;
      is_v_q <= 1'b0;
      head_q <= '0;
      released_q <= '0;
      tile_q <= '0;
      word_q <= '0;
      part_q <= '0;
      base_q <= descriptor_i.source_kv[ADDRESS_BITS-1:0];
      k_full_o <= '0;
      v_full_o <= '0;
    end
    if (rst_i) begin
      active_q <= 1'b0;
      written_q.valid <= 1'b0;
      for (int unsigned i = 0; i < MEMORY_LATENCY; i++) tag_q[i].valid <= 1'b0;
    end
  end

  // Registered on the way to the memory: the word's digits, or the stream's beat.
  logic [1:0][TOKENS-1:0][DEPTH-1:0][3:0] digits_q;
  logic [ROWS-1:0][DEPTH-1:0][3:0] stream_q;
  logic [3:0] place_q;
  logic [1:0] select_d;  // 0 K, 1 the stream, 2 and 3 V of an even or odd part of the word
  assign select_d = fill_we_i ? 2'd1 : tag.is_v ? {1'b1, tag.part[0]} : 2'd0;
  logic [ROWS-1:0][CHUNKS-1:0] we_d;
  always_comb begin
    for (int unsigned r = 0; r < ROWS; r++) begin
      for (int unsigned c = 0; c < CHUNKS; c++) begin
        we_d[r][c] = tag.valid && (tag.is_v ? 32'(tag.tile) % CHUNKS == c :
                                   32'(tag.tile) % BLOCKS == r / 2 / TOKENS);
      end
    end
  end
  always_ff @(posedge clk_i) begin
    we_o <= rst_i ? '0 : fill_we_i ? '1 : we_d;
    waddress_o <= fill_we_i ? fill_address_i :
        WADDRESS'(tag.parity) * WADDRESS'(2 * KV_BEATS) + (tag.is_v ?
        WADDRESS'(KV_BEATS) +
        (WADDRESS'(tag.word) * WADDRESS'(PARTS) + WADDRESS'(tag.part)) * WADDRESS'(V_STEPS) +
        WADDRESS'(32'(tag.tile) / CHUNKS) :
        WADDRESS'(32'(tag.tile) / BLOCKS) * WADDRESS'(K_STEPS) + WADDRESS'(tag.word));
    place_q <= tag.part;
    stream_q <= fill_data_i;
    for (int unsigned t = 0; t < TOKENS; t++) begin
      for (int unsigned k = 0; k < DEPTH; k++) begin
        digits_q[0][t][k] <= rdata_i[t][k][3:0];
        digits_q[1][t][k] <= rdata_i[t][k][7:4] + 4'(rdata_i[t][k][3]);
      end
    end
  end
  for (genvar r = 0; r < ROWS; r++) begin : g_row
    logic [3:0][DEPTH-1:0][3:0] choice;
    logic [1:0] select;
    replica #(
        .WIDTH(2)
    ) u_select (
        .clk_i,
        .d_i(select_d),
        .q_o(select)
    );
    assign choice[0] = digits_q[r%2][(r/2)%TOKENS];
    assign choice[1] = stream_q[r];
    for (genvar k = 0; k < DEPTH; k++) begin : g_input
      for (genvar odd = 0; odd < 2; odd++) begin : g_part
        // The tokens' digits of one channel, repeated along the digit row.
        assign choice[2+odd][k] = digits_q[r%2][k%TOKENS][
            (32'(place_q) / 2 * 2 + odd) % PARTS * (ROWS / 2) + r / 2];
      end
    end
    mux4 #(
        .WIDTH(4 * DEPTH)
    ) u_choice (
        .select_i(select),
        .data_i  (choice),
        .data_o  (wdata_o[r])
    );
  end

`ifdef VERILATOR
  one_writer :
  assert property (@(posedge clk_i) disable iff (rst_i) !(fill_we_i && tag.valid));
`endif

  logic unused;
  assign unused = ^{descriptor_i, written_q};
endmodule
