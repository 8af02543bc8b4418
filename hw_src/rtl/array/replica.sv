// A register of which there are several with the same content, each driving a part of the loads. It
// is a module of its own so that no tool merges it with its like.
(* keep_hierarchy = "yes" *)
module replica #(
    parameter int unsigned WIDTH = 1
) (
    input  logic             clk_i,
    input  logic [WIDTH-1:0] d_i,
    output logic [WIDTH-1:0] q_o
);
  (* dont_touch = "yes" *) logic [WIDTH-1:0] q;
  always_ff @(posedge clk_i) q <= d_i;
  assign q_o = q;
endmodule
