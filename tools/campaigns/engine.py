"""Mutated programs for the C engine: refused, or run without touching a byte outside their areas.

python -m tools.campaigns.engine --minutes 60

libFuzzer (Clang) guides the mutations by coverage, with AddressSanitizer and
UndefinedBehaviorSanitizer watching; tools/campaigns/engine_checker/harness.c says what an input is.
The corpus grows in the campaign's folder and is gone on with.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import click
import numpy as np

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.errors import CompileError, DataError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.synthetic import random_model
from tools.campaigns import ROOT
from tools.campaigns.campaign import Bounds, Campaign, Finding, campaign_options

NATIVE = ROOT / "quasar_runtime" / "devices" / "native"
HARNESS = ROOT / "tools" / "campaigns" / "engine_checker" / "harness.c"
INCLUDES = [f"-I{NATIVE / part}" for part in ("engine", "kernels")]
LEFT_OUT = ("runner.c", "engine.c")  # the harness includes engine.c
FLAGS = ("-std=gnu11", "-fwrapv", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pthread",
         "-O2", "-g", "-fno-sanitize-recover=all")  # fmt: skip
SANITIZERS = "-fsanitize=fuzzer,address,undefined"
SLICE = 60
"""Seconds of a call of the fuzzer, after which the state is saved."""
PATIENCE = 20
"""Seconds that one input may take: an ordinary one takes a few milliseconds."""
MOST_BYTES = 65536
"""Of an input."""
SEEDS = 24
OVERLAYS = (
    (1, 2, 8, 8192, 4096, 16), (2, 4, 8, 4096, 2048, 1024), (4, 16, 16, 300, 200, 100),
    (8, 64, 32, 64, 40, 1000), (16, 128, 32, 40, 33, 7), (4, 16, 16, 1024, 700, 4096),
    (1, 1, 16, 9000, 9000, 1), (16, 2, 8, 257, 256, 64),
)  # fmt: skip
"""Tokens, rows, depth, ACT and RES words, logits: as the harness has them."""
HEADER = struct.Struct("<8B4I")


def seed_input(program: Program, overlay: int, kernels: int, size: int) -> bytes:
    """An input that runs a program on all of its areas; of its bytes the first `size` are given,
    the others are zero."""
    count = program.count
    sizes = (program.data.size, program.image_bytes, program.output_bytes, program.profile_bytes)
    header = HEADER.pack(overlay, kernels, kernels, count >> 8, count & 255, 1, 0, 0, *sizes)
    return header + program.data[:size].tobytes()


def seeds() -> dict[str, bytes]:
    """Compiled small models on those of the harness's overlays that take them, whole and with
    zeros for weights."""
    inputs = {}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        depth = int(rng.integers(1, 3))
        model = random_model(
            seed,
            image_size=16 * int(rng.integers(1, 4)),
            width=32 * int(rng.integers(1, 3)),
            heads=[int(h) for h in rng.integers(1, 3, depth)],
            mlp=[32 * int(n) for n in rng.integers(1, 3, depth)],
            classes=int(rng.integers(1, 8)),
        )
        for number, (tokens, rows, width, act, res, logits) in enumerate(OVERLAYS):
            overlay = Overlay("fuzzed", tokens, rows, width, 300, act, res, logits, 1)
            try:
                program = compile_model(model, overlay, trace=bool(seed % 2))
            except CompileError:
                continue
            table = program.count * hw.DESCRIPTOR_BYTES
            inputs[f"{seed}-{number}-table"] = seed_input(program, number, seed % 5, table)
            if HEADER.size + program.data.size <= MOST_BYTES:
                size = program.data.size
                inputs[f"{seed}-{number}-whole"] = seed_input(program, number, seed % 5, size)
    return inputs


def build(folder: Path) -> Path:
    """The fuzzer. DataError without a Clang that has libFuzzer."""
    if shutil.which("clang") is None:
        raise DataError("clang is not installed; install it: apt-get install clang")
    folder.mkdir(parents=True, exist_ok=True)
    sources = [str(p) for p in sorted(NATIVE.glob("*/*.c")) if p.name not in LEFT_OUT]
    fuzzer = folder / "fuzzer"
    command = ["clang", *FLAGS, SANITIZERS, *INCLUDES, str(HARNESS), *sources, "-o", fuzzer]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DataError(
            f"the fuzzer cannot be built: {done.stderr.strip().splitlines()[-1]}; libFuzzer and "
            "the sanitizers are in the package libclang-rt-14-dev, or that of another version"
        )
    return fuzzer


def fuzz(fuzzer: Path, folder: Path, seconds: int, seed: int) -> tuple[int, dict[str, int], str]:
    """Let the fuzzer run so long on the corpus in `folder`: executions, facts, and the report of
    what it found, if anything; the input of that is the only file in folder/found."""
    found = folder / "found"
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir()
    command = [
        fuzzer, folder / "corpus", f"-max_total_time={seconds}", f"-seed={seed}",
        f"-max_len={MOST_BYTES}", f"-timeout={PATIENCE}", "-rss_limit_mb=2048",
        "-print_final_stats=1", f"-artifact_prefix={found}/",
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, errors="replace")
    log = done.stderr
    executions = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log) or re.findall(
        r"^#(\d+)", log, re.MULTILINE
    )
    facts = {
        key: int(numbers[-1])
        for key, pattern in (("coverage", r"cov: (\d+)"), ("features", r"ft: (\d+)"))
        if (numbers := re.findall(pattern, log))
    }
    facts["corpus"] = sum(1 for _ in (folder / "corpus").iterdir())
    return int(executions[-1]) if executions else 0, facts, log if done.returncode else ""


def finding(folder: Path, log: str) -> Finding:
    """What the fuzzer reported, named by the sanitizer's summary."""
    inputs = sorted((folder / "found").iterdir())
    kind = inputs[0].name.split("-")[0] if inputs else "failure"
    summaries = re.findall(r"(?:SUMMARY|ERROR): (.*)", log) or log.strip().splitlines()[-1:]
    message = summaries[-1] if summaries else "the fuzzer failed without a word"
    (folder / "last-report.txt").write_text(log)
    return Finding(
        kind=kind,
        where=f"run it again: {folder / 'fuzzer'} INPUT",
        message=message[:500],
        signature=re.sub(r"0x[0-9a-f]+|\d+", "N", message),
        data=inputs[0].read_bytes() if inputs else b"",
    )


@click.command()
@campaign_options(1_000_000_000, "executions")
def main(bounds: Bounds) -> int:
    """Run mutated programs in the C engine: nothing is touched outside their areas."""
    campaign = Campaign("engine", "executions", bounds)
    fuzzer = build(campaign.folder)
    corpus = campaign.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for name, data in seeds().items():
        (corpus / name).write_bytes(data)
    while True:  # at least once: building alone may take a minute
        seconds = SLICE if bounds.minutes is None else min(SLICE, round(60 * bounds.minutes) or 1)
        done, facts, log = fuzz(fuzzer, campaign.folder, seconds, bounds.seed + campaign.state.done)
        campaign.state.facts.update(facts)
        campaign.add(done, Counter(slices=1))
        if log:
            campaign.find(finding(campaign.folder, log))
        if campaign.ended:
            return campaign.finish()


if __name__ == "__main__":
    main()
