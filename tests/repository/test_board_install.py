"""The board's install script takes nothing but what it brought, and says why where it cannot."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "board"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STAND_IN = f"""#!{sys.executable}
# PYNQ's Python: pip is a list of packages in a file, everything else is Python.
import os, pathlib, sys
have = pathlib.Path(__file__).with_name("packages")
names = set(have.read_text().split())
match sys.argv[1:]:
    case ["-m", "pip", "list", *_]:
        print("\\n".join(sorted(names)))
    case ["-m", "pip", "install", *rest]:
        assert "--no-index" in rest and rest[-1].endswith("quasar_vit-0.1.0.tar.gz"), rest
        have.write_text("\\n".join(names | {{"quasar-vit==0.1.0", "click==8.1", "tqdm==4.6"}}))
    case ["-m", "pip", "uninstall", *rest]:
        gone = {{name for name in rest if not name.startswith("-")}}
        have.write_text("\\n".join(n for n in names if n.split("==")[0] not in gone))
    case ["-c", code]:
        exec(code)
"""


def checksums(bundle: Path) -> None:
    files = sorted(p for p in bundle.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  ./{p.relative_to(bundle)}\n" for p in files
    ]
    (bundle / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "quasar-board"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "quasar_vit-0.1.0.tar.gz").write_bytes(b"source")
    for name in ("install.sh", "uninstall.sh"):
        shutil.copy(TOOLS / name, folder / name)
    (folder / "made-for").write_text(f"machine={platform.machine()}\npython={PYTHON}\n")
    checksums(folder)
    return folder


@pytest.fixture
def pynq(tmp_path):
    """PYNQ's environment: numpy, and an older click."""
    folder = tmp_path / "pynq" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3").write_text(STAND_IN)
    (folder / "python3").chmod(0o755)
    (folder / "packages").write_text("numpy==1.26.4\nclick==8.1\n")
    return folder.parent


def script(path, tmp_path, pynq, code=0, **environment):
    environment = {"PYNQ_VENV": str(pynq), "QUASAR_ROOT": str(tmp_path / "root"), **environment}
    done = subprocess.run(
        ["sh", str(path)], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def packages(pynq):
    return sorted((pynq / "bin" / "packages").read_text().split())


def test_what_is_installed_is_removed_and_nothing_else(bundle, pynq, tmp_path):
    before = packages(pynq)
    text = script(bundle / "install.sh", tmp_path, pynq)
    assert "sudo quasar doctor" in text
    local = tmp_path / "root" / "usr" / "local"
    wrapper = local / "bin" / "quasar"
    assert f'exec "{pynq}/bin/quasar" "$@"' in wrapper.read_text()
    assert os.access(wrapper, os.X_OK)
    assert "quasar-vit==0.1.0" in packages(pynq)
    script(bundle / "install.sh", tmp_path, pynq)  # once more, as an update
    (local / "bin" / "quasar-infer").write_text("somebody else's")
    script(local / "share" / "quasar" / "uninstall.sh", tmp_path, pynq)
    assert packages(pynq) == before
    assert not wrapper.exists()
    assert (local / "bin" / "quasar-infer").exists()
    assert not (local / "share" / "quasar").exists()


def test_the_environment_is_found_as_pynqs_images_name_it(bundle, pynq, tmp_path):
    """Their profile is for bash: it says `source`, which the sh of Debian and Ubuntu lacks."""
    profile = tmp_path / "root" / "etc" / "profile.d"
    profile.mkdir(parents=True)
    (pynq / "bin" / "activate").write_text(f'VIRTUAL_ENV="{pynq}"\nPS1="(pynq) ${{PS1:-}}"\n')
    (profile / "pynq_venv.sh").write_text(f"#!/bin/bash\nsource {pynq}/bin/activate\n")
    (profile / "xrt_setup.sh").write_text('[[ -n $BASH ]] && export XILINX_XRT="/usr"\n')
    (pynq / "bin" / "quasar").write_text('#!/bin/sh\necho "$1 with $XILINX_XRT"\n')
    (pynq / "bin" / "quasar").chmod(0o755)
    assert f"installed into {pynq}" in script(bundle / "install.sh", tmp_path, pynq, PYNQ_VENV="")
    command = [tmp_path / "root" / "usr" / "local" / "bin" / "quasar", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "doctor with /usr\n"


def test_uninstall_without_install_says_so(bundle, pynq, tmp_path):
    assert "nothing was installed" in script(bundle / "uninstall.sh", tmp_path, pynq, code=1)


@pytest.mark.parametrize(
    ("made_for", "message"),
    [
        (f"machine=riscv64\npython={PYTHON}\n", "the bundle is for riscv64"),
        (f"machine={platform.machine()}\npython=3.9\n", "make one with bundle.sh --python"),
    ],
)
def test_a_bundle_for_another_board_is_refused(bundle, pynq, tmp_path, made_for, message):
    (bundle / "made-for").write_text(made_for)
    checksums(bundle)
    before = packages(pynq)
    assert message in script(bundle / "install.sh", tmp_path, pynq, code=1)
    assert packages(pynq) == before


def test_a_damaged_bundle_is_refused(bundle, pynq, tmp_path):
    (bundle / "wheels" / "quasar_vit-0.1.0.tar.gz").write_bytes(b"damaged")
    assert "the bundle is damaged" in script(bundle / "install.sh", tmp_path, pynq, code=1)
    assert packages(pynq) == ["click==8.1", "numpy==1.26.4"]


def test_a_missing_environment_or_compiler_is_named(bundle, pynq, tmp_path):
    gone = tmp_path / "gone"
    assert "has no bin/python3" in script(
        bundle / "install.sh", tmp_path, pynq, code=1, PYNQ_VENV=str(gone)
    )
    text = script(bundle / "install.sh", tmp_path, pynq, code=1, CC="no-such-compiler")
    assert "apt install gcc" in text


@pytest.mark.parametrize("arguments", [["--python"], ["--pyton", "3.10"], ["out.tar.gz"]])
def test_a_bundle_is_not_made_by_guessing(arguments):
    done = subprocess.run(["sh", TOOLS / "bundle.sh", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")
