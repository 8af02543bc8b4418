"""The source distribution, installed into an environment of its own without network or git."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

import quasar_runtime

pytest.importorskip("setuptools")
pytest.importorskip("cffi")

ROOT = Path(__file__).resolve().parents[2]
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]
BUILT = ("README.md", "LICENSE", "MANIFEST.in", "setup.py", "pyproject.toml")
FOLDERS = ("quasar_runtime", "train", "hw_src", "model_zoo", "overlays")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.so", "_engine.c", "*.egg-info")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason="there is no C compiler"),
    pytest.mark.skipif(
        shutil.which("pip") is None and not (Path(sys.executable).parent / "pip").exists(),
        reason="pip is not installed",
    ),
]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution of a copy of the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for name in BUILT:
        shutil.copy(ROOT / name, folder / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
    command = [sys.executable, "setup.py", "-q", "sdist"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (found,) = (folder / "dist").iterdir()
    return found


@pytest.fixture(scope="module")
def installed(sdist, tmp_path_factory):
    """The folder of an environment that has the sdist, and this one's packages beside it."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "venv" / "lib" / name / "site-packages"
    (site / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    git = folder / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\ntouch {folder}/git-was-called\nexit 1\n")
    git.chmod(0o755)
    # A wheel first, as pip itself makes one; without build isolation, which would need the network.
    common = [
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "-q",
    ]
    environment = {**os.environ, "PATH": f"{git.parent}:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    for command in (
        [sys.executable, "-m", "pip", "wheel", *common, "-w", str(folder / "wheel"), str(sdist)],
        [str(python), "-m", "pip", "install", *common, "--ignore-installed"],
    ):
        if "install" in command:
            (wheel,) = (folder / "wheel").iterdir()
            command.append(str(wheel))
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "git-was-called").exists()
    return folder


def run(installed, *command):
    """What a command of the environment prints, away from the checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "QUASAR"))}
    program = str(installed / "venv" / "bin" / command[0])
    done = subprocess.run(
        [program, *command[1:]], env=environment, cwd=installed, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_sdist_bears_the_version_and_has_the_training_tools(sdist):
    assert sdist.name == f"quasar_vit-{quasar_runtime.__version__}.tar.gz"
    with tarfile.open(sdist) as tar:
        names = {n.partition("/")[2] for n in tar.getnames()}
    for pattern in ("train/**/*.py", "train/**/*.yaml", "train/**/*.json"):
        wanted = {str(p.relative_to(ROOT)) for p in ROOT.glob(pattern)}
        assert wanted
        assert not wanted - names


def test_the_wheel_serves_every_python_from_3_10_on(installed):
    (wheel,) = (installed / "wheel").iterdir()
    python, abi, platform = wheel.stem.split("-")[2:]
    assert (python, abi) == ("cp310", "abi3")
    assert platform.startswith("linux_")


def test_the_metadata_is_complete(installed):
    code = "import importlib.metadata as m; print(m.metadata('quasar-vit'))"
    metadata = run(installed, "python", "-c", code)
    for line in (
        f"Version: {quasar_runtime.__version__}",
        "Author: The Quasar authors",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.10",
        "Classifier: Programming Language :: Python :: 3.10",
        "Provides-Extra: train",
    ):
        assert f"{line}\n" in metadata


def test_the_commands_run(installed):
    assert run(installed, "quasar", "--version").strip().endswith(quasar_runtime.__version__)
    assert "native" in run(installed, "quasar", "devices")
    pytest.importorskip("yaml")
    assert "supernet" in run(installed, "quasar-train", "--help")
    assert "DSP48E2" in run(installed, "quasar-train", "cost", "area", "b1024")
    site = run(installed, "python", "-c", "import quasar_train; print(quasar_train.__file__)")
    subnet = Path(site.strip()).parent / "subnets" / "q-vit-160fps.json"
    assert subnet.is_relative_to(installed)
    assert "FPS" in run(installed, "quasar-train", "cost", "cycles", str(subnet))


def test_recipes_and_spaces_travel_along(installed):
    pytest.importorskip("yaml")
    code = (
        "from quasar_train.data.recipe import RECIPES, TrainingRecipe as R\n"
        "from quasar_train.spaces.space import SPACES, Space\n"
        "print(*sorted(p.name for f in (RECIPES, SPACES) for p in f.glob('*.yaml')))\n"
        "[R.load(path) for path in RECIPES.glob('*.yaml')]\n"
        "[Space.load(path) for path in SPACES.glob('*.yaml')]"
    )
    wanted = (p.name for f in ("recipes", "spaces") for p in (ROOT / "train" / f).glob("*.yaml"))
    assert run(installed, "python", "-c", code).split() == sorted(wanted)
