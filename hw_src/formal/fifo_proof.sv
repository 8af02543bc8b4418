// fifo, fifo_block and slice (KIND 0, 1, 2) against a scoreboard: the entry number `watched_i` leaves as
// it came, as number `watched_i`; at most MOST entries are inside, and none that did not come.
module fifo_proof #(
    parameter int unsigned KIND = 0,
    parameter int unsigned DEPTH = 4,  // entries that are accepted without any leaving, at least
    parameter int unsigned MOST = 4  // and at most: output registers included
) (
    input logic clk_i,
    input logic [5:0] watched_i,
    input logic valid_i,
    input logic [1:0] data_i,
    input logic ready_i
);
  logic rst, began_q;
  initial began_q = 1'b0;
  always_ff @(posedge clk_i) began_q <= 1'b1;
  assign rst = !began_q;

  logic ready, valid;
  logic [1:0] data;
  logic [5:0] in_q, out_q, watched_q, ahead, level;  // of the watched entry; of all
  logic [1:0] entry_q;
  logic is_inside;
  assign level = in_q - out_q;
  assign ahead = watched_i - out_q;
  assign is_inside = ahead < level;
  localparam int unsigned BITS = $clog2(DEPTH);

  // For the induction, in each kind: what ties the counts to its registers, and where the watched
  // entry lies.
  if (KIND == 1) begin : g_block
    fifo_block #(
        .WIDTH(2),
        .DEPTH(DEPTH)
    ) dut (
        .clk_i,
        .rst_i(rst),
        .valid_i,
        .ready_o(ready),
        .data_i,
        .valid_o(valid),
        .ready_i,
        .data_o(data)
    );
    logic [1:0] behind;  // entries behind the memory: in the head, and in the latch
    assign behind = 2'(valid) + 2'(dut.held_q);
    always_ff @(posedge clk_i) begin
      if (began_q) begin
        a_written : assert (dut.write_q == in_q[BITS:0]);
        a_read : assert (dut.read_q == out_q[BITS:0] + (BITS + 1)'(behind));
        a_behind : assert (level >= 6'(behind));
        a_room : assert (level - 6'(behind) <= 6'(DEPTH));
        a_in_memory :
        assert (!(is_inside && ahead >= 6'(behind)) || dut.memory[watched_i[BITS-1:0]] == entry_q);
        a_in_latch :
        assert (!(is_inside && dut.held_q && ahead == 6'(valid)) || dut.entry_q == entry_q);
      end
    end
  end else if (KIND == 2) begin : g_slice
    slice #(
        .WIDTH(2)
    ) dut (
        .clk_i,
        .rst_i(rst),
        .valid_i,
        .ready_o(ready),
        .data_i,
        .valid_o(valid),
        .ready_i,
        .data_o(data)
    );
    always_ff @(posedge clk_i) begin
      if (began_q) begin
        a_count : assert (level == 6'(valid) + 6'(!ready));
        a_spare_second : assert (ready || valid);
        a_in_spare : assert (!(is_inside && ahead == 6'd1) || dut.spare_q == entry_q);
      end
    end
  end else begin : g_small
    fifo #(
        .WIDTH(2),
        .DEPTH(DEPTH)
    ) dut (
        .clk_i,
        .rst_i(rst),
        .valid_i,
        .ready_o(ready),
        .data_i,
        .valid_o(valid),
        .ready_i,
        .data_o(data)
    );
    always_ff @(posedge clk_i) begin
      if (began_q) begin
        a_written : assert (dut.write_q == in_q[BITS:0]);
        a_read : assert (dut.read_q == out_q[BITS:0]);
        a_in_memory : assert (!is_inside || dut.memory[watched_i[BITS-1:0]] == entry_q);
      end
    end
  end

  stable_offer #(
      .WIDTH(2)
  ) stable (
      .clk_i,
      .rst_i(rst),
      .valid_i(valid),
      .ready_i,
      .payload_i(data)
  );

  logic [2:0] idle_q;  // cycles in which something was inside and nothing was offered
  always_ff @(posedge clk_i) begin
    watched_q <= watched_i;
    if (valid_i && ready) begin
      in_q <= in_q + 6'd1;
      if (in_q == watched_i) entry_q <= data_i;
    end
    if (valid && ready_i) out_q <= out_q + 6'd1;
    idle_q <= in_q != out_q && !valid ? idle_q + 3'd1 : 3'd0;
    if (rst) {in_q, out_q, idle_q} <= '0;
  end
  always_ff @(posedge clk_i) begin
    if (began_q) begin
      assume (watched_i == watched_q);
      a_watched : assert (!(valid && ahead == 6'd0) || (is_inside && data == entry_q));
      a_no_more_than_came : assert (!valid || in_q != out_q);
      a_bounded : assert (level <= 6'(MOST));
      a_takes : assert (ready || level >= 6'(DEPTH));
      a_gives : assert (idle_q < 3'd4);
    end
  end
endmodule
