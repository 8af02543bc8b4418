"""The hardware handoff (`.hwh`) of an overlay, written from the descriptions.

Vivado writes one beside the bitstream. This one carries the same cells, connections, addresses,
registers and fields, so that PYNQ can be run without a bitstream: for tests and the simulated
board. It names no Vivado version, by which the two can be told apart.
"""

from __future__ import annotations

from collections import defaultdict
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from quasar_runtime.bitstream import block_design as bd
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay

GENERATOR = "none: written by quasar_runtime.bitstream.handoff"
"""VIVADOVERSION of a handoff that no Vivado wrote."""
_ACCESS = {"r": "read-only", "rw": "read-write", "w1c": "read-write"}
_MODIFIED = {"r": "", "rw": "", "w1c": "oneToClear"}
_CLASS = {"zynq_ultra_ps_e": "PERIPHERAL", "axi_intc": "INTERRUPT_CNTLR", "smartconnect": "BUS"}


def generate(overlay: Overlay) -> str:
    """The handoff's XML text."""
    root = Element("EDKSYSTEM", EDWVERSION="1.2", VIVADOVERSION=GENERATOR)
    device, package, speed = bd.PART.rsplit("-", 1)[0].split("-")
    SubElement(
        root,
        "SYSTEMINFO",
        ARCH="zynquplus",
        BOARD=bd.BOARD,
        DEVICE=device,
        NAME=bd.DESIGN,
        PACKAGE=package,
        SPEEDGRADE=f"-{speed}",
    )
    SubElement(root, "EXTERNALPORTS")
    SubElement(root, "EXTERNALINTERFACES")
    modules = SubElement(root, "MODULES")
    pins = _pins(overlay)
    for cell in bd.cells(overlay):
        _module(modules, cell, overlay, pins[cell.name])
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n' + ElementTree.tostring(
        root, encoding="unicode"
    )


def _split(path: str) -> tuple[str, str]:
    cell, pin = path.split("/")
    return cell, pin


_Pins = dict[str, tuple[str, str, list[str]]]
"""pin -> (direction, kind, the pins it is connected with), of one cell."""


def _pins(overlay: Overlay) -> dict[str, _Pins]:
    pins: dict[str, _Pins] = defaultdict(dict)
    for net in bd.nets(overlay):
        cell, pin = _split(net.driver)
        pins[cell][pin] = ("O", net.kind, list(net.loads))
        for load in net.loads:
            cell, pin = _split(load)
            pins[cell][pin] = ("I", net.kind, [net.driver])
    return pins


def _module(parent: Element, cell: bd.Cell, overlay: Overlay, pins: _Pins) -> None:
    module = SubElement(
        parent,
        "MODULE",
        FULLNAME=f"/{cell.name}",
        HWVERSION=cell.vlnv.split(":")[3],
        INSTANCE=cell.name,
        IPTYPE="PERIPHERAL",
        IS_ENABLE="1",
        MODCLASS=_CLASS.get(cell.kind, "PERIPHERAL"),
        MODTYPE=cell.kind,
        VLNV=cell.vlnv,
    )
    if cell.name == bd.PROCESSOR:
        module.set("IS_PL", "FALSE")
    if cell.name == bd.ACCELERATOR:
        _registers(SubElement(module, "ADDRESSBLOCKS"))
    parameters = SubElement(module, "PARAMETERS")
    for name, value in _parameters(cell, overlay).items():
        SubElement(parameters, "PARAMETER", NAME=name, VALUE=str(value))
    ports = SubElement(module, "PORTS")
    for name, (direction, kind, others) in pins.items():
        sigis = {"intr": "INTERRUPT"}.get(kind, kind)
        port = SubElement(ports, "PORT", DIR=direction, NAME=name, SIGIS=sigis)
        connections = SubElement(port, "CONNECTIONS")
        for other in others:
            instance, pin = _split(other)
            SubElement(connections, "CONNECTION", INSTANCE=instance, PORT=pin)
    _interfaces(module, cell, overlay)
    _memory_map(module, cell, overlay)


def _parameters(cell: bd.Cell, overlay: Overlay) -> dict[str, object]:
    if cell.name == bd.PROCESSOR:
        return _processor_parameters(overlay)
    if cell.name == "clk_wiz_0":
        return {
            "PRIM_IN_FREQ": bd.PL_CLOCK_MHZ,
            "CLKOUT1_REQUESTED_OUT_FREQ": overlay.clock_mhz,
        }
    if cell.name == bd.INTERRUPT_CONTROLLER:
        # Bit 0 of the kinds: 0 is level, 1 edge; active high; one line to the processor.
        return {"C_NUM_INTR_INPUTS": 1, "C_KIND_OF_INTR": "0xFFFFFFFE", "C_IRQ_IS_LEVEL": 1}
    if cell.name == bd.ACCELERATOR:
        return accelerator_parameters(overlay)
    return {}


