// A register of which there are several with the same content, each driving a part of the loads.
// `keep` holds during synthesis: neither Vivado nor Yosys merges the copies. It ends there, unlike
// dont_touch and keep_hierarchy, so that placement may still duplicate and retime them (UG901, UG912).
module replica #(
    parameter int unsigned WIDTH = 1
) (
    input  logic             clk_i,
    input  logic [WIDTH-1:0] d_i,
    output logic [WIDTH-1:0] q_o
);
  (* keep = "true", equivalent_register_removal = "no" *) logic [WIDTH-1:0] q;
  always_ff @(posedge clk_i) q <= d_i;
  assign q_o = q;
endmodule
