"""The block design of the ZCU102 overlay: cells, connections and addresses.

What a driver must know of the bitstream (names, addresses, clocks), and what the generated hardware
handoff (`quasar_runtime.bitstream.handoff`) says. `hw_src/vivado` builds the same design in Vivado;
a test executes its Tcl and compares every cell, connection and address with this description.

    zynq_ultra_ps_e_0 --M_AXI_HPM0_FPD--> control_interconnect --> axi_intc_0, quasar_0 (registers)
                      <--S_AXI_HPn_FPD--- memory_interconnect_i <-- quasar_0 (memory port i)
                      <--pl_ps_irq0------ axi_intc_0 <-- quasar_0
                      --pl_clk0 (100 MHz)--> registers' side, clk_wiz_0 --(its clock)--> quasar_0

Memory port 0 reads and writes, the others only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quasar_runtime.isa.overlay import Overlay

VIVADO = "2022.1"
"""The only version that builds the bitstream: IP versions below are its own."""
PART = "xczu9eg-ffvb1156-2-e"
BOARD = "xilinx.com:zcu102:part0:3.4"
DESIGN = "quasar"
"""Name of the block design, and of the SYSTEMINFO of its hardware handoff."""

PROCESSOR = "zynq_ultra_ps_e_0"
ACCELERATOR = "quasar_0"
INTERRUPT_CONTROLLER = "axi_intc_0"
ACCELERATOR_VLNV = "quasar_vit:accelerator:quasar:1.0"
REGISTERS_PORT = "s_axil"
"""The accelerator's AXI4-Lite interface; its memory ports are m_axi_0, m_axi_1, ..."""

REGISTERS_BASE = 0xA000_0000
INTERRUPT_CONTROLLER_BASE = 0xA001_0000
REGISTERS_RANGE = 0x1_0000
DDR_LOW = (0x0, 0x8000_0000)
DDR_HIGH = (0x8_0000_0000, 0x8000_0000)
"""(base, bytes) of the processing system's two windows on the ZCU102's 4 GiB."""

PL_CLOCK_MHZ = 100
"""What pl_clk0 is asked to be; the accelerator's clock is made from it by clk_wiz_0."""
PL_CLOCK_DIVISORS = (15, 1)
"""Of the IOPLL, 1.5 GHz on the ZCU102."""
PL_CLOCK_ACTUAL_MHZ = 99.990005
"""With the board's reference oscillator of 33.33 MHz."""

HP_PORTS = (0, 3, 1, 2)
"""HP port of memory port 0, 1, ...: HP1 and HP2 share a port of the DDR controller, so last."""


@dataclass(frozen=True)
class Cell:
    """An instance: its IP's vendor:library:name:version, and whether registers are inside."""

    name: str
    vlnv: str

    @property
    def kind(self) -> str:
        """The IP's name in its VLNV."""
        return self.vlnv.split(":")[2]


@dataclass(frozen=True)
class Net:
    """A net of one driver and its loads, each `cell/pin`. kind is 'clk', 'rst' or 'intr'."""

    kind: str
    driver: str
    loads: tuple[str, ...]


@dataclass(frozen=True)
class Segment:
    """`bytes` at `base` of address space `space` (cell/interface) are a slave's `block`."""

    space: str
    slave: str
    block: str
    base: int
    bytes: int


def saxi_gp(hp: int) -> int:
    """Number of the PS8 interface behind S_AXI_HP<hp>_FPD: HP0 is S_AXI_GP2."""
    return hp + 2


def memory_ports(overlay: Overlay) -> list[tuple[str, int]]:
    """(accelerator's interface, number of the HP port) of every memory port."""
    return [(f"m_axi_{i}", HP_PORTS[i]) for i in range(overlay.read_ports)]


def cells(overlay: Overlay) -> list[Cell]:
    """All instances of the design."""
    fixed = [
        Cell(PROCESSOR, "xilinx.com:ip:zynq_ultra_ps_e:3.4"),
        Cell("clk_wiz_0", "xilinx.com:ip:clk_wiz:6.0"),
        Cell("reset_control", "xilinx.com:ip:proc_sys_reset:5.0"),
        Cell("reset_accelerator", "xilinx.com:ip:proc_sys_reset:5.0"),
        Cell("control_interconnect", "xilinx.com:ip:smartconnect:1.0"),
        Cell(INTERRUPT_CONTROLLER, "xilinx.com:ip:axi_intc:4.1"),
        Cell(ACCELERATOR, ACCELERATOR_VLNV),
    ]
    return fixed + [
        Cell(f"memory_interconnect_{i}", "xilinx.com:ip:smartconnect:1.0")
        for i in range(overlay.read_ports)
    ]


