"""The `datapath` module under Verilator: build it for an overlay and run programs on it.

    python -m hw_src.sim.datapath_bench b1024 --deit-tiny 4

prints the cycles of each operation beside the array's ideal (useful 4-bit MACs / array size).
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_src.sim.bench_build import library
from quasar_runtime.isa.interface import Opcode
from quasar_runtime.isa.overlay import Overlay, load_overlay
from quasar_runtime.isa.program import Program

STATUS = ("done", "fault", "cycle limit reached", "no END", "parameters or weights left over")


class Settings(ctypes.Structure):
    """The bench's settings as its C interface takes them (`datapath_bench.cpp`)."""

    _fields_ = [
        (name, ctypes.c_uint32)
        for name in [
            "tokens",
            "rows",
            "depth",
            "seed",
            "gap_percent",
            "latency",
            "weight_bytes",
            "limit",
        ]
    ]


class Result(ctypes.Structure):
    """How a run ended, as the bench's C interface returns it."""

    _fields_ = [
        ("status", ctypes.c_int32),
        ("descriptor", ctypes.c_int32),
        ("cause", ctypes.c_int32),
        ("address", ctypes.c_uint32),
    ]


@dataclass(frozen=True)
class Run:
    """What a program did: its output, cycles of each descriptor, and how it ended."""

    output: npt.NDArray[np.uint8]
    cycles: npt.NDArray[np.uint64]
    status: str
    descriptor: int
    cause: int
    address: int


def build(overlay: Overlay, *, structural: bool = False) -> ctypes.CDLL:
    """The datapath's bench for an overlay.

    structural=True simulates the packed multipliers instead of their plain twins.
    """
    parameters = {
        "TOKENS": overlay.tokens,
        "ROWS": overlay.rows,
        "DEPTH": overlay.depth,
        "ACT_WORDS": overlay.act_words,
        "RES_WORDS": overlay.res_words,
        "LOGITS": overlay.logits,
    }
    return _library("datapath", parameters, structural)


def _library(top: str, parameters: dict[str, int], structural: bool = False) -> ctypes.CDLL:
    defines = ("QUASAR_STRUCTURAL",) if structural else ()
    return library(top, f"{top}_bench.cpp", tuple(parameters.items()), defines, "-O2")


def dot_exhaustive(
    top: str, latency: int, bias: int = 0, *, seed: int, primitive: bool = False
) -> tuple[int, int]:
    """(cases, wrong sums) of a cascade of packed multipliers: all inputs of each of them.

    top      packed_dot, or an arrangement of hw_src/synth/arrangements
    latency  cycles from unskewed operands to sums
    bias     how much each sum has more
    """
    defines = ("QUASAR_PRIMITIVE",) if primitive else ()
    bench = library(top, "dot_bench.cpp", defines=defines, optimise="-O2")
    bench.dot_cases.restype = bench.dot_exhaustive.restype = ctypes.c_uint64
    cases: int = bench.dot_cases()
    wrong: int = bench.dot_exhaustive(ctypes.c_uint64(cases), latency, bias, seed)
    return cases, wrong


def dsp_outputs(inputs: int, addend: int, count: int, *, primitive: bool) -> npt.NDArray[np.uint64]:
    """P and PCOUT of each cycle, of the behaviour in dsp.sv or of the primitive's model."""
    defines = ("QUASAR_PRIMITIVE",) if primitive else ()
    bench = library("dsp", "dsp_bench.cpp", (("INPUTS", inputs), ("ADDEND", addend)), defines)
    out = np.zeros((count, 2), np.uint64)
    bench.dsp_outputs(inputs + 3 * addend, ctypes.c_uint64(count), ctypes.c_void_p(out.ctypes.data))
    return out


