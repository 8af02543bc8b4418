// Sixteen inputs in a cascade of multipliers, in one of two modes:
//
//   8-bit   two rows times one token:  P = sum of (wa + wb 2^19) x = LA + LB 2^19
//   4-bit   two digit rows times two tokens, the cascade broken into four of four inputs:
//           P = sum of (w0 + {w1, 0000} 2^19) (x0 + x1 2^10) = L0 + L1 2^10 + (L2 + L3 2^10) 2^23
//
// with x and 8-bit weights in [-127, 127], w0 in [-8, 7] and w1 in [-7, 7]. In 8-bit mode
//
//   |LA|, |LB| <= 16 * 127 * 127 < 2^18: LA is P[18:0], LB is P[37:19] and P[18]
//
// In 4-bit mode it is rtl/packed_dot.sv four times, a part four cycles after the other; a chain of
// adders sums them, and takes P[18] or P[22] as a carry. The mode is the Z multiplexer's: at inputs
// 4, 8 and 12 it takes the cascade or nothing.
//
// Input i comes skewed by i - 1 cycles, the low bits unskewed, wide_i[n] the mode n cycles late.
// sum_o follows 20 cycles after the unskewed operands; in 8-bit mode sum_o[0] are the sums, 19 bits.
module dual_dot (
    input  logic                   clk_i,
    input  logic       [19:0]      wide_i,
    input  logic [15:0][15:0]      w_i,
    input  logic [15:0][17:0]      x_i,
    input  logic [15:0][ 2:0]      w0_low_i,
    input  logic [15:0][ 2:0]      w1_low_i,
    input  logic [15:0][ 2:0]      x1_low_i,
    output logic [1:0][1:0][18:0]  sum_o,   // [token][row]
    output logic                   carry_o  // to be added to sum_o[0][1]
);
  localparam logic [4:0] NOTHING = 5'b00_000, CASCADE = 5'b00_001;  // multiplexers W and Z
  logic [15:0][47:0] p, cascade;
  for (genvar i = 0; i < 16; i++) begin : g_multiplier
    localparam bit BREAK = i % 4 == 0;
    controlled_dsp #(
        .INPUTS(i == 0 ? 1 : 2)
    ) u_dsp (
        .clk_i,
        .a_i({w_i[i][15:8], {11{w_i[i][7]}}, w_i[i][7:0]}),
        .b_i(x_i[i]),
        .c_i('0),
        .opmode_i(i == 0 || (BREAK && !wide_i[i+2]) ? NOTHING : CASCADE),
        .alumode_i(4'b0000),
        .cascade_i(i == 0 ? 48'd0 : cascade[(i+15)%16]),
        .p_o(p[i]),
        .cascade_o(cascade[i])
    );
  end

  // Parts of the 4-bit mode, 7, 11, 15 and 19 cycles after the operands.
  logic [3:0][1:0][1:0][12:0] part;  // [part][token][digit row]
  logic [3:0] carry_q;
  for (genvar g = 0; g < 4; g++) begin : g_part
    localparam int unsigned WAIT = 5 + 4 * g;
    (* keep = "true" *) logic [1:0][2:0] low_q[WAIT];
    logic [1:0][2:0] low;
    always_ff @(posedge clk_i) begin
      low_q[0] <= low;
      for (int unsigned i = 1; i < WAIT; i++) low_q[i] <= low_q[i-1];
    end
    for (genvar r = 0; r < 2; r++) begin : g_row
      logic [1:0][12:0] sum;
      low_sum u_low (
          .clk_i,
          .a_i  (r == 0 ? w0_low_i[4*g+:4] : w1_low_i[4*g+:4]),
          .b_i  (x1_low_i[4*g+:4]),
          .low_o(low[r])
      );
      separate u_separate (
          .clk_i,
          .both_i(p[4*g+3][23*r+:23]),
          .low_i (low_q[WAIT-1][r]),
          .sum_o (sum)
      );
      for (genvar t = 0; t < 2; t++) begin : g_token
        assign part[g][t][r] = sum[t];
      end
    end
    always_ff @(posedge clk_i) begin
      carry_q[g] <= p[4*g+3][g == 3 && wide_i[18] ? 18 : 22];
    end
  end

  // Part 0 and 1, then 2, then 3, each sum waiting for the next part. Registers, as above.
  (* keep = "true" *) logic [1:0][1:0][12:0] first_q[4];
  (* keep = "true" *) logic [1:0][1:0][13:0] sum1_q[4];
  (* keep = "true" *) logic [1:0][1:0][14:0] sum2_q[4];
  (* keep = "true" *) logic carry0_q[4], carry1_q[4], carry2_q[4];
  logic [1:0][1:0][18:0] last;
  logic [1:0][18:0] wide_q;
  for (genvar l = 0; l < 4; l++) begin : g_lane
    localparam int unsigned T = l / 2, R = l % 2;
    logic [18:0] addend;
    assign addend = T == 0 && wide_i[19] ? wide_q[R] : 19'($signed(part[3][T][R]));
    if (l == 1) begin : g_carry
      logic [14:0] one;
      logic [15:0] two;
      logic [19:0] three;
      assign one = {14'($signed(first_q[3][T][R])), 1'b1} + {14'($signed(part[1][T][R])), carry0_q[3]};
      assign two = {15'($signed(sum1_q[3][T][R])), 1'b1} + {15'($signed(part[2][T][R])), carry1_q[3]};
      assign three = {19'($signed(sum2_q[3][T][R])), 1'b1} + {addend, carry2_q[3]};
      always_ff @(posedge clk_i) begin
        sum1_q[0][T][R] <= one[14:1];
        sum2_q[0][T][R] <= two[15:1];
        last[T][R] <= three[19:1];
      end
      logic unused;
      assign unused = ^{one[0], two[0], three[0]};
    end else begin : g_plain
      always_ff @(posedge clk_i) begin
        sum1_q[0][T][R] <= 14'($signed(first_q[3][T][R])) + 14'($signed(part[1][T][R]));
        sum2_q[0][T][R] <= 15'($signed(sum1_q[3][T][R])) + 15'($signed(part[2][T][R]));
        last[T][R] <= 19'($signed(sum2_q[3][T][R])) + addend;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    first_q[0]  <= part[0];
    carry0_q[0] <= carry_q[0];
    carry1_q[0] <= carry_q[1];
    carry2_q[0] <= carry_q[2];
    for (int unsigned i = 1; i < 4; i++) begin
      first_q[i]  <= first_q[i-1];
      sum1_q[i]   <= sum1_q[i-1];
      carry0_q[i] <= carry0_q[i-1];
      carry1_q[i] <= carry1_q[i-1];
    end
    for (int unsigned i = 1; i < 3; i++) begin
      sum2_q[i]   <= sum2_q[i-1];
      carry2_q[i] <= carry2_q[i-1];
    end
    // In 8-bit mode nothing comes before the last part.
    sum2_q[3] <= {sum2_q[2][1], wide_i[18] ? 30'd0 : sum2_q[2][0]};
    carry2_q[3] <= carry2_q[2] && !wide_i[18];
    wide_q <= {p[15][37:19], p[15][18:0]};
    carry_o <= carry_q[3];
  end
  assign sum_o = last;

  // Bits above the highest sum repeat its sign; of most multipliers only the cascade is used.
  logic unused;
  assign unused = ^{p, cascade[15], wide_i};
endmodule
