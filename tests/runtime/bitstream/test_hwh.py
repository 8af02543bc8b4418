"""The generated hardware handoff says what the interface and block design descriptions say."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from quasar_runtime.bitstream import block_design as bd
from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import load_overlay, overlay_names

ACCESS = {"read-only": "r", "read-write": "rw"}


def parse(name: str) -> dict[str, Element]:
    """The modules by instance."""
    root = ElementTree.fromstring(hwh.generate(load_overlay(name)).split("?>", 1)[1])
    return {m.attrib["INSTANCE"]: m for m in root.iter("MODULE")}


def properties(element: Element) -> dict[str, str]:
    return {p.attrib["NAME"]: p.attrib["VALUE"] for p in element.findall("PROPERTY")}


@pytest.fixture(params=overlay_names())
def modules(request: pytest.FixtureRequest) -> dict[str, Element]:
    return parse(request.param)


def test_every_register_has_its_offset_and_access(modules: dict[str, Element]) -> None:
    found = {}
    for register in modules[bd.ACCELERATOR].iter("REGISTER"):
        p = properties(register)
        cleared = any(
            properties(f)["MODIFIED_WRITE_VALUES"] == "oneToClear" for f in register.iter("FIELD")
        )
        access = "w1c" if cleared else ACCESS[p["ACCESS"]]
        assert p["SIZE"] == "32"
        found[register.attrib["NAME"]] = (int(p["ADDRESS_OFFSET"], 16), access)
    assert found == {r.name: (r.offset, r.access) for r in hw.REGISTERS}


def test_every_field_has_its_bits(modules: dict[str, Element]) -> None:
    found = {
        register.attrib["NAME"]: {
            f.attrib["NAME"]: (int(properties(f)["BIT_OFFSET"]), int(properties(f)["BIT_WIDTH"]))
            for f in register.iter("FIELD")
        }
        for register in modules[bd.ACCELERATOR].iter("REGISTER")
    }
    for name, fields in found.items():
        assert fields == {b.name: (b.low, b.width) for b in hw.BITS.get(name, ())}


def test_processor_sees_registers_and_interrupt_controller(modules: dict[str, Element]) -> None:
    ranges = {
        r.attrib["INSTANCE"]: (int(r.attrib["BASEVALUE"], 16), int(r.attrib["HIGHVALUE"], 16))
        for r in modules[bd.PROCESSOR].iter("MEMRANGE")
    }
    assert ranges == {
        "quasar_0": (0xA000_0000, 0xA000_FFFF),
        "axi_intc_0": (0xA001_0000, 0xA001_FFFF),
    }


def test_memory_ports_reach_all_of_the_memory(modules: dict[str, Element]) -> None:
    ports: dict[str, set[tuple[int, int]]] = {}
    for r in modules[bd.ACCELERATOR].iter("MEMRANGE"):
        span = (int(r.attrib["BASEVALUE"], 16), int(r.attrib["HIGHVALUE"], 16))
        ports.setdefault(r.attrib["MASTERBUSINTERFACE"], set()).add(span)
    whole = {(0, 0x7FFF_FFFF), (0x8_0000_0000, 0x8_7FFF_FFFF)}
    masters = {
        b.attrib["NAME"]
        for b in modules[bd.ACCELERATOR].iter("BUSINTERFACE")
        if b.attrib["TYPE"] == "MASTER"
    }
    assert ports == dict.fromkeys(masters, whole)


def test_memory_ports_use_hp0_then_hp3() -> None:
    for name, used in (("b64", {"S_AXI_HP0_FPD"}), ("b1024", {"S_AXI_HP0_FPD", "S_AXI_HP3_FPD"})):
        slaves = {
            b.attrib["NAME"]
            for b in parse(name)[bd.PROCESSOR].iter("BUSINTERFACE")
            if b.attrib["TYPE"] == "SLAVE"
        }
        assert slaves == used


def test_interrupt_reaches_the_processor_through_the_controller(
    modules: dict[str, Element],
) -> None:
    def peers(instance: str, pin: str) -> list[tuple[str, str]]:
        port = next(p for p in modules[instance].iter("PORT") if p.attrib["NAME"] == pin)
        return [(c.attrib["INSTANCE"], c.attrib["PORT"]) for c in port.iter("CONNECTION")]

    assert peers("quasar_0", "irq") == [("axi_intc_0", "intr")]
    assert peers("axi_intc_0", "irq") == [(bd.PROCESSOR, "pl_ps_irq0")]


def test_connections_are_mutual(modules: dict[str, Element]) -> None:
    links = {
        ((name, p.attrib["NAME"]), (c.attrib["INSTANCE"], c.attrib["PORT"]))
        for name, m in modules.items()
        for p in m.iter("PORT")
        for c in p.iter("CONNECTION")
    }
    assert links == {(b, a) for a, b in links}


def test_accelerator_carries_the_overlay_s_parameters() -> None:
    module = parse("b1024")[bd.ACCELERATOR]
    values = {p.attrib["NAME"]: int(p.attrib["VALUE"]) for p in module.iter("PARAMETER")}
    overlay = load_overlay("b1024")
    assert values["TOKENS"] * values["ROWS"] * values["DEPTH"] == overlay.macs
    assert values["READ_PORTS"] == overlay.read_ports
    assert values["CLOCK_KHZ"] == overlay.clock_mhz * 1000
