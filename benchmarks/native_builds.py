"""Several builds of the native device side by side: other commits, other compilers.

    git worktree add ../before 49689e4
    (cd ../before && python setup.py -q build_ext --inplace)
    git worktree add ../clang && (cd ../clang && CC=clang python setup.py -q build_ext --inplace)
    python benchmarks/native_builds.py ../before . ../clang

The first folder is what the others are compared with. Each round measures all of them one after
the other, each in a process of its own, by the CPU time of an image, all threads together, so that
other work on the machine counts little; --wall, for an idle machine, takes the time that passed.
The ratio is the median over the rounds of the one build's median image to the first's in the same
round; below 1 is faster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np

CHILD = """
import json, sys, time
sys.path.insert(0, "benchmarks")
import numpy as np
# The commit's own benchmark knows where the commit keeps its modules.
from native_speed import available_kernels, compile_model, geometry, load_overlay, open_setting

images, threads, clock = int(sys.argv[1]), int(sys.argv[2]), getattr(time, sys.argv[3])
program = compile_model(geometry("tiny", 0.5), load_overlay("b8192"))
medians = {}
for kernels in available_kernels():
    if kernels == "scalar":
        continue
    setting = open_setting(program, kernels, threads)
    setting.run()
    times = []
    for _ in range(images):
        begin = clock()
        setting.run()
        times.append(clock() - begin)
    medians[kernels] = float(np.median(times))
    setting.device.close()
print(json.dumps(medians))
"""


def measure(folder: Path, images: int, threads: int, clock: str) -> dict[str, float]:
    """Seconds of the median image by kernel set."""
    environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
    command = [sys.executable, "-c", CHILD, str(images), str(threads), clock]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--rounds", default=7, show_default=True)
@click.option("--images", default=40, show_default=True, help="Of each kernel set in a round.")
@click.option("--threads", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--wall", is_flag=True, help="Time that passed, not CPU time.")
def main(
    folders: tuple[Path, ...], rounds: int, images: int, threads: tuple[int, ...], wall: bool
) -> None:
    clock = "perf_counter" if wall else "process_time"
    for count in threads:
        seen = [
            [measure(folder, images, count, clock) for folder in folders] for _ in range(rounds)
        ]
        for kernels in seen[0][0]:
            times = np.array([[build[kernels] for build in turn] for turn in seen])
            for folder, column in zip(folders, times.T, strict=True):
                ratios = column / times[:, 0]
                click.echo(
                    f"{kernels} {count} thread{'s'[: count > 1]} {folder.resolve().name}: "
                    f"{np.median(column) * 1e3:.2f} ms, ratio {np.median(ratios):.3f} "
                    f"({ratios.min():.3f} to {ratios.max():.3f})"
                )


if __name__ == "__main__":
    main()
