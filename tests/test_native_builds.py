"""The engine's other builds: for the board's Cortex-A53 under emulation, and under sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native_cases import image_for, random_program
from test_native_bytes import hand_made

from quasar_runtime import reference
from quasar_runtime.compiler import compile_model
from quasar_runtime.device.native import available_kernels
from quasar_runtime.model import random_model
from quasar_runtime.overlay import load_overlay
from quasar_runtime.program import Program

FOLDER = Path(__file__).resolve().parent.parent / "quasar_runtime" / "native"
WARNINGS = ["-std=gnu11", "-fwrapv", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
Runner = Callable[[Program, str, int], np.ndarray]


TESTER = Path(__file__).resolve().parent / "native_kernels.c"


def build(folder: Path, compiler: str, *flags: str, main: Path = FOLDER / "runner.c") -> Path:
    """A program from the engine's C sources and the file with its main, warnings being errors."""
    leave_out = ("_engine.c", "runner.c")
    sources = [str(p) for p in sorted(FOLDER.glob("*.c")) if p.name not in leave_out]
    sources += [str(main), f"-I{FOLDER}"]
    target = folder / main.stem
    subprocess.run([compiler, *WARNINGS, *flags, "-pthread", *sources, "-o", target], check=True)
    return target


def runner(folder: Path, command: list[str]) -> Runner:
    """A function that runs a program through files; asserts a clean exit."""

    def run(program: Program, kernels: str, threads: int) -> np.ndarray:
        program.data.tofile(folder / "program")
        image_for(program).tofile(folder / "image")
        o = program.overlay
        numbers = (threads, o.tokens, o.rows, o.depth, o.act_words, o.res_words, o.logits)
        words = [kernels, *map(str, (*numbers, program.count, program.output_bytes))]
        files = [str(folder / name) for name in ("program", "image", "output")]
        done = subprocess.run([*command, *words, *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return np.fromfile(folder / "output", np.uint8)

    return run


@pytest.fixture(scope="module")
def cortex_a53(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    for tool, package in (
        ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        ("qemu-aarch64", "qemu-user"),
    ):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt: {package})")
    folder = tmp_path_factory.mktemp("cortex-a53")
    binary = build(folder, "aarch64-linux-gnu-gcc", "-O3", "-mcpu=cortex-a53", "-static")
    return runner(folder, ["qemu-aarch64", "-cpu", "cortex-a53", str(binary)])


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("sanitized")
    try:
        binary = build(folder, "gcc", "-O1", "-g", "-fsanitize=address,undefined",
                       "-fno-sanitize-recover=all")  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("gcc with AddressSanitizer is not installed")
    return runner(folder, [str(binary)])


def test_kernels_agree_with_their_scalar_twins_where_rounding_decides(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    tester = build(tmp_path, "gcc", "-O2", main=TESTER)
    done = subprocess.run([tester], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_neon_kernels_agree_with_their_scalar_twins(cortex_a53: Runner, tmp_path: Path) -> None:
    tester = build(
        tmp_path, "aarch64-linux-gnu-gcc", "-O3", "-mcpu=cortex-a53", "-static", main=TESTER
    )
    command = ["qemu-aarch64", "-cpu", "cortex-a53", tester]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def small_tiny() -> Program:
    """DeiT-Tiny's widths and tokens, one block."""
    model = random_model(7, image_size=224, width=192, heads=[3], mlp=[768], classes=1000)
    return compile_model(model, load_overlay("b8192"), trace=True)


@pytest.mark.parametrize("kernels", ["neon", "scalar"])
@pytest.mark.parametrize("seed", range(6))
def test_cortex_a53_gives_the_references_bytes(cortex_a53: Runner, kernels: str, seed: int) -> None:
    for program in (random_program(100 + seed), hand_made(100 + seed)):
        expected = reference.run(program, image_for(program))
        np.testing.assert_array_equal(cortex_a53(program, kernels, 1 + seed % 3), expected)


def test_cortex_a53_at_full_size(cortex_a53: Runner) -> None:
    program = small_tiny()
    expected = reference.run(program, image_for(program))
    np.testing.assert_array_equal(cortex_a53(program, "neon", 2), expected)


@pytest.mark.parametrize("kernels", available_kernels())
@pytest.mark.parametrize("seed", range(4))
def test_sanitizers_find_nothing(sanitized: Runner, kernels: str, seed: int) -> None:
    """Address and undefined-behaviour sanitizers, assertions on; areas are exactly as large as
    the job says."""
    for program in (random_program(200 + seed), hand_made(200 + seed)):
        expected = reference.run(program, image_for(program))
        np.testing.assert_array_equal(sanitized(program, kernels, 1 + seed % 3), expected)
