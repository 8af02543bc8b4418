"""What the tests' stand-in knows of Vivado's IPs: pins, interfaces, settings, address segments.

Written from the IPs' product guides; whatever is not listed here is an error, so that a misspelt
pin or setting in the Tcl fails.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PS = "xilinx.com:ip:zynq_ultra_ps_e:3.4"
CLK_WIZ = "xilinx.com:ip:clk_wiz:6.0"
RESET = "xilinx.com:ip:proc_sys_reset:5.0"
SMARTCONNECT = "xilinx.com:ip:smartconnect:1.0"
AXI_INTC = "xilinx.com:ip:axi_intc:4.1"


@dataclass(frozen=True)
class Pin:
    """kind 'clk', 'rst' or 'intr'; `low` is a reset's polarity; `clocks` those it belongs to."""

    output: bool
    kind: str
    required: bool = True
    low: bool = True
    clocks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interface:
    """An AXI interface; `clocks` are the pins one of which clocks it."""

    master: bool
    clocks: tuple[str, ...]
    protocol: str = "AXI4"


@dataclass
class Shape:
    """Pins and interfaces of an instance, as its settings make them."""

    pins: dict[str, Pin] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)


_FLAG = r"[01]"
SETTINGS: dict[str, dict[str, str]] = {
    PS: {
        r"PSU__USE__(M_AXI_GP[012]|S_AXI_GP[0-6]|IRQ[01])": _FLAG,
        r"PSU__MAXIGP[012]__DATA_WIDTH": "32|64|128",
        r"PSU__SAXIGP[0-6]__DATA_WIDTH": "32|64|128",
        r"PSU__FPGA_PL[0-3]_ENABLE": _FLAG,
        r"PSU__CRL_APB__PL[0-3]_REF_CTRL__SRCSEL": "IOPLL|RPLL|DPLL",
        r"PSU__CRL_APB__PL[0-3]_REF_CTRL__FREQMHZ": r"\d+(\.\d+)?",
    },
    CLK_WIZ: {
        "PRIM_SOURCE": "No_buffer|Global_buffer|Single_ended_clock_capable_pin",
        "PRIM_IN_FREQ": r"\d+(\.\d+)?",
        "CLKOUT1_REQUESTED_OUT_FREQ": r"\d+(\.\d+)?",
        "RESET_TYPE": "ACTIVE_LOW|ACTIVE_HIGH",
        "RESET_PORT": "reset|resetn",
        "USE_LOCKED": "true|false",
    },
    RESET: {},
    SMARTCONNECT: {"NUM_SI": r"\d+", "NUM_MI": r"\d+", "NUM_CLKS": "[1-5]"},
    AXI_INTC: {"C_IRQ_CONNECTION": _FLAG},
}
"""Settings of each IP, by regular expression, with their legal values."""

DEFAULTS: dict[str, dict[str, str]] = {
    # The ZCU102 preset leaves both full-power masters on, and the PL clock at 100 MHz.
    PS: {"PSU__USE__M_AXI_GP0": "1", "PSU__USE__M_AXI_GP1": "1", "PSU__FPGA_PL0_ENABLE": "1"},
    CLK_WIZ: {"RESET_TYPE": "ACTIVE_HIGH", "RESET_PORT": "reset", "USE_LOCKED": "true"},
    RESET: {},
    SMARTCONNECT: {"NUM_SI": "2", "NUM_MI": "1", "NUM_CLKS": "1"},
    AXI_INTC: {"C_IRQ_CONNECTION": "0"},
}


def check_setting(vlnv: str, name: str, value: str) -> None:
    """Raises ValueError for a setting that the IP does not have, or a value it does not take."""
    for pattern, values in SETTINGS[vlnv].items():
        if re.fullmatch(pattern, name):
            if not re.fullmatch(values, value):
                raise ValueError(f"{vlnv} does not take {value!r} for CONFIG.{name}")
            return
    raise ValueError(f"{vlnv} has no CONFIG.{name}")


def shape(vlnv: str, config: Mapping[str, str]) -> Shape:
    """Pins and interfaces of one of Vivado's IPs."""
    return {
        PS: _processor,
        CLK_WIZ: _clock_wizard,
        RESET: _reset,
        SMARTCONNECT: _smartconnect,
        AXI_INTC: _interrupt_controller,
    }[vlnv](config)


