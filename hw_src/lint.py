"""Verilator's lint with every warning on: each overlay, the tests' stand-in, and the arrangements
that synthesis compares.

`make -C hw_src lint`; waivers with their reasons are in hw_src/lint.vlt or beside the line.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from quasar_runtime.devices.rtl.build import Build, lint_command  # noqa: E402
from quasar_runtime.errors import QuasarError  # noqa: E402
from quasar_runtime.isa.overlay import load_overlay, overlay_names  # noqa: E402

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


def main() -> int:
    """Run the command; returns its exit code."""
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
    print("lint: " + ("clean" if all(results) else "warnings"))
    return int(not all(results))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except QuasarError as e:
        sys.exit(f"Error: {e}")
