"""Cold start: wall time and peak memory of `quasar-infer` in new processes.

    python benchmarks/cold_start.py --runs 15 examples/chelsea.jpg

The baseline is an interpreter that only imports numpy and Pillow. The two run in turns, so that
both meet the same machine. Figures are medians; memory is the peak resident set of a process. Cold
means a new process: from the second run on its files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
BASELINE = [sys.executable, "-c", "import numpy, PIL.Image"]
INFER = [sys.executable, "-c", "from quasar_runtime.cli import infer_main; infer_main()"]


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes (10^6 bytes) of one run of a command."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"Error: {' '.join(command)} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "image", nargs="?", default=str(ROOT / "examples/chelsea.jpg"), help="picture"
    )
    parser.add_argument(
        "--model", default="q-vit-160fps", help="model of the zoo or file (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="device (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=11, help="runs of each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs takes at least 1")
    infer = [*INFER, arguments.image, "--model", arguments.model, "--device", arguments.device]
    commands = {"interpreter with numpy and Pillow": BASELINE, "quasar-infer": infer}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(arguments.runs):
        for name, command in commands.items():
            found[name].append(measure(command))
    medians = {
        name: tuple(statistics.median(column) for column in zip(*runs, strict=True))
        for name, runs in found.items()
    }
    (_, base), (seconds, peak) = medians.values()
    if arguments.json:
        answer = {
            "runs": arguments.runs,
            "seconds": seconds,
            "peak_mb": peak,
            "above_mb": peak - base,
        }
        print(json.dumps({key: round(value, 4) for key, value in answer.items()}))
        return
    for name, (wall, memory) in medians.items():
        print(f"{name:34}  {wall:6.3f} s  {memory:6.1f} MB")
    print(f"{'above the interpreter':34}  {'':8}  {peak - base:6.1f} MB")


if __name__ == "__main__":
    main()
