"""What the tests of the command line share: a zoo of random models, pictures, ways to run verbs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from quasar_runtime.cli.app import quasar
from quasar_runtime.model.file import write_model
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.model.zoo import build_index

ROOT = Path(__file__).resolve().parents[2]
# click before 8.2 mixes stdout and stderr unless it is told not to.
OLD_CLICK = "mix_stderr" in inspect.signature(CliRunner).parameters
RUNNER = CliRunner(mix_stderr=False) if OLD_CLICK else CliRunner()


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    for seed, name in enumerate(("q-vit-160fps", "tiny-w8")):
        write_model(random_model(seed, name=name), folder / f"{name}.safetensors")
    build_index(folder)
    return folder


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def call(zoo, monkeypatch):
    """Run a verb in this process; returns click's result, with stdout and stderr apart."""
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(zoo))

    def run(*arguments, code=0, stdin=None):
        result = RUNNER.invoke(quasar, [str(a) for a in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def shell(zoo):
    """Start a verb in a process of its own, as a user does; `via` is a shell's redirection."""

    def start(*arguments, **options):
        environment = {**os.environ, "QUASAR_MODEL_ZOO": str(zoo), "PYTHONPATH": str(ROOT)}
        environment |= options.pop("env", {})
        command = [sys.executable, "-m", "quasar_runtime.cli", *map(str, arguments)]
        if via := options.pop("via", ""):
            command = ["bash", "-c", f'exec "$@" {via}', "quasar", *command]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(command, env=environment, **options)

    return start
