"""What a user gets wrong in a script of benchmarks/ is one line, as everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("native_speed", ["--model", "tiny-w9"], "tiny-w9"),
        ("native_speed", ["--overlay", "b1023"], "b1023"),
        ("native_speed", ["--kernels", "sse9"], "sse9"),
        ("rtl_cycles", ["deit-tiny:4", "--timeline", "nowhere/x.svg"], "nowhere/x.svg: cannot be"),
        ("rtl_cycles", ["--overlay", "b1023"], "b1023"),
        ("native_builds", ["docs"], "docs: no measurement"),
    ],
)
def test_an_error_of_the_user_is_one_line(script, arguments, message):
    process = run(script, *arguments)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("cycle_model", ["--overlay", "b1023"], "b1023"),
        ("cycle_model", ["--plot", "nowhere/x.svg"], "nowhere/x.svg: cannot be"),
    ],
)
def test_an_error_of_the_user_is_one_line_where_pytorch_is(script, arguments, message):
    pytest.importorskip("torch")
    test_an_error_of_the_user_is_one_line(script, arguments, message)


@pytest.mark.parametrize(
    ("script", "option"),
    [("native_speed", "--rounds"), ("decoding", "--pictures"), ("native_speed", "--threads")],
)
def test_a_count_is_at_least_one(script, option):
    process = run(script, option, "0")
    assert process.returncode == 2
    assert "0 is not in the range x>=1" in process.stderr
