"""The synthesis report: distinct modules, sums over the tree, levels, checks; what is committed."""

import json
import os
from pathlib import Path

import pytest

from hw_src.synth import (
    arrangements,
    checks,
    fanout,
    levels,
    netlist,
    report,
    resources,
    yosys,
)

ROOT = Path(__file__).resolve().parents[2]

LEAF = """module \\leaf${path}
  attribute \\src "{path}.sv:1"
  wire width 4 input 1 \\a_i
  wire width 4 output 2 \\y_o
  wire ${number}
end
"""
DESIGN = (
    LEAF.format(path="top.u_a", number=17)
    + LEAF.format(path="top.u_b.u_c", number=90)
    + """attribute \\blackbox 1
module \\DSP48E2
  wire input 1 \\CLK
end
module \\middle$top.u_b
  wire width 4 output 1 \\y_o
  cell \\leaf$top.u_b.u_c \\u_c
  end
  cell \\DSP48E2 \\u_d
  end
end
module \\top
  cell \\leaf$top.u_a \\u_a
  end
  cell \\middle$top.u_b \\u_b
  end
  cell \\middle$top.u_b \\u_e
  end
end
"""
)


def cell(kind: str, inputs: dict[str, list], outputs: dict[str, list], **parameters: str) -> dict:
    """A cell as Yosys writes it."""
    directions = {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")}
    return {
        "type": kind,
        "parameters": parameters,
        "port_directions": directions,
        "connections": {**inputs, **outputs},
    }


def lut(source: int, target: int) -> dict:
    return cell("LUT1", {"I0": [source]}, {"O": [target]})


def flip_flop(d: int, q: int) -> dict:
    return cell("FDRE", {"C": [1], "CE": ["1"], "D": [d], "R": ["0"]}, {"Q": [q]})


def module(cells: list[dict], ports: dict[str, tuple[str, list]] | None = None) -> dict:
    found = {n: {"direction": d, "bits": b} for n, (d, b) in (ports or {}).items()}
    return {"ports": found, "cells": {f"c{i}": c for i, c in enumerate(cells)}}


def plain(name: str, body: str = "", children: dict[str, int] | None = None) -> netlist.Module:
    return netlist.Module(name, name.split("_")[0], body, netlist.Counter(children or {}))


# --- The tree


def test_equal_modules_are_one_whatever_their_names_and_numbers() -> None:
    modules = netlist.distinct(DESIGN, "top")
    assert [m.plain for m in modules.values()] == ["leaf", "middle", "top"]
    used = netlist.instances(modules, next(reversed(modules)))
    assert {modules[n].plain: number for n, number in used.items()} == {
        "top": 1,
        "middle": 2,
        "leaf": 3,
    }
    leaf = next(iter(modules.values()))
    assert leaf.header_as("box") == (
        "attribute \\blackbox 1\nmodule \\box\n  wire width 4 input 1 \\a_i\n"
        "  wire width 4 output 2 \\y_o\nend\n"
    )


def test_what_yosys_gets_of_a_module_depends_on_itself_and_its_children_s_ports_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counts that depend on what else is mapped do not repeat on another machine."""
    monkeypatch.setattr(yosys, "version", lambda: "0")

    def middle(design: str) -> yosys.Alone:
        modules = netlist.distinct(design, "top")
        return yosys.alone(next(m for m in modules.values() if m.plain == "middle"), modules)

    here = middle(DESIGN)
    other = middle(DESIGN.replace("  wire $", "  wire \\inside\n  wire $"))
    assert (here.text, here.path) == (other.text, other.path)
    assert here.children.keys() == other.children.keys() == {"leaf_0"}
    assert here.children != other.children
    wider = middle(DESIGN.replace("width 4 output 2", "width 5 output 2"))
    assert wider.path != here.path


def test_a_different_body_is_another_module() -> None:
    modules = netlist.distinct(DESIGN.replace("wire $17", "wire $17\n  wire \\more"), "top")
    assert [m.plain for m in modules.values()] == ["leaf", "leaf", "middle", "top"]


def test_primitives_are_summed_over_all_instances() -> None:
    modules = {
        "leaf_1": plain("leaf_1"),
        "middle_1": plain("middle_1", children={"leaf_1": 3}),
        "top_1": plain("top_1", children={"middle_1": 2, "leaf_1": 1}),
    }
    ram = cell("RAM32M16", {"ADDRA": [3]}, {"DOA": [4]})
    leaf = module([lut(2, 3), flip_flop(3, 4), ram, cell("CARRY4", {}, {}), cell("MUXF7", {}, {})])
    middle = module([cell("RAMB18E2", {}, {}), cell("leaf_1", {}, {}), cell("SRL16E", {}, {})])
    owned = {
        "leaf_1": resources.own(leaf, modules),
        "middle_1": resources.own(middle, modules),
        "top_1": resources.own(module([cell("DSP48E2", {}, {})]), modules),
    }
    total = resources.as_json(resources.total(modules, owned)["top_1"])
    assert total == {
        "DSP48E2": 1,
        "LUT": 7 * (1 + 8) + 2,
        "FF": 7,
        "CARRY8": 3.5,
        "RAMB36": 0,
        "RAMB18": 2,
        "LUTRAM": 56,
        "SRL": 2,
        "BRAM36": 1,
    }


def test_an_unknown_primitive_is_refused() -> None:
    with pytest.raises(resources.UnknownCell, match="URAM288"):
        resources.own(module([cell("URAM288", {}, {})]), {})


# --- Levels


def test_levels_are_luts_and_chains_between_registers() -> None:
    carry = cell("CARRY4", {"S": [12, "0"], "DI": ["0", "0"], "CI": ["0"]}, {"O": [13, 14]})
    cells = [flip_flop(9, 10), lut(10, 11), lut(11, 12), carry, lut(14, 15), flip_flop(15, 16)]
    arcs = levels.analyse({**module(cells), "names": {"10": "a_q", "16": "b_q"}}, {})
    assert (arcs.longest, arcs.path) == (4, ("a_q", "b_q"))


def test_paths_go_through_modules() -> None:
    inner = module(
        [lut(2, 3), lut(3, 4), flip_flop(3, 5), lut(5, 6)],
        {"a_i": ("input", [2]), "y_o": ("output", [4]), "q_o": ("output", [6])},
    )
    arcs = levels.analyse(inner, {})
    assert arcs.to_register == {"a_i:0": 1}
    assert arcs.from_register == {"q_o:0": 1}
    assert arcs.through == {"y_o:0": {"a_i:0": 2}}
    # q_o of one instance, through another, back into the first.
    pins = ({"a_i": [23]}, {"y_o": [24], "q_o": [21]}), ({"a_i": [21]}, {"y_o": [22], "q_o": [25]})
    outer = module([cell("inner", *pins[0]), cell("inner", *pins[1]), lut(22, 23)])
    assert levels.analyse(outer, {"inner": arcs}).longest == 1 + 2 + 1 + 1


def test_a_multiplier_without_registers_is_in_the_path_and_with_them_is_not() -> None:
    def dsp(registers: str) -> dict:
        names = ("AREG", "BREG", "MREG", "PREG")
        return cell("DSP48E2", {"A": [10]}, {"P": [11]}, **dict.fromkeys(names, registers))

    for registers, expected in (("0", levels.MULTIPLIER), ("1", 0)):
        cells = [flip_flop(9, 10), dsp(registers), flip_flop(11, 12)]
        assert levels.analyse(module(cells), {}).longest == expected


def test_a_loop_is_found_across_modules() -> None:
    inner = levels.analyse(module([lut(2, 3)], {"a_i": ("input", [2]), "y_o": ("output", [3])}), {})
    assert not inner.loops
    looped = module([cell("inner", {"a_i": [5]}, {"y_o": [6]}), lut(6, 5), flip_flop(6, 7)])
    assert levels.analyse(looped, {"inner": inner}).loops


def test_a_path_through_a_child_begins_and_ends_at_its_pins() -> None:
    inner = module([lut(2, 3), flip_flop(3, 4)], {"a_i": ("input", [2]), "y_o": ("output", [4])})
    arcs = levels.analyse({**inner, "names": {"4": "y_q"}}, {})
    ring = module([cell("inner", {"a_i": [6]}, {"y_o": [5]}), lut(5, 6)])
    assert levels.analyse(ring, {"inner": arcs}).path == ("c0.y_o:0", "c0.a_i:0")


def test_a_path_into_an_enable_says_so() -> None:
    enabled = cell("FDRE", {"C": [1], "CE": [11], "D": [12], "R": ["0"]}, {"Q": [13]})
    cells = [flip_flop(9, 10), lut(10, 11), enabled]
    arcs = levels.analyse({**module(cells), "names": {"10": "a_q", "13": "b_q[3]"}}, {})
    assert (arcs.longest, arcs.path) == (1, ("a_q", "b_q[3] (enable)"))


# --- Fan-out


def test_loads_are_counted_through_modules_and_clocks_are_not() -> None:
    ports = {"a_i": ("input", [2]), "q_o": ("output", [4])}
    enabled = cell("FDRE", {"C": [1], "CE": [2], "D": [3], "R": ["0"]}, {"Q": [4]})
    inner = module([lut(2, 3), enabled, lut(4, 5)], ports)
    child = fanout.analyse("inner", {**inner, "names": {"4": "y_q"}}, {}, 2)
    assert child.inputs == {"a_i:0": (2, 1)}
    children = [cell("inner", {"a_i": [20]}, {"q_o": [n]}) for n in (21, 22, 23)]
    outer = module([flip_flop(9, 20), *children, lut(21, 24), lut(21, 25)])
    found = fanout.analyse("outer", {**outer, "names": {"20": "x_q"}}, {"inner": child}, 2)
    assert dict(found.nets) == {
        fanout.Net("outer", "x_q", True, 6, 3): 1,
        fanout.Net("inner", "y_q", True, 3, 0): 1,
    }


# --- Checks

MEMORY = '  attribute \\ram_style "{}"\n  memory width 8 size 1024 \\memory\n'
RAM = cell("RAM64M8", {"ADDRA": [3]}, {"DOA": [4]})


def found(body: str, cells: list[dict], said: list[str] | None = None) -> list[str]:
    result = {"source": said or [], "mapped": [], "netlist": module(cells)}
    return checks.problems(plain("unit_1", body), result, {})


def test_a_clean_module_has_no_problems() -> None:
    assert found(MEMORY.format("distributed"), [RAM, lut(2, 3), flip_flop(3, 5)]) == []


@pytest.mark.parametrize(
    ("body", "cells", "problem"),
    [
        ("", [cell("LDCE", {"G": [1], "D": [2]}, {"Q": [3]})], "1 latches (LDCE)"),
        (MEMORY.format("block"), [RAM], "memory memory of 8192 bits is not in block memory"),
        (MEMORY.format("block"), [], "memory memory of 8192 bits is not in block memory"),
        (MEMORY.format("distributed"), [cell("RAMB36E2", {}, {})], "not in distributed memory"),
        ("", [RAM], "distributed memory where none was asked for"),
        ("  memory width 8 size 4 \\m\n", [], "memory m of 32 bits has no ram_style"),
    ],
)
def test_latches_and_memories_in_the_wrong_cells_are_found(
    body: str, cells: list[dict], problem: str
) -> None:
    assert any(problem in text for text in found(body, cells))


def test_what_yosys_says_is_a_problem(tmp_path: Path) -> None:
    log = tmp_path / "mapped.check"
    log.write_text(
        "5. Executing CHECK pass.\nChecking module unit_1...\n"
        "Warning: multiple conflicting drivers for unit_1.\\a:\n    port Q of cell c0\n"
        "Checking module other...\nFound and reported 1 problems.\n"
    )
    said = yosys.findings(log)
    assert list(said) == ["unit_1"]
    assert "unit: multiple conflicting drivers" in found("", [], said["unit_1"])[0]


def test_loops_and_paths_of_too_many_levels_are_found() -> None:
    def chain(length: int) -> list[dict]:
        luts = [lut(10 + i, 11 + i) for i in range(length)]
        return [flip_flop(9, 10), *luts, flip_flop(10 + length, 99)]

    for length in (checks.LEVELS, checks.LEVELS + 1):
        named = {**module(chain(length)), "names": {"10": "a_q", "99": "b_q"}}
        said = checks.paths(plain("unit_1"), levels.analyse(named, {}))
        wanted = f"unit: {length} levels from a_q to b_q, more than {checks.LEVELS}"
        assert said == ([wanted] if length > checks.LEVELS else [])
    looped = levels.analyse(module([lut(5, 6), lut(6, 5), flip_flop(6, 7)]), {})
    assert "combinational loop" in checks.paths(plain("unit_1"), looped)[0]


def test_a_path_from_an_input_of_the_accelerator_to_an_output_is_found() -> None:
    through = module([lut(5, 6)], {"awvalid": ("input", [5]), "awready": ("output", [6])})
    arcs = levels.analyse(through, {})
    top = netlist.Module("top_1", "quasar_top", "", netlist.Counter())
    assert checks.paths(top, arcs) == [
        "quasar_top: a path without a register from awvalid:0 to awready:0"
    ]
    assert checks.paths(plain("unit_1"), arcs) == []


def test_instances_and_outputs_that_nothing_reads_are_found() -> None:
    child = plain("child_1")
    body = plain("unit_1", children={"child_1": 2})
    one = module([cell("child_1", {"a_i": [2]}, {"y_o": [3], "z_o": [4]}), flip_flop(3, 5)])
    result = {"source": [], "mapped": [], "netlist": one}
    assert checks.problems(body, result, {"child_1": child}) == [
        "unit: 1 of 2 instances of child_1 are unused",
        "unit: nothing reads output z_o of child",
    ]


@pytest.mark.skipif(
    "QUASAR_YOSYS" not in os.environ,
    reason="set QUASAR_YOSYS=1 to run Yosys, whose first call takes a minute",
)
def test_yosys_finds_a_latch() -> None:
    source = ROOT / yosys.WORK / f"latch-{os.getpid()}"
    source.mkdir(parents=True)
    work = source.relative_to(ROOT)
    (source / "t.v").write_text(
        "module t(input [3:0] a, output reg [3:0] y); always @* if (a[0]) y = a; endmodule\n"
    )
    try:
        yosys.run(
            f"read_verilog {work}/t.v\nproc\ntee -o {work}/source.check check -nolatches t\n",
            work,
            "latch",
        )
        assert any("latch" in text.lower() for text in yosys.findings(source / "source.check")["t"])
    finally:
        for path in source.iterdir():
            path.unlink()
        source.rmdir()


# --- What is committed

REPORTS = sorted(ROOT.glob("overlays/*/synth.json"))
OVERLAYS = ("b64", "b1024", "b8192")


@pytest.mark.parametrize("path", REPORTS, ids=lambda p: p.parent.name)
def test_reports_agree_with_each_other_and_with_their_overlay(path: Path) -> None:
    made = json.loads(path.read_text())
    assert path.with_name("synth.md").read_text() == report.markdown(made)
    assert made["overlay"] == json.loads(path.with_name("overlay.json").read_text())
    assert made["device"] == resources.DEVICE
    assert made["problems"] == []
    top = made["modules"][0]
    assert (top["module"], top["instances"], top["total"]) == ("quasar_top", 1, made["totals"])
    for column, amount in made["totals"].items():
        parts = sum(m["instances"] * m["own"][column] for m in made["modules"])
        assert parts == pytest.approx(amount), column


def test_the_documentation_states_the_area_of_the_reports() -> None:
    text = (ROOT / "docs" / "hardware-timing.md").read_text()
    made = [json.loads((ROOT / "overlays" / o / "synth.json").read_text()) for o in OVERLAYS]
    for resource, size in resources.DEVICE.items():
        used = [m["totals"][resource] for m in made]
        cells = [f"{x:,.1f}".removesuffix(".0") + f" ({100 * x / size:.1f} %)" for x in used]
        assert f"| {resource} | {' | '.join(cells)} | {size:,} |" in text


def test_shapes_are_distinct_and_whole() -> None:
    file = ROOT / "hw_src" / "synth" / "shapes.json"
    if not file.is_file():
        pytest.skip("no further shapes were synthesised")
    made = json.loads(file.read_text())["shapes"]
    assert len({m["overlay"]["name"] for m in made}) == len(made) >= 8
    for m in made:
        o = m["overlay"]
        # Four products per multiplier, and two multipliers per lane at least.
        lanes = min(max(o["depth"] // 4, 2), 8)
        least = o["tokens"] * (o["rows"] * o["depth"] // 4 + 2 * lanes)
        assert least < m["totals"]["DSP48E2"] < 2 * least + 50


def test_report_on_arrangements_is_of_the_present_sources() -> None:
    made = json.loads(arrangements.REPORT.read_text())
    assert made["sources"] == arrangements.sources_hash(), "run python -m hw_src.synth.arrangements"
    assert arrangements.REPORT.with_suffix(".md").read_text() == arrangements.markdown(made)
    for shape in made["shapes"]:
        overlay = json.loads((ROOT / "overlays" / shape["overlay"] / "overlay.json").read_text())
        assert shape["size"] == [overlay[p] for p in ("tokens", "rows", "depth")]
        tokens, rows, depth = shape["size"]
        for entry in shape["arrangements"]:
            parts = entry["parts"]
            # Four products per multiplier, whatever the arrangement.
            assert sum(part["DSP48E2"] for part in parts.values()) == tokens * rows * depth // 4
            assert entry["levels"] <= checks.LEVELS


def test_array_has_what_the_report_on_arrangements_says_of_its_cells() -> None:
    made = json.loads(arrangements.REPORT.read_text())
    for shape in made["shapes"]:
        present = next(a for a in shape["arrangements"] if a["name"] == "array")
        path = ROOT / "overlays" / shape["overlay"] / "synth.json"
        array = {m["module"]: m["total"] for m in json.loads(path.read_text())["modules"]}
        assert present["parts"]["cell"]["LUT"] == pytest.approx(
            shape["size"][0] * shape["size"][1] // 4 * array["dot_cell"]["LUT"], rel=0.01
        )


def test_hardware_page_has_the_figures_of_the_report_on_arrangements() -> None:
    made = json.loads(arrangements.REPORT.read_text())
    rows = (ROOT / "docs" / "hardware.md").read_text().split("\n")
    for i, entry in enumerate(made["shapes"][0]["arrangements"]):
        row = next(
            line for line in rows if line.replace("*", "").startswith(f"| `{entry['name']}`")
        )
        found = [part.strip(" *") for part in row.split("|")[2:-1]]
        wanted = []
        for shape in made["shapes"]:
            tokens, size, depth = shape["size"]
            cells, parts = tokens * size // 4, shape["arrangements"][i]["parts"].values()
            lut, ff = (sum(part[c] for part in parts) / cells for c in ("LUT", "FF"))
            wanted.append(f"{lut / (4 * depth):.2f}, {ff / (4 * depth):.2f}")
        levels_there = str(made["shapes"][-1]["arrangements"][i]["levels"])
        assert found == [*wanted, f"{lut:,.0f}, {ff:,.0f}", levels_there]
