// x >> n, arithmetic, n below 64, in two cycles and no more than OUT bits of it: a shift by sixteens
// and fours, then by ones, each a 4:1 multiplexer, the cheapest one in LUTs.
//
// x_i and its shift by fours come together, the shift by ones a cycle later. y_o comes two cycles
// after x_i; where it does not hold x >> n, over_o is set. sign_o is that of x in any case.
module shift_down #(
    parameter int unsigned IN  = 48,
    parameter int unsigned OUT = 17
) (
    input  logic           clk_i,
    input  logic [ IN-1:0] x_i,
    input  logic [    3:0] coarse_i,
    input  logic [    1:0] fine_i,
    output logic [OUT-1:0] y_o,
    output logic           over_o,
    output logic           sign_o
);
  // Bits that may still come into the result: before a shift by up to 15, by up to 3.
  localparam int unsigned WIDE = OUT + 15;
  localparam int unsigned NARROW = OUT + 3;
  if (IN <= WIDE || IN > WIDE + 16) begin : g_check
    $error("only a shift by less than 16 may lose bits of x");
  end

  logic sign, over_wide, over_narrow, over_q, sign_q;
  logic [3:0][WIDE-1:0] by16;
  logic [3:0][NARROW-1:0] by4;
  logic [3:0][OUT-1:0] by1;
  logic [WIDE-1:0] wide;
  logic [NARROW-1:0] narrow, narrow_q;
  logic [OUT-1:0] result;
  logic [2:0] more;  // bits that a shift by 0, 4, 8 leaves above `narrow`
  logic [2:0] rest;  // the same of a shift by 0, 1, 2 and the result

  assign sign = x_i[IN-1];
  mux4 #(
      .WIDTH(WIDE)
  ) u_by16 (
      .select_i(coarse_i[3:2]),
      .data_i  (by16),
      .data_o  (wide)
  );
  mux4 #(
      .WIDTH(NARROW)
  ) u_by4 (
      .select_i(coarse_i[1:0]),
      .data_i  (by4),
      .data_o  (narrow)
  );
  mux4 #(
      .WIDTH(OUT)
  ) u_by1 (
      .select_i(fine_i),
      .data_i  (by1),
      .data_o  (result)
  );
  for (genvar i = 0; i < 4; i++) begin : g_choice
    assign by16[i] = WIDE'($signed(x_i) >>> (16 * i < IN ? 16 * i : IN - 1));
    assign by4[i]  = NARROW'($signed(wide) >>> (4 * i));
    assign by1[i]  = OUT'($signed(narrow_q) >>> i);
  end
  for (genvar i = 0; i < 3; i++) begin : g_lost
    assign more[i] = wide[NARROW-1+4*i+:4] != {4{sign}};
    assign rest[i] = narrow_q[OUT-1+i] != sign_q;
  end
  assign over_wide = coarse_i[3:2] == 2'd0 && x_i[IN-1:WIDE-1] != {(IN - WIDE + 1) {sign}};

  always_comb begin
    case (coarse_i[1:0])
      2'd0: over_narrow = |more;
      2'd1: over_narrow = |more[2:1];
      2'd2: over_narrow = more[2];
      default: over_narrow = 1'b0;
    endcase
  end

  always_ff @(posedge clk_i) begin
    narrow_q <= narrow;
    over_q <= over_wide || over_narrow;
    sign_q <= sign;
    y_o <= result;
    sign_o <= sign_q;
    case (fine_i)
      2'd0: over_o <= over_q || |rest;
      2'd1: over_o <= over_q || |rest[2:1];
      2'd2: over_o <= over_q || rest[2];
      default: over_o <= over_q;
    endcase
  end
endmodule
