"""Time per image of several builds of the native device: other commits, other compilers.

    git worktree add ../before 49689e4
    (cd ../before && python setup.py -q build_ext --inplace)
    git worktree add ../clang && (cd ../clang && CC=clang python setup.py -q build_ext --inplace)
    python benchmarks/native_builds.py ../before . ../clang

The first folder is the baseline. Each round measures all builds one after another, each in a
process of its own, by the CPU time of an image, all threads together, so that other work on the
machine counts little; --wall, for an idle machine, takes wall time. The ratio is the median over
the rounds of a build's median image to the baseline's in the same round: below 1 is faster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
from helptext import kept

from quasar_runtime.cli.verb import HELP_OPTIONS, Verb

COUNT = click.IntRange(min=1)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
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
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise click.ClickException(f"{folder}: no measurement ({said[-1]}); build the engine there")
    return json.loads(done.stdout)


@click.command(cls=Verb, help=kept(__doc__), context_settings=HELP_OPTIONS)
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--rounds", type=COUNT, default=7, show_default=True, help="Turns of all builds.")
@click.option(
    "--images", type=COUNT, default=40, show_default=True, help="Images per kernel set and round."
)
@click.option(
    "--threads",
    multiple=True,
    type=COUNT,
    default=(1, 2),
    show_default=True,
    help="Threads to measure with.",
)
@click.option("--wall", is_flag=True, help="Wall time in place of CPU time.")
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
