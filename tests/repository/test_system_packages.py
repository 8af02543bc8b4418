"""Missing system packages: installed after saying so, or named (DEPS=no, neither root nor sudo)."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "system_packages.sh"
ALL = ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev")
BY_HAND = (
    "an administrator has to run: apt-get update && apt-get install -y --no-install-recommends "
)
# A system is a folder: bin/, the only one on PATH, and have/, a file for each installed package.
TOOLS = {
    "id": 'echo "$UID_HERE"',
    "apt-get": """echo "apt-get $*" >> "$SYSTEM/log"
        [ -z "${BROKEN:-}" ] || { echo "E: no network" >&2; exit 100; }
        [ "$1" = install ] || exit 0
        for word; do
            case $word in -*|install|DPkg*) ;; *) "$SYSTEM/bin/unpack" "$word" ;; esac
        done""",
    "unpack": """touch "$SYSTEM/have/$1"
        [ ! -e "$SYSTEM/packed/$1" ] || cp "$SYSTEM/packed/$1" "$SYSTEM/bin/$1" """,
    "sudo": """echo "sudo $*" >> "$SYSTEM/log"
        [ "$SUDO" = free ] || { echo "sudo: a password is required" >&2; exit 1; }
        shift; exec "$@" """,
}
PYTHON = """have="$SYSTEM/have/${0##*/}"
case "$*" in
    *ensurepip*) [ -e "$have-venv" ] ;;
    *Python.h*) [ -e "$have-dev" ] ;;
    *"(3, 10)"*) [ "$MINOR" -ge 10 ] ;;
    *) echo "Python 3.$MINOR" ;;
esac"""
PACKED = {
    "python3": PYTHON,
    "python3.13": PYTHON,
    "gcc": '[ "$*" != "-E -" ] || [ -e "$SYSTEM/have/libc6-dev" ]',
}


def write(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class System:
    """A stand-in for a machine: what is installed, and what apt-get and sudo were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "have", "packed"):
            (folder / name).mkdir()
        for name in ("uname", "env", "touch", "cp", "true"):
            (folder / "bin" / name).symlink_to(shutil.which(name))
        for name, text in TOOLS.items():
            write(folder / "bin" / name, text)
        for name, text in PACKED.items():
            write(folder / "packed" / name, text)
        (folder / "log").touch()
        shutil.copy(SCRIPT, folder / "system_packages.sh")

    def install(self, *packages: str) -> None:
        for package in packages:
            (self.folder / "have" / package).touch()
            if package in PACKED:
                write(self.folder / "bin" / package, PACKED[package])

    def remove(self, tool: str) -> None:
        (self.folder / "bin" / tool).unlink()

    def run(self, *arguments, user=0, sudo="asks", minor=11, become=(), **environment):
        environment |= {
            "PATH": str(self.folder / "bin"),
            "SYSTEM": str(self.folder),
            "UID_HERE": str(user),
            "SUDO": sudo,
            "MINOR": str(minor),
        }
        command = [*become, "/bin/sh", str(self.folder / "system_packages.sh")]
        return subprocess.run(
            [*command, *(arguments or ("base", "python3"))],
            env=environment,
            capture_output=True,
            text=True,
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def system():
    """Every user can read it: pytest's own folders are its user's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield System(Path(folder))


def test_a_system_that_has_everything_is_left_alone(system):
    system.install(*ALL)
    done = system.run()
    assert (done.returncode, done.stdout, done.stderr, system.log) == (0, "", "", "")


def test_root_installs_what_is_missing_and_nothing_else_after_saying_why(system):
    system.install("python3", "python3-venv", "gcc", "libc6-dev")
    done = system.run()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == "  python3-dev: Python.h, for the C engine"
    assert "DEPS=no" in lines[0]
    commands = [line.removeprefix("+ env DEBIAN_FRONTEND=noninteractive ") for line in lines[2:]]
    assert commands == system.log.splitlines()
    assert commands[0].startswith("apt-get update")
    assert commands[1].endswith("--no-install-recommends python3-dev")


def test_a_bare_system_gets_each_base_package(system):
    done = system.run()
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (system.folder / "have").iterdir()) == sorted(ALL)
    assert all(f"  {package}: " in done.stdout for package in ALL)


def test_a_user_installs_through_sudo_and_sees_it(system):
    done = system.run(user=1000, sudo="free")
    assert done.returncode == 0, done.stderr
    assert "+ sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install" in done.stdout
    assert "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install" in system.log


@pytest.mark.parametrize("sudo", ["asks", "absent"])
def test_a_user_without_sudo_learns_in_one_line_what_an_administrator_runs(system, sudo):
    if sudo == "absent":
        system.remove("sudo")
    done = system.run(user=1000, sudo=sudo)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(BY_HAND + " ".join(ALL) + "\n")
    assert "apt-get" not in system.log


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to leave")
def test_a_user_is_known_by_the_system_itself(system):
    system.remove("id")
    (system.folder / "bin" / "id").symlink_to(shutil.which("id"))
    (system.folder / "log").chmod(0o666)
    become = [shutil.which("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = system.run(become=become)
    assert (done.returncode, done.stdout) == (1, "")
    assert BY_HAND in done.stderr
    assert system.run().returncode == 0, "root installs them"


@pytest.mark.parametrize("user", [0, 1000])
def test_deps_no_installs_nothing_and_names_the_packages(system, user):
    done = system.run(user=user, sudo="free", DEPS="no")
    assert (done.returncode, done.stdout, system.log) == (1, "", "")
    assert done.stderr.startswith("DEPS=no, and these packages are missing: python3 python3-venv ")
    assert done.stderr.count("\n") == 1


def test_a_named_python_has_packages_of_its_name(system):
    system.install(*ALL)
    done = system.run("base", "python3.13", minor=13)
    assert done.returncode == 0, done.stderr
    assert system.log.endswith(" python3.13 python3.13-venv python3.13-dev\n")


def test_a_system_without_apt_is_told_the_names(system):
    system.remove("apt-get")
    done = system.run()
    assert done.returncode == 1
    assert "by Debian's names: " + " ".join(ALL) in done.stderr


def test_what_apt_could_not_install_is_still_missing(system):
    done = system.run(BROKEN="yes")
    assert done.returncode == 1
    assert "E: no network" in done.stderr
    assert "still missing after that: python3 " in done.stderr


def test_tests_go_on_without_their_packages_and_say_so(system):
    system.install(*ALL)
    done = system.run("test", "python3", DEPS="no")
    assert (done.returncode, system.log) == (0, "")
    assert " tcl" in done.stderr
    assert "the tests that need them will be skipped" in done.stderr
    (system.folder / "have" / "libc6-dev").unlink()
    assert system.run("test", "python3", DEPS="no").returncode == 1, "nothing goes without these"


def test_a_python_that_is_too_old_is_refused(system):
    system.install(*ALL)
    done = system.run(minor=9)
    assert done.returncode == 1
    assert (
        done.stderr == "Python 3.9 is too old: Quasar needs 3.10 or newer; name one with PYTHON=\n"
    )


def test_an_environment_of_another_python_is_not_taken_in_silence(system):
    system.install(*ALL)
    venv = system.folder / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(system.folder / "bin" / "python3")
    assert system.run("base", "python3", str(venv)).returncode == 0
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(sys.executable)
    done = system.run("base", "python3", str(venv), minor=99)
    assert done.returncode == 1
    assert "and PYTHON=python3 is Python 3.99: remove it (make clean)" in done.stderr
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/nowhere/python3")
    done = system.run("base", "python3", str(venv))
    assert "has a Python that is gone" in done.stderr
