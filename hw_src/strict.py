"""A strict reading of the RTL: slang, IEEE 1800-2017, every warning on.

    python -m hw_src.strict --top quasar_top FILE...    any option of slang, waivers aside

Verilator and Yosys forgive what other tools refuse. slang (`pyslang` by pip) elaborates each
overlay as the standard says, with and without the parts for simulation. An error or a warning fails
`make lint`, except those waived here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quasar_runtime.errors import QuasarError

WAIVED = {
    "sign-conversion": "size casts of genvars and literals are signed: C'(c), N'(1); all are >= 0",
    "arith-op-mismatch": "the same: an unsigned register plus or minus N'(1)",
    "sign-compare": "the same: an unsigned register compared with N'(2)",
    "useless-cast": "a cast to a width of parameters, which in some overlays is the operand's own",
    "packed-array-conv": "ports of a memory's or a stream's bits into the arrays that they hold",
    "case-type": "opcode, source and epilogue of a descriptor are bytes: they may hold any value",
    "case-enum-explicit": "the other states are in `default`",
    "unused-package-parameter": "constants of the whole interface, of which the RTL uses a part",
    "unused-package-subroutine": "the same: functions for one kind of cell",
    "unused-def": "the array has one kind of cell in simulation and another in synthesis",
}
"""Warnings that are no fault here, by slang's names, each with its reason."""
UNUSED = (
    r"variable 'unused\w*' is assigned but its value is never used",
    r"unused net 'unused'",
    r"dsp48e2\.sv:.* unused (parameter|port)",
)
"""How a module tells Verilator which bits it does not read; and the DSP48E2's model, which has all
ports and parameters of the primitive."""
FINDING = re.compile(r"^\S+:\d+:\d+: (fatal )?(error|warning): |^error: ")
PARTS = {
    "as written": [],
    "for Verilator": ["-DVERILATOR"],
    "for synthesis": ["-DSYNTHESIS", "-DQUASAR_PRIMITIVE", "hw_src/synth/dsp48e2.sv"],
}
"""The parts of the sources that tools choose between, and what chooses them."""
WRAPPER = "hw_src/vivado/quasar_accelerator.v"


def findings(
    files: Iterable[Path], top: str, parameters: Mapping[str, int], options: Iterable[str] = ()
) -> list[str]:
    """What slang says of a design, waived warnings aside: a line per finding.

    `files` define packages before their use; `options` may name more, relative to the checkout.
    QuasarError when slang does not run.
    """
    given = [f"-G{name}={value}" for name, value in parameters.items()]
    command = [sys.executable, "-m", __name__, "--top", top, *given, *options, *map(str, files)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if "Build succeeded" not in said and "Build failed" not in said:
        raise QuasarError(f"slang did not run: {said.strip() or done.returncode}")
    found = dict.fromkeys(line for line in said.splitlines() if FINDING.match(line))
    return [line for line in found if not re.search("|".join(UNUSED), line)]


def main(arguments: list[str]) -> int:
    """Run slang in this process: it prints to standard error; the exit status."""
    try:
        from pyslang.driver import Driver
    except ImportError:
        print("pyslang is not installed; pip install 'quasar-vit[test]'", file=sys.stderr)
        return 2
    waived = [f"-Wno-{name}" for name in WAIVED]
    driver: Any = Driver()
    driver.addStandardArgs()
    line = " ".join(["slang --std 1800-2017 -Weverything --error-limit 0", *waived, *arguments])
    if not (driver.parseCommandLine(line) and driver.processOptions()):
        return 2
    driver.parseAllSources()
    compilation = driver.createCompilation()
    driver.reportCompilation(compilation, False)
    driver.runAnalysis(compilation)
    return int(not driver.reportDiagnostics(False))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