def _processor(config: Mapping[str, str]) -> Shape:
    def on(name: str) -> bool:
        return config.get(f"PSU__USE__{name}", "0") == "1"

    found = Shape({"pl_resetn0": Pin(True, "rst")})
    if config.get("PSU__FPGA_PL0_ENABLE") == "1":
        found.pins["pl_clk0"] = Pin(True, "clk")
    for gp, name in enumerate(("hpm0_fpd", "hpm1_fpd", "hpm0_lpd")):
        if on(f"M_AXI_GP{gp}"):
            clock = f"maxi{name}_aclk"
            found.pins[clock] = Pin(False, "clk")
            found.interfaces[f"M_AXI_{name.upper()}"] = Interface(True, (clock,))
    for hp in range(4):
        if on(f"S_AXI_GP{hp + 2}"):
            clock = f"saxihp{hp}_fpd_aclk"
            found.pins[clock] = Pin(False, "clk")
            found.interfaces[f"S_AXI_HP{hp}_FPD"] = Interface(False, (clock,))
    if on("IRQ0"):
        found.pins["pl_ps_irq0"] = Pin(False, "intr")
    return found


def _clock_wizard(config: Mapping[str, str]) -> Shape:
    low = config["RESET_TYPE"] == "ACTIVE_LOW"
    if low != (config["RESET_PORT"] == "resetn"):
        raise ValueError("clk_wiz: RESET_PORT does not go with RESET_TYPE")
    pins = {
        "clk_in1": Pin(False, "clk"),
        "clk_out1": Pin(True, "clk"),
        config["RESET_PORT"]: Pin(False, "rst", low=low),
    }
    if config["USE_LOCKED"] == "true":
        pins["locked"] = Pin(True, "rst")
    return Shape(pins)


def _reset(config: Mapping[str, str]) -> Shape:
    clock = ("slowest_sync_clk",)
    return Shape(
        {
            "slowest_sync_clk": Pin(False, "clk"),
            "ext_reset_in": Pin(False, "rst"),
            "aux_reset_in": Pin(False, "rst", required=False),
            "mb_debug_sys_rst": Pin(False, "rst", required=False, low=False),
            "dcm_locked": Pin(False, "rst"),
            "mb_reset": Pin(True, "rst", low=False, clocks=clock),
            "bus_struct_reset": Pin(True, "rst", low=False, clocks=clock),
            "peripheral_reset": Pin(True, "rst", low=False, clocks=clock),
            "interconnect_aresetn": Pin(True, "rst", clocks=clock),
            "peripheral_aresetn": Pin(True, "rst", clocks=clock),
        }
    )


def _smartconnect(config: Mapping[str, str]) -> Shape:
    clocks = ("aclk", *(f"aclk{i}" for i in range(1, int(config["NUM_CLKS"]))))
    pins = {clock: Pin(False, "clk") for clock in clocks}
    pins["aresetn"] = Pin(False, "rst", clocks=clocks)
    slaves = {f"S{i:02}_AXI": Interface(False, clocks) for i in range(int(config["NUM_SI"]))}
    masters = {f"M{i:02}_AXI": Interface(True, clocks) for i in range(int(config["NUM_MI"]))}
    return Shape(pins, {**slaves, **masters})


def _interrupt_controller(config: Mapping[str, str]) -> Shape:
    pins = {
        "s_axi_aclk": Pin(False, "clk"),
        "s_axi_aresetn": Pin(False, "rst", clocks=("s_axi_aclk",)),
        "intr": Pin(False, "intr"),
    }
    if config["C_IRQ_CONNECTION"] == "1":  # else the output is an interface, a bus
        pins["irq"] = Pin(True, "intr")
    return Shape(pins, {"s_axi": Interface(False, ("s_axi_aclk",), "AXI4LITE")})


def segments(vlnv: str, interface: str) -> dict[str, str]:
    """Address segments behind a slave interface: path below the cell -> interface."""
    if vlnv == AXI_INTC:
        return {"S_AXI/Reg": interface}
    match = re.fullmatch(r"S_AXI_HP([0-3])_FPD", interface)
    if vlnv == PS and match:
        hp = int(match[1])
        names = ("DDR_LOW", "DDR_HIGH", "LPS_OCM", "QSPI", "PCIE_LOW")
        return {f"SAXIGP{hp + 2}/HP{hp}_{name}": interface for name in names}
    return {}


def space(vlnv: str, interface: str) -> str:
    """Name of a master interface's address space below its cell."""
    return "Data" if vlnv == PS else interface
