"""The public names are these and no others; changing them is a decision, not an accident."""

import subprocess
import sys
from pathlib import Path

import pytest

import quasar_runtime

ROOT = Path(__file__).resolve().parents[2]

NAMES = [
    "ArenaError",
    "CompileError",
    "DataError",
    "DeviceClosed",
    "DeviceError",
    "DeviceFault",
    "DeviceNotFound",
    "DeviceTimeout",
    "ImageError",
    "LayerTime",
    "Listing",
    "Model",
    "ModelError",
    "ModelFileError",
    "ModelNotFound",
    "ModelValueError",
    "OverlayError",
    "Prediction",
    "Profile",
    "ProgramError",
    "QuasarError",
    "Result",
    "Session",
    "Skipped",
    "Times",
    "__version__",
    "available_devices",
    "list_models",
    "list_pictures",
    "load_model",
    "open_device",
]
SESSION = ["classify", "close", "preprocess", "run", "stream"]


def test_package_exports_exactly_these_names():
    assert quasar_runtime.__all__ == NAMES
    assert dir(quasar_runtime) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_imported_and_is_documented(name):
    value = getattr(quasar_runtime, name)
    assert value.__doc__
    if name != "__version__":
        assert name in (ROOT / "docs/api.md").read_text()


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        quasar_runtime.Sesion  # noqa: B018


def test_session_has_exactly_these_methods():
    methods = [n for n, v in vars(quasar_runtime.Session).items() if callable(v) and n[0] != "_"]
    assert sorted(methods) == SESSION
    assert all(getattr(quasar_runtime.Session, name).__doc__ for name in SESSION)


def test_version_is_the_packages():
    text = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in text
    assert 'version = { attr = "quasar_runtime.__version__" }' in text


def imported(code):
    """Modules that are loaded after `code` ran in a new interpreter."""
    command = f"import sys; {code}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert not {"numpy", "PIL", "click", "pynq"} & imported("import quasar_runtime")


def test_a_session_of_one_picture_imports_no_more_than_it_needs():
    code = (
        "import numpy as np; from quasar_runtime import Session; "
        "from quasar_runtime.model.synthetic import random_model; "
        "s = Session(random_model(0), 'reference', overlay='b64'); "
        "s.classify(np.zeros((32, 32, 3), np.uint8)); s.close()"
    )
    heavy = {"tqdm", "safetensors", "torch", "pynq", "concurrent.futures", "click", "asyncio"}
    assert not heavy & imported(code)
