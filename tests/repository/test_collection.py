"""Tests have the same names in every process: pytest-xdist runs only what all collect alike."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECT = ["--collect-only", "-q", "-n", "0", "--import-mode=importlib", "tests"]


def collected(seed: str) -> list[str]:
    """Names of all tests, in a process that hashes strings by this seed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *COLLECT],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTEST_ADDOPTS": "-o addopts="},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_names_depend_neither_on_the_time_nor_on_the_order_of_sets():
    first = collected("1")
    time.sleep(1.1)
    second = collected("2")
    assert len(first) > 1000
    assert [(a, b) for a, b in zip(first, second, strict=True) if a != b] == []