def interfaces(overlay: Overlay) -> Iterator[tuple[str, str]]:
    """(master, slave) of every AXI connection, each `cell/interface`."""
    yield f"{PROCESSOR}/M_AXI_HPM0_FPD", "control_interconnect/S00_AXI"
    yield "control_interconnect/M00_AXI", f"{ACCELERATOR}/{REGISTERS_PORT}"
    yield "control_interconnect/M01_AXI", f"{INTERRUPT_CONTROLLER}/s_axi"
    for i, (port, hp) in enumerate(memory_ports(overlay)):
        yield f"{ACCELERATOR}/{port}", f"memory_interconnect_{i}/S00_AXI"
        yield f"memory_interconnect_{i}/M00_AXI", f"{PROCESSOR}/S_AXI_HP{hp}_FPD"


def nets(overlay: Overlay) -> list[Net]:
    """Clocks, resets and interrupts."""
    memory = [f"memory_interconnect_{i}" for i in range(overlay.read_ports)]
    hp_clocks = [f"{PROCESSOR}/saxihp{hp}_fpd_aclk" for _, hp in memory_ports(overlay)]
    return [
        Net(
            "clk",
            f"{PROCESSOR}/pl_clk0",
            (
                f"{PROCESSOR}/maxihpm0_fpd_aclk",
                "clk_wiz_0/clk_in1",
                "reset_control/slowest_sync_clk",
                "control_interconnect/aclk",
                f"{INTERRUPT_CONTROLLER}/s_axi_aclk",
            ),
        ),
        Net(
            "clk",
            "clk_wiz_0/clk_out1",
            (
                "reset_accelerator/slowest_sync_clk",
                "control_interconnect/aclk1",
                f"{ACCELERATOR}/aclk",
                *(f"{cell}/aclk" for cell in memory),
                *hp_clocks,
            ),
        ),
        Net(
            "rst",
            f"{PROCESSOR}/pl_resetn0",
            ("clk_wiz_0/resetn", "reset_control/ext_reset_in", "reset_accelerator/ext_reset_in"),
        ),
        Net(
            "rst",
            "clk_wiz_0/locked",
            ("reset_control/dcm_locked", "reset_accelerator/dcm_locked"),
        ),
        Net(
            "rst",
            "reset_control/peripheral_aresetn",
            (f"{INTERRUPT_CONTROLLER}/s_axi_aresetn",),
        ),
        Net("rst", "reset_control/interconnect_aresetn", ("control_interconnect/aresetn",)),
        Net("rst", "reset_accelerator/peripheral_aresetn", (f"{ACCELERATOR}/aresetn",)),
        Net(
            "rst",
            "reset_accelerator/interconnect_aresetn",
            tuple(f"{cell}/aresetn" for cell in memory),
        ),
        Net("intr", f"{ACCELERATOR}/irq", (f"{INTERRUPT_CONTROLLER}/intr",)),
        Net("intr", f"{INTERRUPT_CONTROLLER}/irq", (f"{PROCESSOR}/pl_ps_irq0",)),
    ]


def segments(overlay: Overlay) -> Iterator[Segment]:
    """The address map, as the processor and as the accelerator's memory ports see it."""
    processor = f"{PROCESSOR}/M_AXI_HPM0_FPD"
    registers = f"{ACCELERATOR}/{REGISTERS_PORT}"
    controller = f"{INTERRUPT_CONTROLLER}/s_axi"
    yield Segment(processor, registers, "reg0", REGISTERS_BASE, REGISTERS_RANGE)
    yield Segment(processor, controller, "Reg", INTERRUPT_CONTROLLER_BASE, REGISTERS_RANGE)
    for port, hp in memory_ports(overlay):
        space, slave = f"{ACCELERATOR}/{port}", f"{PROCESSOR}/S_AXI_HP{hp}_FPD"
        yield Segment(space, slave, f"HP{hp}_DDR_LOW", *DDR_LOW)
        yield Segment(space, slave, f"HP{hp}_DDR_HIGH", *DDR_HIGH)
