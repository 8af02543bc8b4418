// The accelerator as Vivado's block designs want it: plain Verilog, one AXI interface a port, reset
// active low.
//
// Vivado recognises interfaces by the names of their ports: s_axil (registers), m_axi_0 (memory
// port 0, reads and writes), m_axi_1 to m_axi_3 (reads only). READ_PORTS of them exist;
// package_ip.tcl makes the others disappear. Transfers are modifiable and bufferable, AxCACHE
// 0011, with AxPROT 000.

module quasar_accelerator #(
    parameter TOKENS = 4,
    parameter ROWS = 16,
    parameter DEPTH = 16,
    parameter ACT_WORDS = 6400,
    parameter RES_WORDS = 1280,
    parameter LOGITS = 1024,
    parameter READ_PORTS = 2,
    parameter CLOCK_KHZ = 300000
) (
    (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK" *)
    (* X_INTERFACE_PARAMETER = "ASSOCIATED_RESET aresetn" *)
    input wire aclk,
    (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 aresetn RST" *)
    (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
    input wire aresetn,
    (* X_INTERFACE_INFO = "xilinx.com:signal:interrupt:1.0 irq INTERRUPT" *)
    (* X_INTERFACE_PARAMETER = "SENSITIVITY LEVEL_HIGH" *)
    output wire irq,
    input wire [7:0] s_axil_awaddr,
    input wire [2:0] s_axil_awprot,
    input wire s_axil_awvalid,
    output wire s_axil_awready,
    input wire [31:0] s_axil_wdata,
    input wire [3:0] s_axil_wstrb,
    input wire s_axil_wvalid,
    output wire s_axil_wready,
    output wire [1:0] s_axil_bresp,
    output wire s_axil_bvalid,
    input wire s_axil_bready,
    input wire [7:0] s_axil_araddr,
    input wire [2:0] s_axil_arprot,
    input wire s_axil_arvalid,
    output wire s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0] s_axil_rresp,
    output wire s_axil_rvalid,
    input wire s_axil_rready,

    output wire [63:0] m_axi_0_awaddr,
    output wire [7:0] m_axi_0_awlen,
    output wire [2:0] m_axi_0_awsize,
    output wire [1:0] m_axi_0_awburst,
    output wire [3:0] m_axi_0_awcache,
    output wire [2:0] m_axi_0_awprot,
    output wire m_axi_0_awvalid,
    input wire m_axi_0_awready,
    output wire [127:0] m_axi_0_wdata,
    output wire [15:0] m_axi_0_wstrb,
    output wire m_axi_0_wlast,
    output wire m_axi_0_wvalid,
    input wire m_axi_0_wready,
    input wire [1:0] m_axi_0_bresp,
    input wire m_axi_0_bvalid,
    output wire m_axi_0_bready,
    output wire [63:0] m_axi_0_araddr,
    output wire [7:0] m_axi_0_arlen,
    output wire [2:0] m_axi_0_arsize,
    output wire [1:0] m_axi_0_arburst,
    output wire [3:0] m_axi_0_arcache,
    output wire [2:0] m_axi_0_arprot,
    output wire m_axi_0_arvalid,
    input wire m_axi_0_arready,
    input wire [127:0] m_axi_0_rdata,
    input wire [1:0] m_axi_0_rresp,
    input wire m_axi_0_rlast,
    input wire m_axi_0_rvalid,
    output wire m_axi_0_rready,

    output wire [63:0] m_axi_1_araddr,
    output wire [7:0] m_axi_1_arlen,
    output wire [2:0] m_axi_1_arsize,
    output wire [1:0] m_axi_1_arburst,
    output wire [3:0] m_axi_1_arcache,
    output wire [2:0] m_axi_1_arprot,
    output wire m_axi_1_arvalid,
    input wire m_axi_1_arready,
    input wire [127:0] m_axi_1_rdata,
    input wire [1:0] m_axi_1_rresp,
    input wire m_axi_1_rlast,
    input wire m_axi_1_rvalid,
    output wire m_axi_1_rready,

    output wire [63:0] m_axi_2_araddr,
    output wire [7:0] m_axi_2_arlen,
    output wire [2:0] m_axi_2_arsize,
    output wire [1:0] m_axi_2_arburst,
    output wire [3:0] m_axi_2_arcache,
    output wire [2:0] m_axi_2_arprot,
    output wire m_axi_2_arvalid,
    input wire m_axi_2_arready,
    input wire [127:0] m_axi_2_rdata,
    input wire [1:0] m_axi_2_rresp,
    input wire m_axi_2_rlast,
    input wire m_axi_2_rvalid,
    output wire m_axi_2_rready,

    output wire [63:0] m_axi_3_araddr,
    output wire [7:0] m_axi_3_arlen,
    output wire [2:0] m_axi_3_arsize,
    output wire [1:0] m_axi_3_arburst,
    output wire [3:0] m_axi_3_arcache,
    output wire [2:0] m_axi_3_arprot,
    output wire m_axi_3_arvalid,
    input wire m_axi_3_arready,
    input wire [127:0] m_axi_3_rdata,
    input wire [1:0] m_axi_3_rresp,
    input wire m_axi_3_rlast,
    input wire m_axi_3_rvalid,
    output wire m_axi_3_rready
);

  // The interconnect's reset comes from a register far away; one more here keeps its path short.
  reg rst;
  always @(posedge aclk) rst <= !aresetn;

  // All four read ports side by side; the core is connected to the first READ_PORTS of them.
  wire [4*64-1:0] araddr;
  wire [4*8-1:0] arlen;
  wire [4*3-1:0] arsize;
  wire [4*2-1:0] arburst;
  wire [3:0] arvalid, rready;
  wire [3:0] arready = {m_axi_3_arready, m_axi_2_arready, m_axi_1_arready, m_axi_0_arready};
  wire [4*128-1:0] rdata = {m_axi_3_rdata, m_axi_2_rdata, m_axi_1_rdata, m_axi_0_rdata};
  wire [4*2-1:0] rresp = {m_axi_3_rresp, m_axi_2_rresp, m_axi_1_rresp, m_axi_0_rresp};
  wire [3:0] rlast = {m_axi_3_rlast, m_axi_2_rlast, m_axi_1_rlast, m_axi_0_rlast};
  wire [3:0] rvalid = {m_axi_3_rvalid, m_axi_2_rvalid, m_axi_1_rvalid, m_axi_0_rvalid};

  assign {m_axi_3_araddr, m_axi_2_araddr, m_axi_1_araddr, m_axi_0_araddr} = araddr;
  assign {m_axi_3_arlen, m_axi_2_arlen, m_axi_1_arlen, m_axi_0_arlen} = arlen;
  assign {m_axi_3_arsize, m_axi_2_arsize, m_axi_1_arsize, m_axi_0_arsize} = arsize;
  assign {m_axi_3_arburst, m_axi_2_arburst, m_axi_1_arburst, m_axi_0_arburst} = arburst;
  assign {m_axi_3_arvalid, m_axi_2_arvalid, m_axi_1_arvalid, m_axi_0_arvalid} = arvalid;
  assign {m_axi_3_rready, m_axi_2_rready, m_axi_1_rready, m_axi_0_rready} = rready;
  assign m_axi_0_arcache = 4'b0011;
  assign m_axi_0_arprot = 3'b000;
  assign m_axi_1_arcache = 4'b0011;
  assign m_axi_1_arprot = 3'b000;
  assign m_axi_2_arcache = 4'b0011;
  assign m_axi_2_arprot = 3'b000;
  assign m_axi_3_arcache = 4'b0011;
  assign m_axi_3_arprot = 3'b000;
  assign m_axi_0_awcache = 4'b0011;
  assign m_axi_0_awprot = 3'b000;

  wire unused = ^{s_axil_awprot, s_axil_arprot, arready, rdata, rresp, rlast, rvalid};

  generate
    if (READ_PORTS < 4) begin : gen_unused
      assign araddr[4*64-1:READ_PORTS*64] = 0;
      assign arlen[4*8-1:READ_PORTS*8] = 0;
      assign arsize[4*3-1:READ_PORTS*3] = 0;
      assign arburst[4*2-1:READ_PORTS*2] = 0;
      assign arvalid[3:READ_PORTS] = 0;
      assign rready[3:READ_PORTS] = 0;
    end
  endgenerate

  quasar_top #(
      .TOKENS(TOKENS),
      .ROWS(ROWS),
      .DEPTH(DEPTH),
      .ACT_WORDS(ACT_WORDS),
      .RES_WORDS(RES_WORDS),
      .LOGITS(LOGITS),
      .READ_PORTS(READ_PORTS),
      .PORT_BITS(128),
      .CLOCK_KHZ(CLOCK_KHZ)
  ) core (
      .clk_i(aclk),
      .rst_i(rst),
      .irq_o(irq),
      .s_axil_awaddr(s_axil_awaddr),
      .s_axil_awvalid(s_axil_awvalid),
      .s_axil_awready(s_axil_awready),
      .s_axil_wdata(s_axil_wdata),
      .s_axil_wstrb(s_axil_wstrb),
      .s_axil_wvalid(s_axil_wvalid),
      .s_axil_wready(s_axil_wready),
      .s_axil_bresp(s_axil_bresp),
      .s_axil_bvalid(s_axil_bvalid),
      .s_axil_bready(s_axil_bready),
      .s_axil_araddr(s_axil_araddr),
      .s_axil_arvalid(s_axil_arvalid),
      .s_axil_arready(s_axil_arready),
      .s_axil_rdata(s_axil_rdata),
      .s_axil_rresp(s_axil_rresp),
      .s_axil_rvalid(s_axil_rvalid),
      .s_axil_rready(s_axil_rready),
      .m_axi_araddr(araddr[READ_PORTS*64-1:0]),
      .m_axi_arlen(arlen[READ_PORTS*8-1:0]),
      .m_axi_arsize(arsize[READ_PORTS*3-1:0]),
      .m_axi_arburst(arburst[READ_PORTS*2-1:0]),
      .m_axi_arvalid(arvalid[READ_PORTS-1:0]),
      .m_axi_arready(arready[READ_PORTS-1:0]),
      .m_axi_rdata(rdata[READ_PORTS*128-1:0]),
      .m_axi_rresp(rresp[READ_PORTS*2-1:0]),
      .m_axi_rlast(rlast[READ_PORTS-1:0]),
      .m_axi_rvalid(rvalid[READ_PORTS-1:0]),
      .m_axi_rready(rready[READ_PORTS-1:0]),
      .m_axi_awaddr(m_axi_0_awaddr),
      .m_axi_awlen(m_axi_0_awlen),
      .m_axi_awsize(m_axi_0_awsize),
      .m_axi_awburst(m_axi_0_awburst),
      .m_axi_awvalid(m_axi_0_awvalid),
      .m_axi_awready(m_axi_0_awready),
      .m_axi_wdata(m_axi_0_wdata),
      .m_axi_wstrb(m_axi_0_wstrb),
      .m_axi_wlast(m_axi_0_wlast),
      .m_axi_wvalid(m_axi_0_wvalid),
      .m_axi_wready(m_axi_0_wready),
      .m_axi_bresp(m_axi_0_bresp),
      .m_axi_bvalid(m_axi_0_bvalid),
      .m_axi_bready(m_axi_0_bready)
  );

endmodule
