"""Verilator's lint with every warning on, of each overlay and of the tests' stand-in.

`make -C hw_src lint`; waivers with their reasons are in hw_src/lint.vlt or beside the line.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from quasar_runtime.device.rtl_build import Build, lint_command  # noqa: E402
from quasar_runtime.overlay import load_overlay, overlay_names  # noqa: E402


def main() -> int:
    failed = 0
    rtl, stub = ROOT / "hw_src" / "rtl", ROOT / "hw_src" / "sim" / "stub"
    for name in overlay_names():
        for sources in (rtl, stub):
            command, environment = lint_command(Build(load_overlay(name), sources))
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            found = [line for line in done.stderr.splitlines() if not line.startswith("- ")]
            if found or done.returncode:
                print(f"overlay {name}, {sources.relative_to(ROOT)}:", *found, sep="\n")
                failed = 1
    print("lint: " + ("warnings" if failed else "clean"))
    return failed


if __name__ == "__main__":
    sys.exit(main())
