"""Cycles of whole images on the simulated RTL, and what takes them.

    python benchmarks/rtl_cycles.py                               DeiT-Tiny, 4-bit and 8-bit, b1024
    python benchmarks/rtl_cycles.py deit-tiny:4 --overlay b8192
    python benchmarks/rtl_cycles.py q-vit-160fps --overlay b1024  a model of the zoo
    python benchmarks/rtl_cycles.py deit-tiny:4 --timeline docs/timeline.svg

A model is a name of the zoo, a model file, or a geometry with random weights: deit-tiny, deit-small
or vit-2.25g (2.25 GMAC: 256 wide, 4 heads, MLP 1,120, 12 blocks) with :4 (all rows of the blocks
4-bit), :8 (8-bit) or :half. Every image's logits are compared with the reference. Cycles are those
of the CYCLES register, START to interrupt.

Utilisation = required 4-bit MACs / peak. An 8-bit MAC counts as two; the peak is TOKENS * ROWS *
DEPTH per cycle. The other cycles, which the table sums by cause:

    padding             array cycles on tokens of a tile that do not exist (CLS alone is one of
                        TOKENS), on missing rows of the last group, on attention's keys rounded up
    epilogue            groups whose results leave more slowly than the next tile is computed
    linear, layernorm   other cycles of LINEAR and LAYERNORM, which overlap
    one token           the same for operations on CLS alone, where a group is one tile: waiting
                        for weights, row parameters and results, group by group
    attention           ATTENTION without array cycles: first K and V, softmax, drain
    load                whole operations; LOAD_IMAGE and LOAD_RESIDUAL overlap
    store, end, gaps    STORE, END's wait for all writes, and the cycles between operations

An operation's cycles begin at the end of the one before, or at its own begin if that is later. So a
LINEAR that overlaps the LAYERNORM before it has fewer cycles than its array needs.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from helptext import kept

from quasar_runtime.cli.verb import HELP_OPTIONS, Verb
from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.devices.rtl.device import RtlDevice
from quasar_runtime.files import check_output
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Opcode
from quasar_runtime.isa.overlay import Overlay, load_overlay
from quasar_runtime.isa.program import Program, digit_groups
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model

GEOMETRIES = {"deit-tiny": (3, 768), "deit-small": (6, 1536), "vit-2.25g": (4, 1120)}
"""Heads and MLP width; width is 64 per head, 12 blocks."""
SHARES = {"4": 0.0, "8": 1.0, "half": 0.5}
CAUSES = (
    "useful",
    "padding",
    "epilogue",
    "linear, layernorm",
    "one token",
    "attention",
    "load",
    "store, end, gaps",
)


@dataclass(frozen=True)
class Operation:
    """A descriptor's run: begin and end in cycles since START, array cycles, useful 4-bit MACs."""

    name: str
    kind: str
    begin: int
    end: int
    array: int
    macs: int

    @property
    def cycles(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class Run:
    """An image: its cycles, its operations, and where the cycles went (CAUSES, fractional)."""

    model: str
    overlay: Overlay
    memory: str
    equal: bool
    cycles: int
    seconds: float
    bytes_moved: list[int]
    operations: list[Operation]
    causes: dict[str, float]

    @property
    def fps(self) -> float:
        return self.overlay.clock_mhz * 1e6 / self.cycles

    @property
    def useful(self) -> float:
        return self.causes["useful"] / self.cycles


def load(name: str) -> Model:
    """A zoo model, or a geometry such as 'deit-tiny:4'."""
    shape, _, bits = name.partition(":")
    if bits:
        if shape not in GEOMETRIES or bits not in SHARES:
            known = f"{', '.join(GEOMETRIES)} with {', '.join(f':{b}' for b in SHARES)}"
            raise click.BadParameter(f"{name}: geometries are {known}")
        heads, mlp = GEOMETRIES[shape]
        return random_model(
            0,
            image_size=224,
            width=64 * heads,
            heads=[heads] * 12,
            mlp=[mlp] * 12,
            classes=1000,
            share8=SHARES[bits],
        )
    from quasar_runtime.model.zoo import load_model

    return load_model(name)


def kind(name: str) -> str:
    """'blocks.3.fc1' -> 'fc1', so that blocks add up."""
    last = name.split(".")[-1]
    return "norm" if last.startswith("norm") else last


def lanes(overlay: Overlay) -> int:
    """Digit rows per cycle through the epilogue: datapath.sv's LANES."""
    return overlay.depth // 4


def epilogue_cycles(program: Program, d: np.void) -> int:
    """Array cycles that a LINEAR waits for its epilogue: tiles of a group begin no faster than the
    group's results leave (row_parameters.sv: a slot of LANES digit rows takes a cycle, or LANES
    when two of its rows go to the same memory column). For LINEARs on more than one token."""
    o, outputs, rows8 = program.overlay, int(d["outputs"]), int(d["rows8"])
    first = int(d["parameters"])
    rows = program.data[first : first + outputs * hw.ROW_BYTES].view(hw.ROW_DTYPE)
    digit = np.concatenate([2 * np.arange(rows8), 2 * rows8 + np.arange(outputs - rows8)])
    slots: dict[int, list[int]] = defaultdict(list)
    for slot, column in zip(digit // lanes(o), rows["channel"] % o.depth, strict=True):
        slots[int(slot)].append(int(column))
    cost: dict[int, int] = defaultdict(int)
    for slot, columns in slots.items():
        slow = len(set(columns)) < len(columns)
        cost[slot * lanes(o) // o.rows] += lanes(o) if slow else 1
    steps = int(d["inputs"]) // o.depth
    return -(-int(d["tokens"]) // o.tokens) * sum(max(0, c - steps) for c in cost.values())


def array_cycles(d: np.void, overlay: Overlay) -> int:
    """Cycles in which an operation feeds the array."""
    o = overlay
    tiles = -(-int(d["tokens"]) // o.tokens)
    if d["opcode"] == Opcode.LINEAR:
        groups = digit_groups(int(d["outputs"]), int(d["rows8"]), o.rows)
        return groups * tiles * (int(d["inputs"]) // o.depth)
    if d["opcode"] == Opcode.ATTENTION:
        scores = -(-int(d["keys"]) * 2 // o.rows) * (hw.HEAD_DIM // o.depth)
        values = 2 * hw.HEAD_DIM // o.rows * -(-int(d["keys"]) // o.depth)
        return int(d["heads"]) * tiles * (scores + values)
    return 0


def attribute(program: Program, operations: list[Operation], cycles: int) -> dict[str, float]:
    """Where the cycles went, by CAUSES; they add up to `cycles`."""
    causes = dict.fromkeys(CAUSES, 0.0)
    peak = program.overlay.macs
    rest = pace = 0.0  # of LINEAR and LAYERNORM; what of it the epilogue takes at most
    loads: list[tuple[int, int]] = []
    for o, d in zip(operations, program.descriptors, strict=True):
        opcode = Opcode(int(d["opcode"]))
        causes["useful"] += o.macs / peak
        causes["padding"] += o.array - o.macs / peak
        if opcode in (Opcode.LINEAR, Opcode.LAYERNORM) and d["tokens"] == 1:
            causes["one token"] += o.cycles - o.array
        elif opcode in (Opcode.LINEAR, Opcode.LAYERNORM):
            rest += o.cycles - o.array
            pace += epilogue_cycles(program, d) if opcode == Opcode.LINEAR else 0
        elif opcode == Opcode.ATTENTION:
            causes["attention"] += o.cycles - o.array
        elif opcode in (Opcode.LOAD_IMAGE, Opcode.LOAD_RESIDUAL):
            loads.append((o.begin, o.end))
    causes["epilogue"] = min(pace, rest)
    causes["linear, layernorm"] = rest - causes["epilogue"]
    reached = 0
    for begin, end in sorted(loads):
        causes["load"] += max(0, end - max(begin, reached))
        reached = max(reached, end)
    causes["store, end, gaps"] = cycles - sum(causes.values())
    return causes


def simulate(name: str, overlay: Overlay) -> Run:
    """One image of random bytes through the RTL, compared with the reference."""
    program = compile_model(load(name), overlay)
    side = program.image_size
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    with RtlDevice(overlay) as device:
        sizes = (program.data.size, image.size, program.output_bytes, program.profile_bytes)
        memories = [device.allocate(size) for size in sizes]
        memories[0].array[:] = program.data
        memories[1].array[:] = image.reshape(-1)
        begin = time.perf_counter()
        device.submit(Job.of(program.count, *memories))
        device.wait(3600)
        seconds = time.perf_counter() - begin
        cycles, moved, memory = device.cycles, device.bytes_moved(), device.describe()["memory"]
        logits = program.classes * 4
        expected = reference.run(program, image)[:logits]
        equal = np.array_equal(memories[2].array[:logits], expected)
        profile = memories[3].array.view(hw.PROFILE_DTYPE)
        operations = [
            Operation(n, kind(n), int(p["begin"]), int(p["end"]), array_cycles(d, overlay), macs)
            for n, p, d, macs in zip(
                program.names, profile, program.descriptors, program.macs, strict=True
            )
        ]
    causes = attribute(program, operations, cycles)
    return Run(name, overlay, memory, equal, cycles, seconds, moved, operations, causes)


def whole(values: dict[str, float]) -> dict[str, int]:
    """Rounded so that they add up to the rounded sum."""
    ends = np.round(np.cumsum(list(values.values()))).astype(int)
    return dict(zip(values, np.diff(ends, prepend=0).tolist(), strict=True))


def report(run: Run) -> None:
    o, read = run.overlay, sum(run.bytes_moved[:-1])
    click.echo(
        f"{run.model} on {o.name} ({o.tokens} x {o.rows} x {o.depth}) at {o.clock_mhz} MHz, "
        f"memory {run.memory}: {run.cycles:,} cycles, {run.fps:.1f} FPS, "
        f"{100 * run.useful:.1f} % useful"
    )
    click.echo(
        f"  logits {'equal the reference' if run.equal else 'DIFFER FROM THE REFERENCE'}; "
        f"{read:,} bytes read, {read * o.clock_mhz / run.cycles / 1e3:.2f} GB/s; "
        f"simulated in {run.seconds:.1f} s, {run.cycles / run.seconds / 1e3:.0f} kcycles/s"
    )
    click.echo(f"\n  {'operation':<18}{'count':>6}{'cycles':>11}{'share':>8}{'array':>11}")
    kinds: dict[str, list[Operation]] = defaultdict(list)
    for operation in run.operations:
        kinds[operation.kind].append(operation)
    for name, group in sorted(kinds.items(), key=lambda k: -sum(x.cycles for x in k[1])):
        cycles, array = sum(x.cycles for x in group), sum(x.array for x in group)
        share = f"{100 * cycles / run.cycles:.1f} %"
        fed = f"{array:,}" if array else ""
        click.echo(f"  {name:<18}{len(group):>6}{cycles:>11,}{share:>8}{fed:>11}")
    click.echo(f"\n  {'where the cycles go':<24}{'cycles':>11}{'share':>8}")
    for name, cycles in whole(run.causes).items():
        click.echo(f"  {name:<24}{cycles:>11,}{100 * cycles / run.cycles:>6.1f} %")
    click.echo(f"  {'in all':<24}{run.cycles:>11,}{100:>6.1f} %\n")


def as_dict(run: Run) -> dict[str, object]:
    return {
        "model": run.model,
        "overlay": run.overlay.name,
        "clock_mhz": run.overlay.clock_mhz,
        "memory": run.memory,
        "equal": run.equal,
        "cycles": run.cycles,
        "fps": round(run.fps, 2),
        "useful": round(run.useful, 4),
        "bytes_moved": run.bytes_moved,
        "simulation_s": round(run.seconds, 2),
        "causes": whole(run.causes),
        "operations": [asdict(o) for o in run.operations],
    }


@click.command(cls=Verb, help=kept(__doc__), context_settings=HELP_OPTIONS)
@click.argument("models", nargs=-1)
@click.option(
    "--overlay",
    "overlays",
    multiple=True,
    default=("b1024",),
    show_default=True,
    help="To simulate.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every operation as JSON.")
@click.option(
    "--timeline", type=click.Path(path_type=Path), help="Draw the last run as SVG to this file."
)
def main(
    models: tuple[str, ...], overlays: tuple[str, ...], as_json: bool, timeline: Path | None
) -> None:
    if timeline:
        check_output(timeline)
    runs = []
    for overlay in overlays:
        for model in models or ("deit-tiny:4", "deit-tiny:8"):
            runs.append(simulate(model, load_overlay(overlay)))
            if not as_json:
                report(runs[-1])
    if as_json:
        click.echo(json.dumps([as_dict(run) for run in runs], indent=2))
    if timeline:
        from timeline import draw

        timeline.write_text(draw(as_dict(runs[-1])), encoding="utf-8")
    sys.exit(not all(run.equal for run in runs))


if __name__ == "__main__":
    main()
