// A stand-in for the accelerator: copies IMAGE to OUTPUT, burst by burst, behind the real register
// map. The tests of the simulated memory use it; it computes nothing.
//
// One burst is under way at a time, of up to 16 beats and alternating between the read ports: AR, R
// into a buffer, AW and W, B. Then one profile entry, all zeros, and DONE. An error response or a wait
// longer than TIMEOUT cycles ends in ERROR with cause and address. It stays where it is then, and when
// it is reset while busy: only rst_i leads back to idle.
module quasar_top
  import quasar_pkg::*;
#(
    parameter int unsigned TOKENS = 2,
    parameter int unsigned ROWS = 4,
    parameter int unsigned DEPTH = 8,
    parameter int unsigned ACT_WORDS = 4096,
    parameter int unsigned RES_WORDS = 2048,
    parameter int unsigned LOGITS = 1024,
    parameter int unsigned READ_PORTS = 1,
    parameter int unsigned CLOCK_KHZ = 300000,
    parameter int unsigned PORT_BITS = 128
) (
    input  logic                                  clk_i,
    input  logic                                  rst_i,
    output logic                                  irq_o,
    input  logic [7:0]                            s_axil_awaddr,
    input  logic                                  s_axil_awvalid,
    output logic                                  s_axil_awready,
    input  logic [31:0]                           s_axil_wdata,
    input  logic [3:0]                            s_axil_wstrb,
    input  logic                                  s_axil_wvalid,
    output logic                                  s_axil_wready,
    output logic [1:0]                            s_axil_bresp,
    output logic                                  s_axil_bvalid,
    input  logic                                  s_axil_bready,
    input  logic [7:0]                            s_axil_araddr,
    input  logic                                  s_axil_arvalid,
    output logic                                  s_axil_arready,
    output logic [31:0]                           s_axil_rdata,
    output logic [1:0]                            s_axil_rresp,
    output logic                                  s_axil_rvalid,
    input  logic                                  s_axil_rready,
    output logic [READ_PORTS-1:0][63:0]           m_axi_araddr,
    output logic [READ_PORTS-1:0][7:0]            m_axi_arlen,
    output logic [READ_PORTS-1:0][2:0]            m_axi_arsize,
    output logic [READ_PORTS-1:0][1:0]            m_axi_arburst,
    output logic [READ_PORTS-1:0]                 m_axi_arvalid,
    input  logic [READ_PORTS-1:0]                 m_axi_arready,
    input  logic [READ_PORTS-1:0][PORT_BITS-1:0]  m_axi_rdata,
    input  logic [READ_PORTS-1:0][1:0]            m_axi_rresp,
    input  logic [READ_PORTS-1:0]                 m_axi_rlast,
    input  logic [READ_PORTS-1:0]                 m_axi_rvalid,
    output logic [READ_PORTS-1:0]                 m_axi_rready,
    output logic [63:0]                           m_axi_awaddr,
    output logic [7:0]                            m_axi_awlen,
    output logic [2:0]                            m_axi_awsize,
    output logic [1:0]                            m_axi_awburst,
    output logic                                  m_axi_awvalid,
    input  logic                                  m_axi_awready,
    output logic [PORT_BITS-1:0]                  m_axi_wdata,
    output logic [PORT_BITS/8-1:0]                m_axi_wstrb,
    output logic                                  m_axi_wlast,
    output logic                                  m_axi_wvalid,
    input  logic                                  m_axi_wready,
    input  logic [1:0]                            m_axi_bresp,
    input  logic                                  m_axi_bvalid,
    output logic                                  m_axi_bready
);

  localparam int unsigned PORT_INDEX_BITS = READ_PORTS > 1 ? $clog2(READ_PORTS) : 1;
  typedef enum logic [2:0] { IDLE, READ_ADDRESS, READ_DATA, WRITE, ANSWER } step_e;

  step_e step_q;
  logic [63:0][31:0] registers_q;  // by word; those of access 'rw' that the host writes
  logic [31:0] offset_q, cycles_q, wait_q, cause_q;
  logic [63:0] error_address_q, address;
  logic [1:0] enable_q, status_q;
  logic done_q, profile_q, failed_q;
  logic [4:0] beat_q, beats_q;
  logic [15:0][PORT_BITS-1:0] buffer_q;
  logic [PORT_INDEX_BITS-1:0] port_q;

  function automatic logic [63:0] base(input logic [7:0] low);
    return {registers_q[6'(low >> 2) + 6'd1], registers_q[6'(low >> 2)]};
  endfunction

  // ---------------------------------------------------------------- registers
  logic write, aw_held_q, w_held_q;
  logic [7:0] awaddr_q;
  logic [31:0] wdata_q;
  logic start, restart;
  assign s_axil_awready = !aw_held_q;
  assign s_axil_wready = !w_held_q;
  assign write = aw_held_q && w_held_q && !s_axil_bvalid;
  assign s_axil_bresp = 2'd0;
  assign s_axil_rresp = 2'd0;
  assign s_axil_arready = !s_axil_rvalid;
  assign start = write && awaddr_q == REG_CONTROL && wdata_q[CONTROL_START_BIT];
  assign restart = write && awaddr_q == REG_CONTROL && wdata_q[CONTROL_RESET_BIT];
  assign irq_o = |(status_q & enable_q);

  always_ff @(posedge clk_i) begin
    if (s_axil_awvalid && s_axil_awready) begin
      aw_held_q <= 1'b1;
      awaddr_q  <= s_axil_awaddr;
    end
    if (s_axil_wvalid && s_axil_wready) begin
      w_held_q <= 1'b1;
      wdata_q  <= s_axil_wdata;
    end
    if (s_axil_bvalid && s_axil_bready) s_axil_bvalid <= 1'b0;
    if (write) begin
      aw_held_q <= 1'b0;
      w_held_q <= 1'b0;
      s_axil_bvalid <= 1'b1;
      registers_q[awaddr_q[7:2]] <= wdata_q;
      if (awaddr_q == REG_INTERRUPT_ENABLE) enable_q <= wdata_q[1:0];
    end
    if (s_axil_rvalid && s_axil_rready) s_axil_rvalid <= 1'b0;
    if (s_axil_arvalid && s_axil_arready) begin
      s_axil_rvalid <= 1'b1;
      case (s_axil_araddr)
        REG_IDENTITY: s_axil_rdata <= IDENTITY;
        REG_VERSION: s_axil_rdata <= VERSION_MAJOR << 16 | VERSION_MINOR;
        REG_ARRAY: s_axil_rdata <= TOKENS | ROWS << 8 | DEPTH << 16;
        REG_ACT_WORDS: s_axil_rdata <= ACT_WORDS;
        REG_RES_WORDS: s_axil_rdata <= RES_WORDS;
        REG_LOGITS: s_axil_rdata <= LOGITS;
        REG_CLOCK_KHZ: s_axil_rdata <= CLOCK_KHZ;
        REG_PORTS: s_axil_rdata <= READ_PORTS;
        REG_STATUS:
        s_axil_rdata <= {28'd0, cause_q != 0, done_q, step_q != IDLE && !failed_q, step_q == IDLE};
        REG_ERROR_CAUSE: s_axil_rdata <= cause_q;
        REG_ERROR_ADDRESS_LO: s_axil_rdata <= error_address_q[31:0];
        REG_ERROR_ADDRESS_HI: s_axil_rdata <= error_address_q[63:32];
        REG_CYCLES_LO: s_axil_rdata <= cycles_q;
        REG_INTERRUPT_STATUS: s_axil_rdata <= {30'd0, status_q};
        REG_CONTROL: s_axil_rdata <= 32'd0;
        default: s_axil_rdata <= registers_q[s_axil_araddr[7:2]];
      endcase
    end
    if (rst_i) begin
      {aw_held_q, w_held_q, s_axil_bvalid, s_axil_rvalid} <= '0;
      registers_q <= '0;
      enable_q <= '0;
    end
  end

  // ---------------------------------------------------------------- copying
  logic [31:0] left;
  logic moved;  // a handshake in the step that is under way
  logic address_moved, data_moved, address_sent_q, data_sent_q;
  assign left = registers_q[REG_IMAGE_BYTES>>2] - offset_q;
  assign address = step_q == READ_ADDRESS || step_q == READ_DATA ? base(REG_IMAGE_LO) + 64'(offset_q)
                 : profile_q ? base(REG_PROFILE_LO) : base(REG_OUTPUT_LO) + 64'(offset_q);

  always_comb begin
    m_axi_arvalid = '0;
    m_axi_rready  = '0;
    m_axi_arvalid[port_q] = step_q == READ_ADDRESS;
    m_axi_rready[port_q]  = step_q == READ_DATA && !failed_q;
    for (int p = 0; p < READ_PORTS; p++) begin
      m_axi_araddr[p]  = address;
      m_axi_arlen[p]   = 8'(beats_q - 5'd1);
      m_axi_arsize[p]  = 3'd4;
      m_axi_arburst[p] = 2'd1;
    end
    moved = 1'b0;
    case (step_q)  // what was offered goes out, also after a fault
      READ_ADDRESS: moved = m_axi_arready[port_q];
      READ_DATA: moved = m_axi_rvalid[port_q] && !failed_q;
      WRITE: moved = address_moved || data_moved;
      ANSWER: moved = m_axi_bvalid && !failed_q;
      default: ;
    endcase
  end
  assign m_axi_awaddr = address;
  assign m_axi_awlen = 8'(beats_q - 5'd1);
  assign m_axi_awsize = 3'd4;
  assign m_axi_awburst = 2'd1;
  // Address and data are offered together: a subordinate may wait for either first.
  assign m_axi_awvalid = step_q == WRITE && !address_sent_q;
  assign address_moved = m_axi_awvalid && m_axi_awready;
  assign m_axi_wdata = profile_q ? '0 : buffer_q[beat_q[3:0]];
  assign m_axi_wstrb = '1;
  assign m_axi_wlast = beat_q == beats_q - 5'd1;
  assign m_axi_wvalid = step_q == WRITE && !data_sent_q;
  assign data_moved = m_axi_wvalid && m_axi_wready;
  assign m_axi_bready = step_q == ANSWER && !failed_q;

  task automatic fail(input cause_e cause);
    failed_q <= 1'b1;
    cause_q <= 32'(cause);
    error_address_q <= address;
    status_q[1] <= 1'b1;
  endtask

  always_ff @(posedge clk_i) begin
    if (step_q != IDLE && !failed_q) cycles_q <= cycles_q + 32'd1;
    wait_q <= moved || step_q == IDLE ? 32'd0 : wait_q + 32'd1;
    if (write && awaddr_q == REG_INTERRUPT_STATUS) status_q <= status_q & ~wdata_q[1:0];
    case (step_q)
      IDLE:
      if (start) begin
        {offset_q, cycles_q, beat_q, cause_q} <= '0;
        {done_q, profile_q} <= '0;
        port_q <= '0;
        beats_q <= registers_q[REG_IMAGE_BYTES>>2] < 32'd256 ? 5'(registers_q[REG_IMAGE_BYTES>>2] >> 4) : 5'd16;
        step_q <= READ_ADDRESS;
      end
      READ_ADDRESS: if (moved) step_q <= READ_DATA;
      READ_DATA:
      if (moved) begin
        buffer_q[beat_q[3:0]] <= m_axi_rdata[port_q];
        beat_q <= beat_q + 5'd1;
        if (m_axi_rresp[port_q] != 2'd0)
          fail(m_axi_rresp[port_q] == 2'd2 ? CAUSE_READ_SLVERR : CAUSE_READ_DECERR);
        else if (m_axi_rlast[port_q]) begin
          beat_q <= '0;
          step_q <= WRITE;
        end
      end
      WRITE: begin
        if (address_moved) address_sent_q <= 1'b1;
        if (data_moved) begin
          beat_q <= beat_q + 5'd1;
          data_sent_q <= m_axi_wlast;
        end
        if ((address_sent_q || address_moved) && (data_sent_q || (data_moved && m_axi_wlast))) begin
          {address_sent_q, data_sent_q} <= '0;
          step_q <= ANSWER;
        end
      end
      default:
      if (moved) begin
        beat_q <= '0;
        port_q <= 32'(port_q) == READ_PORTS - 1 ? '0 : port_q + 1'b1;
        offset_q <= offset_q + {23'd0, beats_q, 4'd0};
        if (m_axi_bresp != 2'd0) fail(m_axi_bresp == 2'd2 ? CAUSE_WRITE_SLVERR : CAUSE_WRITE_DECERR);
        else if (profile_q) begin
          step_q <= IDLE;
          done_q <= 1'b1;
          status_q[0] <= 1'b1;
        end else if (left == {23'd0, beats_q, 4'd0}) begin
          profile_q <= 1'b1;
          beats_q <= 5'd1;
          step_q <= WRITE;
        end else begin
          step_q <= READ_ADDRESS;
          if (left - {23'd0, beats_q, 4'd0} < 32'd256) beats_q <= 5'((left >> 4) - 32'(beats_q));
        end
      end
    endcase
    if (step_q != IDLE && !failed_q && !moved && registers_q[REG_TIMEOUT>>2] != 0 &&
        wait_q >= registers_q[REG_TIMEOUT>>2])
      fail(CAUSE_STALLED);
    if (restart && step_q != IDLE) failed_q <= 1'b1;
    if (rst_i) {step_q, failed_q, address_sent_q, data_sent_q} <= '0;
    if (rst_i || restart) begin
      {cause_q, cycles_q} <= '0;
      {done_q, status_q} <= '0;
    end
  end

  logic unused;
  assign unused = &{s_axil_wstrb, s_axil_awaddr[1:0]};

endmodule
