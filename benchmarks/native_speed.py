"""Speed of the native device: images per second, time of each operation, share of the peak.

    python benchmarks/native_speed.py                       DeiT-Tiny's geometry, all kernel sets
    python benchmarks/native_speed.py --geometry small --kernels amx --threads 1
    python benchmarks/native_speed.py --model q-vit-160fps  a model of the zoo

Geometries have random weights: the engine's speed does not depend on values. Settings take turns
of a few images, the first of each not counted, so that other work on the machine hits all alike
and each finds its own data in the caches. The peak is that of one core, measured with the kernel
set's dot products on registers alone. For sets beyond vpdpbusd, the share of vpdpbusd's peak
stands beside it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

import click
import numpy as np
from helptext import kept

from quasar_runtime.cli.verb import HELP_OPTIONS, Verb
from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.native.device import NativeDevice, available_kernels, peak_macs
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model

COUNT = click.IntRange(min=1)
GEOMETRIES = {"tiny": 3, "small": 6, "base": 12}
"""Heads of the DeiT models; width is 64 per head, MLP 256 per head, 12 blocks."""

TURN = 8
"""Images of a setting before it is another's turn."""


@dataclass
class Setting:
    """A kernel set with a number of threads, and what was measured of it."""

    device: NativeDevice
    job: Job
    seconds: list[float] = field(default_factory=list)
    profiles: list[np.ndarray] = field(default_factory=list)

    def turn(self) -> None:
        """TURN images after one to warm up."""
        self.run()
        del self.seconds[-1], self.profiles[-1]
        for _ in range(TURN):
            self.run()

    def run(self) -> None:
        begin = time.perf_counter()
        self.device.submit(self.job)
        self.device.wait(60)
        self.seconds.append(time.perf_counter() - begin)
        profile = self.device._memories[-1].array.view(hw.PROFILE_DTYPE)
        self.profiles.append((profile["end"] - profile["begin"]).astype(np.float64))


def geometry(name: str, share8: float) -> Model:
    heads = GEOMETRIES[name]
    return random_model(
        0,
        image_size=224,
        width=64 * heads,
        heads=[heads] * 12,
        mlp=[256 * heads] * 12,
        classes=1000,
        share8=share8,
    )


def macs(program: Program) -> np.ndarray:
    """Multiply-accumulates of each descriptor, whatever the rows' precision."""
    d = program.descriptors
    linear = d["tokens"].astype(np.int64) * d["inputs"] * d["outputs"]
    attention = 2 * d["tokens"].astype(np.int64) * d["keys"] * d["heads"] * hw.HEAD_DIM
    return np.where(
        d["opcode"] == hw.Opcode.LINEAR,
        linear,
        np.where(d["opcode"] == hw.Opcode.ATTENTION, attention, 0),
    )


def open_setting(program: Program, kernels: str, threads: int) -> Setting:
    device = NativeDevice(program.overlay, threads=threads, kernels=kernels)
    sizes = (program.data.size, program.image_bytes, program.output_bytes, program.profile_bytes)
    memories = [device.allocate(size) for size in sizes]
    memories[0].array[:] = program.data
    memories[1].array[:] = np.random.default_rng(0).integers(0, 256, sizes[1])
    job = Job.of(program.count, *memories)
    device.load(job.program, job.program_bytes, job.count)
    return Setting(device, job)


def kind(name: str) -> str:
    """'blocks.3.fc1' -> 'fc1', so that blocks add up."""
    return name.split(".")[-1].rstrip("12" if "norm" in name else "")


def operations(program: Program, setting: Setting) -> None:
    """The table of operations, with medians of the profile."""
    seconds, work = defaultdict[str, float](float), defaultdict[str, int](int)
    profile = np.median(np.array(setting.profiles), axis=0) * 1e-9
    for name, t, n in zip(program.names, profile, macs(program), strict=True):
        seconds[kind(name)] += t
        work[kind(name)] += int(n)
    total = sum(seconds.values())
    for name, t in sorted(seconds.items(), key=lambda item: -item[1]):
        rate = f"{work[name] / t / 1e9:7.0f} GMAC/s" if work[name] else ""
        click.echo(f"    {name:<10} {t * 1e6:8.0f} us {100 * t / total:5.1f} %  {rate}")


@click.command(cls=Verb, help=kept(__doc__), context_settings=HELP_OPTIONS)
@click.option(
    "--geometry",
    "shape",
    type=click.Choice(list(GEOMETRIES)),
    default="tiny",
    show_default=True,
    help="A DeiT geometry.",
)
@click.option("--model", help="A model of the zoo, or a file, instead of a geometry.")
@click.option(
    "--share8",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of 8-bit rows.",
)
@click.option("--overlay", default="b8192", show_default=True, help="To compile for.")
@click.option("--kernels", multiple=True, help="Kernel sets; by default all but scalar.")
@click.option(
    "--threads",
    multiple=True,
    type=COUNT,
    default=(1, 2),
    show_default=True,
    help="Threads to measure with.",
)
@click.option(
    "--rounds", type=COUNT, default=8, show_default=True, help="Turns of 8 images per setting."
)
@click.option("--table/--no-table", default=True, help="Show what each operation takes.")
def main(
    shape: str,
    model: str | None,
    share8: float,
    overlay: str,
    kernels: tuple[str, ...],
    threads: tuple[int, ...],
    rounds: int,
    table: bool,
) -> None:
    if model:
        from quasar_runtime.model.zoo import load_model

        net = load_model(model)
    else:
        net = geometry(shape, share8)
    program = compile_model(net, load_overlay(overlay))
    total = int(macs(program).sum())
    sets = kernels or tuple(k for k in available_kernels() if k != "scalar")
    settings = {(k, t): open_setting(program, k, t) for k in sets for t in threads}
    for _ in range(rounds):
        for setting in settings.values():
            setting.turn()
    vpdpbusd = peak_macs("avx512vnni")
    click.echo(f"{model or 'DeiT-' + shape}: {total / 1e9:.3f} GMAC per image")
    for (name, count), setting in settings.items():
        middle, best = np.median(setting.seconds), min(setting.seconds)
        peak = peak_macs(name)
        shares = f"{100 * total / middle / peak / count:.0f} % of its peak" if peak else ""
        if vpdpbusd:
            shares += f", {100 * total / middle / vpdpbusd / count:.0f} % of vpdpbusd's"
        click.echo(
            f"{name} {count} thread{'s'[: count > 1]}: median {1 / middle:.1f} images/s "
            f"(best {1 / best:.1f}), {total / middle / 1e9:.0f} GMAC/s, {shares}"
        )
        if table:
            operations(program, setting)
        setting.device.close()


if __name__ == "__main__":
    main()