def accelerator_parameters(overlay: Overlay) -> dict[str, object]:
    """The RTL's parameters for an overlay."""
    return {
        "TOKENS": overlay.tokens,
        "ROWS": overlay.rows,
        "DEPTH": overlay.depth,
        "ACT_WORDS": overlay.act_words,
        "RES_WORDS": overlay.res_words,
        "LOGITS": overlay.logits,
        "READ_PORTS": overlay.read_ports,
        "CLOCK_KHZ": overlay.clock_mhz * 1000,
    }


def _processor_parameters(overlay: Overlay) -> dict[str, object]:
    """What PYNQ reads of the clocks, and the ports in use."""
    used = {bd.saxi_gp(hp) for _, hp in bd.memory_ports(overlay)}
    parameters: dict[str, object] = {
        f"PSU__USE__S_AXI_GP{gp}": int(gp in used) for gp in range(2, 6)
    }
    for clock in range(4):
        name = f"PSU__CRL_APB__PL{clock}_REF_CTRL"
        parameters[f"PSU__FPGA_PL{clock}_ENABLE"] = int(clock == 0)
        for i, divisor in enumerate(bd.PL_CLOCK_DIVISORS):
            parameters[f"{name}__DIVISOR{i}"] = divisor
        parameters[f"{name}__SRCSEL"] = "IOPLL"
        parameters[f"{name}__FREQMHZ"] = bd.PL_CLOCK_MHZ
        parameters[f"{name}__ACT_FREQMHZ"] = bd.PL_CLOCK_ACTUAL_MHZ
    return parameters


def _interfaces(module: Element, cell: bd.Cell, overlay: Overlay) -> None:
    interfaces = SubElement(module, "BUSINTERFACES")
    for master, slave in bd.interfaces(overlay):
        for path, kind in ((master, "MASTER"), (slave, "SLAVE")):
            owner, name = _split(path)
            if owner == cell.name:
                bus = SubElement(
                    interfaces,
                    "BUSINTERFACE",
                    BUSNAME=master.replace("/", "_"),
                    DATAWIDTH=str(_data_bits(master)),
                    NAME=name,
                    TYPE=kind,
                    VLNV="xilinx.com:interface:aximm:1.0",
                )
                SubElement(bus, "PORTMAPS")


def _data_bits(master: str) -> int:
    memory = master.startswith((f"{bd.ACCELERATOR}/m_axi", "memory_interconnect"))
    return 128 if memory else 32


def _memory_map(module: Element, cell: bd.Cell, overlay: Overlay) -> None:
    own = [s for s in bd.segments(overlay) if _split(s.space)[0] == cell.name]
    if not own:
        return
    memory_map = SubElement(module, "MEMORYMAP")
    for segment in own:
        instance, interface = _split(segment.slave)
        SubElement(
            memory_map,
            "MEMRANGE",
            ADDRESSBLOCK=segment.block,
            BASENAME="C_BASEADDR",
            BASEVALUE=f"0x{segment.base:08X}",
            HIGHNAME="C_HIGHADDR",
            HIGHVALUE=f"0x{segment.base + segment.bytes - 1:08X}",
            INSTANCE=instance,
            IS_DATA="TRUE",
            IS_INSTRUCTION="TRUE",
            MASTERBUSINTERFACE=_split(segment.space)[1],
            MEMTYPE="MEMORY" if "_DDR_" in segment.block else "REGISTER",
            SLAVEBUSINTERFACE=interface,
        )


def _registers(parent: Element) -> None:
    block = SubElement(
        parent,
        "ADDRESSBLOCK",
        ACCESS="read-write",
        INTERFACE=bd.REGISTERS_PORT,
        NAME="reg0",
        RANGE=str(bd.REGISTERS_RANGE),
        USAGE="register",
    )
    registers = SubElement(block, "REGISTERS")
    for register in hw.REGISTERS:
        element = SubElement(registers, "REGISTER", NAME=register.name)
        _properties(
            element,
            DESCRIPTION=register.doc,
            ADDRESS_OFFSET=f"0x{register.offset:02X}",
            SIZE="32",
            ACCESS=_ACCESS[register.access],
            IS_ENABLED="true",
            RESET_VALUE="0x0",
        )
        fields = SubElement(element, "FIELDS")
        for bits in hw.BITS.get(register.name, ()):
            _properties(
                SubElement(fields, "FIELD", NAME=bits.name),
                DESCRIPTION=bits.doc,
                ACCESS=_ACCESS[register.access],
                MODIFIED_WRITE_VALUES=_MODIFIED[register.access],
                BIT_OFFSET=str(bits.low),
                BIT_WIDTH=str(bits.width),
            )


def _properties(parent: Element, **values: str) -> None:
    for name, value in values.items():
        SubElement(parent, "PROPERTY", NAME=name, VALUE=value)
