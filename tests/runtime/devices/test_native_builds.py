"""The engine's other builds give the reference's bytes: by each compiler, for the board's
Cortex-A53 under emulation, and under sanitizers.

Each build is made by one test, which tries everything on it, so that none is made twice.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.native.device import available_kernels
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.synthetic import random_model
from tests.runtime.devices.native_cases import image_for, random_program
from tests.runtime.devices.test_native_bytes import hand_made

FOLDER = Path(__file__).resolve().parents[3] / "quasar_runtime" / "devices" / "native"
TESTER = Path(__file__).resolve().parent / "native_kernels.c"
WARNINGS = ["-std=gnu11", "-fwrapv", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pthread"]
INCLUDES = [f"-I{FOLDER / part}" for part in ("engine", "kernels")]

APT = {
    "gcc": "gcc",
    "clang": "clang",
    "musl-gcc": "musl-tools",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "qemu-aarch64": "qemu-user",
    "setarch": "util-linux",
}
CROSS = ["-O3", "-mcpu=cortex-a53", "-static"]
QEMU = ["qemu-aarch64", "-cpu", "cortex-a53"]


def require(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt: {APT[tool]})")


@dataclass
class Build:
    """The engine as one compiler made it: the runner of programs, and the kernels' tester."""

    folder: Path
    prefix: list[str]

    def run(self, program: Program, kernels: str, threads: int) -> np.ndarray:
        """The output area after a run; asserts a clean exit."""
        program.data.tofile(self.folder / "program")
        image_for(program).tofile(self.folder / "image")
        o = program.overlay
        numbers = (threads, o.tokens, o.rows, o.depth, o.act_words, o.res_words, o.logits)
        words = [kernels, *map(str, (*numbers, program.count, program.output_bytes))]
        files = [str(self.folder / name) for name in ("program", "image", "output")]
        command = [*self.prefix, str(self.folder / "runner"), *words, *files]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return np.fromfile(self.folder / "output", np.uint8)

    def check_kernels(self) -> None:
        """Every kernel set against its scalar twins."""
        command = [*self.prefix, str(self.folder / "native_kernels")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def check_bytes(self, kernels: Iterable[str], seeds: Iterable[int]) -> None:
        """Outputs of random programs against the reference's, with one to three threads."""
        for seed in seeds:
            for make in (random_program, hand_made):
                program, expected = case(make, seed)
                for name in kernels:
                    got = self.run(program, name, 1 + seed % 3)
                    np.testing.assert_array_equal(got, expected, f"{name}, seed {seed}")


@cache
def case(make: Callable[[int], Program], seed: int) -> tuple[Program, np.ndarray]:
    """A program, and what the reference gives for its picture."""
    program = make(seed)
    return program, reference.run(program, image_for(program))


def build(folder: Path, compiler: list[str], *flags: str, prefix: Iterable[str] = ()) -> Build:
    """Compile the engine's sources once, warnings being errors, and link both programs."""
    sources = [p for p in sorted(FOLDER.glob("*/*.c")) if p.name != "runner.c"]
    mains = [FOLDER / "engine" / "runner.c", TESTER]
    command = [*compiler, *WARNINGS, *flags]

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        subprocess.run([*command, *INCLUDES, "-c", source, "-o", target], check=True)
        return target

    objects = [compile_one(source) for source in sources]
    for main in mains:
        target = folder / main.stem
        subprocess.run([*command, *objects, compile_one(main), "-o", target], check=True)
    return Build(folder, list(prefix))


def cannot_link(folder: Path, compiler: str, flag: str) -> bool:
    """Whether the compiler lacks what `flag` needs at link time, such as a sanitizer's library."""
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    command = [compiler, flag, str(folder / "empty.c"), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True).returncode != 0


@pytest.mark.parametrize(("compiler", "flags", "seeds"), [
    ("gcc", ["-O3"], range(8)),
    ("clang", ["-O3"], range(24)),
    ("musl-gcc", ["-O1", "-static"], range(2)),
])  # fmt: skip
def test_every_compiler_gives_the_references_bytes(tmp_path, compiler, flags, seeds) -> None:
    require(compiler)
    built = build(tmp_path, [compiler], *flags)
    built.check_kernels()
    built.check_bytes(available_kernels(), seeds)


def small_tiny() -> Program:
    """DeiT-Tiny's widths and tokens, one block."""
    model = random_model(7, image_size=224, width=192, heads=[3], mlp=[768], classes=1000)
    return compile_model(model, load_overlay("b8192"), trace=True)


def test_cortex_a53_gives_the_references_bytes(tmp_path: Path) -> None:
    require("aarch64-linux-gnu-gcc", "qemu-aarch64")
    built = build(tmp_path, ["aarch64-linux-gnu-gcc"], *CROSS, prefix=QEMU)
    built.check_kernels()
    built.check_bytes(["neon", "scalar"], range(100, 106))
    program = small_tiny()
    expected = reference.run(program, image_for(program))
    np.testing.assert_array_equal(built.run(program, "neon", 2), expected)


def test_cortex_a53_by_clang(tmp_path: Path) -> None:
    require("clang", "aarch64-linux-gnu-gcc", "qemu-aarch64")
    clang = ["clang", "--target=aarch64-linux-gnu"]
    built = build(tmp_path, clang, *CROSS, prefix=QEMU)
    built.check_kernels()
    built.check_bytes(["neon", "scalar"], range(100, 102))


def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """Address and undefined-behaviour sanitizers, assertions on; areas are exactly as large as
    the job says."""
    require("gcc")
    if cannot_link(tmp_path, "gcc", "-fsanitize=address,undefined"):
        pytest.skip("gcc with AddressSanitizer is not installed")
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    built = build(tmp_path, ["gcc"], *flags)
    built.check_bytes(available_kernels(), range(200, 204))


def test_the_pools_threads_do_not_race(tmp_path: Path) -> None:
    """ThreadSanitizer, with more threads than some operations have items."""
    require("gcc", "setarch")
    if cannot_link(tmp_path, "gcc", "-fsanitize=thread"):
        pytest.skip("gcc with ThreadSanitizer is not installed")
    # Where addresses are too random for it, this ThreadSanitizer does not start.
    built = build(tmp_path, ["gcc"], "-O1", "-g", "-fsanitize=thread", prefix=["setarch", "-R"])
    program, expected = case(random_program, 5)
    for kernels in available_kernels():
        for threads in (2, 4):
            np.testing.assert_array_equal(built.run(program, kernels, threads), expected, kernels)
