"""Error of the cycle model against the simulated RTL, on whole images of random subnets.

    python benchmarks/cycle_model.py                              36 subnets, 12 per overlay
    python benchmarks/cycle_model.py --overlay b1024 --subnets 4 --seed 7
    python benchmarks/cycle_model.py --full --plot docs/cycle_model.svg
    python benchmarks/cycle_model.py --rate                       speed of the model alone, subnets
                                                                  per second for each search space

Subnets differ in image size, width, depth, heads, MLP widths, classes and share of 8-bit rows of
each matrix. Images are small, so that a subnet takes seconds. --full adds DeiT-Tiny's geometry at
224 pixels, all rows 4-bit and all 8-bit. The table has one line per subnet: the error of the whole
image, and the largest error of an operation that takes more than 1 % of the time. The command fails
when an image is off by more than 3 %, or such an operation by more than 10 %. Both use the default
memory: 150 cycles latency, 12 GB/s, 8.5 GB/s per port. --plot needs matplotlib.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
from helptext import kept

from quasar_runtime.cli.verb import HELP_OPTIONS, Verb
from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import Cycles, program_cycles
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.rtl.device import RtlDevice
from quasar_runtime.errors import CompileError
from quasar_runtime.files import check_output
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Opcode
from quasar_runtime.isa.overlay import Overlay, load_overlay, overlay_names
from quasar_runtime.isa.program import Program
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model

sys.path.insert(0, str(Path(__file__).parents[1]))  # train/ is not a part of the package

from train.cost.cycles import OverlayCost
from train.spaces.space import SPACES, Space, Subnet

LIMITS = {"image": 0.03, "operation": 0.1}
"""Largest errors: of an image, and of an operation that takes more than SHARE of it."""
SHARE = 0.01
SIZES = {"b64": (32, 48, 64), "b1024": (64, 80, 96, 112, 160), "b8192": (64, 96, 112, 160, 224)}
"""Image sizes drawn, in pixels."""
WIDTHS = {"b64": (64, 192), "b1024": (96, 320), "b8192": (128, 384)}


@dataclass
class Comparison:
    """A program's cycles, measured and modelled, descriptor by descriptor."""

    program: Program
    what: str
    begin: np.ndarray
    end: np.ndarray
    total: int
    model: Cycles

    @property
    def error(self) -> float:
        return self.model.total / self.total - 1

    @property
    def operations(self) -> list[tuple[str, Opcode, float, float]]:
        """(name, opcode, measured, modelled) of operations above 1 % of the time."""
        spans = self.end - self.begin
        return [
            (name, Opcode(int(d["opcode"])), float(span), float(model))
            for name, d, span, model in zip(
                self.program.names, self.program.descriptors, spans, self.model.spans, strict=True
            )
            if span > SHARE * self.total
        ]

    @property
    def worst(self) -> tuple[str, float]:
        """The operation above 1 % of the time with the largest error."""
        errors = [(name, model / span - 1) for name, _, span, model in self.operations]
        return max(errors, key=lambda e: abs(e[1]))


