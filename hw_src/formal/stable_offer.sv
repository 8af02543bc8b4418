// What a side offers on a channel stays, valid and payload, until the other accepts it. Asserted of the
// side that is proved, assumed of the other one (ASSUMED).
module stable_offer #(
    parameter bit ASSUMED = 1'b0,
    parameter int unsigned WIDTH = 1
) (
    input logic clk_i,
    input logic rst_i,
    input logic valid_i,
    input logic ready_i,
    input logic [WIDTH-1:0] payload_i
);
  logic waits_q, kept;
  logic [WIDTH-1:0] payload_q;

  initial waits_q = 1'b0;
  always_ff @(posedge clk_i) begin
    waits_q   <= valid_i && !ready_i && !rst_i;
    payload_q <= payload_i;
  end
  assign kept = !waits_q || (valid_i && payload_i == payload_q);

  always_ff @(posedge clk_i) begin
    if (!rst_i) begin
      if (ASSUMED) m_kept : assume (kept);
      else a_kept : assert (kept);
    end
  end
endmodule
