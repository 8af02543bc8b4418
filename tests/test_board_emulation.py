"""The commands that emulate the board and its processor: what of them needs no emulation.

`make arm64` and `make zcu102` run the rest; docs/emulation.md has their last result.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools" / "board"
SCRIPTS = ("arm64.sh", "zcu102.sh")
TARGETS = """\
MetaKey: main/binary-amd64/Packages
Origin: Debian
Component: main
Created-By: Packages
Release: bookworm
Repo-URI: http://mirror.example/debian/

MetaKey: main/binary-amd64/Packages
Origin: Debian
Component: main
Created-By: Packages
Release: bookworm-security
Repo-URI: http://mirror.example/security/

MetaKey: main/i18n/Translation-en
Origin: Debian
Component: main
Created-By: Translations
Release: bookworm
Repo-URI: http://mirror.example/other/

MetaKey: main/binary-amd64/Packages
Origin: Somebody
Component: main
Created-By: Packages
Release: bookworm
Repo-URI: http://somebody.example/
"""


@pytest.fixture(scope="module")
def emulated_root():
    spec = importlib.util.spec_from_file_location("emulated_root", TOOLS / "emulated_root.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_mirror_is_this_machines_own(emulated_root):
    assert emulated_root.mirrors(TARGETS, "bookworm") == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/security/ bookworm-security main",
    ]
    assert emulated_root.mirrors(TARGETS, "trixie") == [
        "deb http://mirror.example/debian/ trixie main"
    ]
    with pytest.raises(emulated_root.Unusable, match="MIRROR=URL"):
        emulated_root.mirrors("", "bookworm")


def test_pips_settings_travel_with_the_files_that_they_name(emulated_root, tmp_path):
    wheels, index = tmp_path / "wheels", tmp_path / "pypi" / "simple"
    wheels.mkdir()
    index.mkdir(parents=True)
    certificate = tmp_path / "ca.crt"
    certificate.write_text("certificate")
    listing = (
        f":env:.find-links='{wheels}'\n"
        f"global.extra-index-url='file://{index} https://index.example/simple'\n"
        f"global.cert='{certificate}'\ninstall.no-deps='false'\n"
    )
    settings = emulated_root.pip_settings(listing)
    assert settings == (
        f"[global]\nextra-index-url = file://{index}\n    https://index.example/simple\n"
        f"cert = {certificate}\n[install]\nno-deps = false\n"
    )
    environment = {"PIP_FIND_LINKS": str(wheels), "HOME": str(tmp_path), "PIP_CERT": "/none"}
    paths = emulated_root.named_paths(settings, environment)
    # Of an index also what its pages link to: the files beside it.
    assert paths == sorted([certificate, tmp_path / "pypi", wheels])
    assert emulated_root.folders_to_bind(paths) == [str(tmp_path / "pypi"), str(wheels)]
    assert emulated_root.folders_to_bind([tmp_path, wheels]) == [str(tmp_path)]


def test_a_command_inside_gets_the_networks_variables_and_no_others(emulated_root):
    given = {
        "PIP_CERT": "/c",
        "https_proxy": "p",
        "NO_PROXY": "n",
        "SSL_CERT_FILE": "/s",
        "PYTHONPATH": "/here",
        "SECRET": "x",
        "HOME": "/home/me",
        "PATH": "/here",
    }
    inside = emulated_root.environment_inside(given)
    assert {name for name in inside if name in given} == {
        *("PIP_CERT", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"),
        *("HOME", "PATH"),
    }
    assert (inside["HOME"], inside["QEMU_CPU"]) == ("/root", "cortex-a53")
    assert "/here" not in inside["PATH"]


def run(*command, **environment):
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("arguments", [["nothing"], ["--folder"], ["--fast", "root"]])
def test_a_wrong_argument_gets_the_usage_and_starts_nothing(name, arguments, tmp_path):
    done = run("sh", TOOLS / name, *arguments, HOME=str(tmp_path), XDG_CACHE_HOME="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_missing_tool_is_named_with_its_package(name, tmp_path):
    """Or, for an ordinary user, that root is needed."""
    for tool in ("sh", "dirname", "id", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = run("sh", TOOLS / name, "--folder", tmp_path / "new", PATH=str(tmp_path))
    assert done.returncode == 1
    assert ("apt-get install" if os.geteuid() == 0 else "run it as root") in done.stderr
    assert not (tmp_path / "new").exists()


def test_the_steps_can_be_listed_and_each_is_there():
    done = run("sh", TOOLS / "arm64.sh", "--list")
    steps = done.stdout.split()
    assert steps[:2] == ["root", "source"]
    text = (TOOLS / "arm64.sh").read_text()
    assert set(steps) == set(re.findall(r"^step_(\w+)\(\)", text, re.M))


def test_every_test_file_that_is_run_emulated_exists():
    named = re.findall(r"tests/[\w/]+(?:\.py)?", (TOOLS / "arm64.sh").read_text())
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_overlay_is_the_one_in_the_documentation():
    def node(text):
        return [line.strip() for line in re.search(r"fabric@.*?};", text, re.S)[0].splitlines()]

    source, page = (TOOLS / "fabric.dtso").read_text(), (ROOT / "docs/board.md").read_text()
    assert node(source) == node(page)


@pytest.mark.skipif(
    not shutil.which("fdtoverlay"), reason="no fdtoverlay; apt-get install device-tree-compiler"
)
def test_the_overlay_adds_the_interrupts_node_to_a_device_tree(tmp_path):
    (tmp_path / "base.dts").write_text(
        '/dts-v1/;\n/ { compatible = "xlnx,zynqmp"; #address-cells = <2>; #size-cells = <2>;\n'
        "gic: interrupt-controller@f9010000 { interrupt-controller; #interrupt-cells = <3>; }; };"
    )
    base, overlay, both = (tmp_path / name for name in ("base.dtb", "fabric.dtbo", "both.dtb"))
    for source, target in ((tmp_path / "base.dts", base), (TOOLS / "fabric.dtso", overlay)):
        done = run("dtc", "-@", "-I", "dts", "-O", "dtb", "-o", target, source)
        assert done.returncode == 0, done.stderr
    assert run("fdtoverlay", "-i", base, "-o", both, overlay).returncode == 0
    node = "/fabric@a0000000"
    assert run("fdtget", both, node, "compatible").stdout == "generic-uio\n"
    assert run("fdtget", both, node, "interrupts").stdout == "0 89 4\n"
    gic = run("fdtget", both, "/interrupt-controller@f9010000", "phandle").stdout
    assert run("fdtget", both, node, "interrupt-parent").stdout == gic


def test_logits_are_hashed_by_value_and_differ_where_one_bit_does(tmp_path):
    """What the comparison rests on: a line a picture, and another picture has another hash."""
    examples = sorted((ROOT / "examples").glob("*.jpg"))
    command = [sys.executable, TOOLS / "logits.py", "--model", "q-vit-250fps"]
    here = run(*command, *examples, PYTHONPATH=str(ROOT))
    assert here.returncode == 0, here.stderr
    lines = [line.split() for line in here.stdout.splitlines()]
    assert [line[:2] for line in lines] == [["q-vit-250fps", p.name] for p in examples]
    assert all(re.fullmatch("[0-9a-f]{64}", word) for line in lines for word in line[2:])
    assert len({word for line in lines for word in line[2:]}) == 2 * len(examples)
    again = run(*command, "--device", "native", *examples, PYTHONPATH=str(ROOT))
    assert again.stdout == here.stdout