def subnet(overlay: Overlay, seed: int) -> tuple[str, Program]:
    """A random geometry and mix that fits the overlay, in words and compiled."""
    rng = np.random.default_rng(seed)
    low, high = WIDTHS.get(overlay.name, (96, 320))
    while True:
        depth = int(rng.integers(2, 4))
        size = int(rng.choice(SIZES.get(overlay.name, SIZES["b1024"])))
        width = 32 * int(rng.integers(low // 32, high // 32 + 1))
        heads = [int(h) for h in rng.integers(1, 5, depth)]
        mlp = [32 * int(n) for n in rng.integers(3, 33, depth)]
        share = [None, None, 0.0, 1.0][int(rng.integers(4))]
        classes = int(rng.choice([10, 100, 1000]))
        model = random_model(
            seed,
            image_size=size,
            width=width,
            heads=heads,
            mlp=mlp,
            share8=share,
            classes=classes,
        )
        mix = "mixed" if share is None else "8-bit" if share else "4-bit"
        what = f"{size} px, {width} wide, heads {heads}, mlp {mlp}, {classes} classes, {mix}"
        try:
            return what, compile_model(model, overlay)
        except CompileError:
            continue


def deit_tiny(share8: float) -> Model:
    return random_model(
        1,
        image_size=224,
        width=192,
        heads=[3] * 12,
        mlp=[768] * 12,
        share8=share8,
        classes=1000,
    )


def measure(overlay: Overlay, program: Program, what: str) -> Comparison:
    """Run a program in simulation. Its cycles do not depend on the values."""
    with RtlDevice(overlay) as device:
        sizes = [
            program.data.size,
            program.image_bytes,
            program.output_bytes,
            program.profile_bytes,
        ]
        memories = [device.allocate(size) for size in sizes]
        memories[0].array[:] = program.data
        memories[1].array[:] = 0
        device.submit(Job.of(program.count, *memories))
        device.wait(600)
        profile = memories[3].array.view(hw.PROFILE_DTYPE)
        begin, end = profile["begin"].astype(np.float64), profile["end"].astype(np.float64)
        return Comparison(program, what, begin, end, device.cycles, program_cycles(program))


def rates(overlay: str, space: str, count: int = 2000) -> tuple[float, float]:
    """Subnets per second of one core: the first 500 of a new process, and `count` after those.

    All are different random subnets of the space, as in a search.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_rates, (overlay, space, count))


def _rates(overlay: str, name: str, count: int) -> tuple[float, float]:
    space, rng = Space.load(name), random.Random(0)
    cost = OverlayCost.of(space, load_overlay(overlay))
    subnets: dict[Subnet, None] = {}
    while len(subnets) < 500 + count:
        subnets[space.sample(rng)] = None
    times = [time.process_time()]
    for number, subnet in enumerate(subnets, 1):
        cost(subnet)
        if number in (500, 500 + count):
            times.append(time.process_time())
    return 500 / (times[1] - times[0]), count / (times[2] - times[1])


def plot(comparisons: list[Comparison], path: Path) -> None:
    """Modelled against measured, images on the left, operations above 1 % on the right."""
    import matplotlib  # type: ignore[import-not-found, unused-ignore]

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "quasar"
    from matplotlib import pyplot

    figure, (images, parts) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    names = sorted({c.program.overlay.name for c in comparisons}, key=overlay_names().index)
    for number, name in enumerate(names):
        mine = [c for c in comparisons if c.program.overlay.name == name]
        images.plot(
            [c.total for c in mine],
            [100 * c.error for c in mine],
            "os^"[number % 3],
            color=f"C{number}",
            alpha=0.7,
            label=name,
        )
    opcodes = sorted({op for c in comparisons for _, op, _, _ in c.operations})
    for number, opcode in enumerate(opcodes):
        points = [(a, b) for c in comparisons for _, op, a, b in c.operations if op == opcode]
        parts.plot(
            [a for a, _ in points],
            [100 * (b / a - 1) for a, b in points],
            ".",
            color=f"C{number}",
            alpha=0.7,
            label=opcode.name,
        )
    for axes, limit, title in (
        (images, 100 * LIMITS["image"], "whole images"),
        (parts, 100 * LIMITS["operation"], "operations above 1 % of their image"),
    ):
        axes.axhspan(-limit, limit, color="0.93")
        axes.set(xscale="log", xlabel="cycles of the RTL", ylabel="model's error, %", title=title)
        top = max(1.3 * limit, 1.1 * max(abs(y) for line in axes.lines for y in line.get_ydata()))
        axes.set_ylim(-top, top)
        axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


@click.command(cls=Verb, help=kept(__doc__), context_settings=HELP_OPTIONS)
@click.option(
    "--overlay",
    "names",
    multiple=True,
    default=("b64", "b1024", "b8192"),
    show_default=True,
    help="Overlays to compare on.",
)
@click.option(
    "--subnets",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    help="Random subnets per overlay.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the first subnet.")
@click.option("--full", is_flag=True, help="Also DeiT-Tiny's geometry, except at b64.")
@click.option("--plot", "path", type=click.Path(path_type=Path), help="Draw the errors here.")
@click.option("--rate", "rating", is_flag=True, help="Only the model's own speed.")
def main(
    names: tuple[str, ...], subnets: int, seed: int, full: bool, path: Path | None, rating: bool
) -> None:
    if rating:
        click.echo("overlay  space                first 500    then   subnets/s")
        for name in names:
            for space in sorted(path.stem for path in SPACES.glob("*.yaml")):
                first, then = rates(name, space)
                click.echo(f"{name:8} {space:20}{first:10,.0f}{then:8,.0f}")
        return
    if path:
        check_output(path)
    overlays = {name: load_overlay(name) for name in names}
    comparisons = []
    click.echo("overlay       RTL     model   error   worst operation above 1 %      subnet")
    for name, overlay in overlays.items():
        work = [subnet(overlay, seed + s) for s in range(subnets)]
        if full and overlay.macs >= 1024:
            work += [
                (f"DeiT-Tiny, all rows {bits}-bit", compile_model(deit_tiny(share), overlay))
                for bits, share in ((4, 0.0), (8, 1.0))
            ]
        for what, program in work:
            c = measure(overlay, program, what)
            comparisons.append(c)
            operation, error = c.worst
            click.echo(
                f"{name:6}{c.total:12,}{c.model.total:10,.0f}{100 * c.error:7.2f} %  "
                f"{operation:20}{100 * error:7.2f} %   {what}"
            )
    click.echo("\noverlay  images   mean   worst   operations   mean   worst   above 10 %")
    missed = 0
    for name in names:
        mine = [c for c in comparisons if c.program.overlay.name == name]
        errors = np.abs([c.error for c in mine])
        parts = np.abs([b / a - 1 for c in mine for _, _, a, b in c.operations])
        above = int((parts > LIMITS["operation"]).sum())
        missed += above + int((errors > LIMITS["image"]).sum())
        click.echo(
            f"{name:6}{len(errors):9}{100 * errors.mean():6.2f} %{100 * errors.max():6.2f} %"
            f"{len(parts):11}{100 * parts.mean():8.2f} %{100 * parts.max():6.2f} %{above:10}"
        )
    if path:
        plot(comparisons, path)
    if missed:
        raise click.ClickException(
            f"{missed} images or operations are off by more than "
            f"{100 * LIMITS['image']:.0f} % or {100 * LIMITS['operation']:.0f} %"
        )


if __name__ == "__main__":
    main()
