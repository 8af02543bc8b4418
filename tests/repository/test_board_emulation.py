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

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools" / "board"
SCRIPTS = ("arm64.sh", "zcu102.sh")
TARGETS = """\
MetaKey: main/binary-amd64/Packages
Origin: Debian
Component: main
Created-By: Packages
Release: bookworm-security
Repo-URI: http://mirror.example/security/

MetaKey: main/binary-amd64/Packages
Origin: Debian
Component: main
Created-By: Packages
Release: bookworm
Repo-URI: http://mirror.example/debian/

MetaKey: contrib/binary-amd64/Packages
Origin: Debian
Component: contrib
Created-By: Packages
Release: bookworm-updates
Repo-URI: http://mirror.example/debian/

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
    archive = emulated_root.bare_system.archive
    assert archive(TARGETS, "Debian") == ("http://mirror.example/debian/", "main,contrib")
    assert archive(TARGETS, "Somebody") == ("http://somebody.example/", "main")
    with pytest.raises(SystemExit, match=r"no archive of Ubuntu here.*MIRROR=URL"):
        archive(TARGETS, "Ubuntu")


def test_a_command_inside_gets_the_registries_and_the_cpu_and_nothing_else(
    emulated_root, monkeypatch, tmp_path
):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("https_proxy", "proxy")
    inside = emulated_root.environment_inside({"PYTHONPATH": "/here", "PATH": "/here", "TERM": "x"})
    assert inside["PIP_FIND_LINKS"] == str(tmp_path)
    assert (inside["https_proxy"], inside["TERM"], inside["HOME"]) == ("proxy", "x", "/root")
    assert inside["QEMU_CPU"] == "cortex-a53"
    assert "/here" not in inside.values()


def test_a_root_gets_the_files_that_pips_settings_name(emulated_root, monkeypatch, tmp_path):
    certificate = tmp_path / "authorities.crt"
    certificate.write_text("certificate")
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_CERT", str(certificate))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert str(tmp_path / "wheels") in emulated_root.prepare(tmp_path / "root")
    named = Path(emulated_root.environment_inside({})["PIP_CERT"])
    assert (tmp_path / "root" / named.relative_to("/")).read_text() == "certificate"


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


@pytest.mark.parametrize("patience", ["", "10000"])
def test_a_processs_time_limit_grows_with_patience_and_only_then(patience):
    code = "import tests.conftest, subprocess as s; s.run(['sleep', '0.5'], timeout=0.01)"
    environment = {"PATIENCE": patience} if patience else {}
    done = run(sys.executable, "-c", code, PYTHONPATH=str(ROOT), **environment)
    assert ("TimeoutExpired" in done.stderr, done.returncode) == (not patience, int(not patience))


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
    """What the comparison rests on: one line per picture, and another picture has another hash."""
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
