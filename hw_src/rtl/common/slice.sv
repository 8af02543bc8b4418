// A stage in a stream that no combinational path crosses: valid, data and ready are all registers.
// One beat per cycle; the second place takes what comes in the cycle in which the reader stops.
module slice #(
    parameter int unsigned WIDTH = 8
) (
    input  logic             clk_i,
    input  logic             rst_i,
    input  logic             valid_i,
    output logic             ready_o,
    input  logic [WIDTH-1:0] data_i,
    output logic             valid_o,
    input  logic             ready_i,
    output logic [WIDTH-1:0] data_o
);
  logic [WIDTH-1:0] spare_q;

  always_ff @(posedge clk_i) begin
    // ready_o: the spare place is free.
    if (ready_o) spare_q <= data_i;
    if (!valid_o || ready_i) begin
      data_o  <= ready_o ? data_i : spare_q;
      valid_o <= valid_i || !ready_o;
      ready_o <= 1'b1;
    end else if (valid_i) begin
      ready_o <= 1'b0;
    end
    if (rst_i) begin
      valid_o <= 1'b0;
      ready_o <= 1'b1;
    end
  end
endmodule