def array_random(depth: int, seed: int, count: int, *, structural: bool) -> int:
    """Wrong sums of an array in `count` random and extreme vectors."""
    bench = _library("array", {"TOKENS": 2, "ROWS": 2, "DEPTH": depth}, structural)
    bench.array_random.restype = ctypes.c_uint64
    latency = 8 + ((depth // 4 - 1).bit_length() + 1) // 2
    wrong: int = bench.array_random(depth, latency, seed, ctypes.c_uint64(count))
    return wrong


class Bench:
    """A simulated datapath. gap_percent throttles every stream, latency delays parameters."""

    def __init__(
        self,
        overlay: Overlay,
        *,
        seed: int = 0,
        gap_percent: int = 0,
        latency: int = 4,
        weight_bytes: int = 0,
        limit: int = 2_000_000,
        structural: bool = False,
    ) -> None:
        self.library = build(overlay, structural=structural)
        self.library.bench_create.restype = ctypes.c_void_p
        settings = Settings(
            overlay.tokens,
            overlay.rows,
            overlay.depth,
            seed,
            gap_percent,
            latency,
            weight_bytes,
            limit,
        )
        self.handle = ctypes.c_void_p(self.library.bench_create(ctypes.byref(settings)))

    def run(self, program: Program, image: npt.NDArray[np.uint8]) -> Run:
        """Run a program; `image` is its uint8 input as the IMAGE area holds it."""
        output = np.zeros(program.output_bytes, np.uint8)
        cycles = np.zeros(program.count, np.uint64)
        result = Result()
        pixels = np.ascontiguousarray(image)
        self.library.bench_run(
            self.handle,
            program.data.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_uint32(program.count),
            pixels.ctypes.data_as(ctypes.c_void_p),
            output.ctypes.data_as(ctypes.c_void_p),
            cycles.ctypes.data_as(ctypes.c_void_p),
            ctypes.byref(result),
        )
        return Run(
            output,
            cycles,
            STATUS[result.status],
            result.descriptor,
            result.cause,
            result.address,
        )

    def reset(self) -> None:
        """Reset the datapath between two runs."""
        self.library.bench_reset(self.handle)

    def close(self) -> None:
        """Free the model."""
        self.library.bench_destroy(self.handle)


def report(program: Program, cycles: npt.NDArray[np.uint64]) -> str:
    """Cycles of each LINEAR, LAYERNORM and ATTENTION, the ideal, and their sums."""
    shown = (Opcode.LINEAR, Opcode.LAYERNORM, Opcode.ATTENTION)
    lines = [f"{'operation':<22}{'cycles':>10}{'ideal':>10}{'useful':>9}"]
    total, ideal = 0, 0.0
    for name, d, macs, count in zip(
        program.names, program.descriptors, program.macs, cycles.tolist(), strict=True
    ):
        if int(d["opcode"]) not in shown:
            continue
        best = macs / program.overlay.macs
        total, ideal = total + count, ideal + best
        lines.append(f"{name:<22}{count:>10}{best:>10.0f}{best / max(count, 1):>9.1%}")
    lines.append(f"{'all':<22}{total:>10}{ideal:>10.0f}{ideal / max(total, 1):>9.1%}")
    return "\n".join(lines)


def main() -> None:
    """Run a network on the datapath alone and exit with 0 if its bytes equal the reference's."""
    from quasar_runtime.compiler.compile import compile_model
    from quasar_runtime.devices.reference import executor as reference
    from quasar_runtime.model.synthetic import random_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overlay")
    parser.add_argument("--deit-tiny", type=int, choices=(4, 8), help="bits of every row")
    parser.add_argument("--blocks", type=int, default=2, help="blocks simulated")
    parser.add_argument("--weight-bytes", type=int, default=0, help="weight bytes per cycle")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gap-percent", type=int, default=0)
    parser.add_argument("--structural", action="store_true")
    a = parser.parse_args()
    overlay = load_overlay(a.overlay)
    if a.deit_tiny:
        share = 1.0 if a.deit_tiny == 8 else 0.0
        model = random_model(
            a.seed,
            image_size=224,
            width=192,
            heads=[3] * a.blocks,
            mlp=[768] * a.blocks,
            share8=share,
            classes=1000,
        )
    else:
        model = random_model(a.seed)
    program = compile_model(model, overlay, trace=not a.deit_tiny)
    rng = np.random.default_rng(a.seed)
    image = rng.integers(0, 256, (program.image_size, program.image_size, 3)).astype(np.uint8)
    bench = Bench(
        overlay,
        seed=a.seed,
        gap_percent=a.gap_percent,
        weight_bytes=a.weight_bytes,
        structural=a.structural,
    )
    got = bench.run(program, image)
    wanted = reference.run(program, image)
    print(report(program, got.cycles))
    print(f"{got.status} at {program.names[got.descriptor]}; cause {got.cause}")
    for name, trace in program.traces.items():
        size = trace.shape[0] * trace.shape[1] * np.dtype(trace.dtype).itemsize
        at = slice(trace.offset, trace.offset + size)
        wrong = int((got.output[at] != wanted[at]).sum())
        if wrong:
            print(f"{name}: {wrong} of {size} bytes differ")
            break
    same = np.array_equal(got.output, wanted)
    print("bytes equal the reference's" if same else "BYTES DIFFER")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
