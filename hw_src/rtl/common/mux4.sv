// One of four words: a LUT6 a bit. A module of its own, since mapping that sees what the four have in
// common (the bits of a shifter's, say) takes a half more LUTs to share between their bits.
module mux4 #(
    parameter int unsigned WIDTH = 8
) (
    input  logic [      1:0]            select_i,
    input  logic [      3:0][WIDTH-1:0] data_i,
    output logic [WIDTH-1:0]            data_o
);
  assign data_o = data_i[select_i];
endmodule
