#!/usr/bin/env python3
"""Try README's two commands on bare systems: as root, as a user with and without sudo, DEPS=no.

    tools/bare_system.py bookworm trixie forky      # make infer, in every way
    tools/bare_system.py trixie --test TRAIN=0      # and `make test TRAIN=0`, as root and as a user
    tools/bare_system.py forky --who root           # only as root

A bare system is what debootstrap makes (variant minbase), with make and git, in a chroot. It gets a
clone of this checkout's HEAD: what is not committed is not tried. Apt's mirror and pip's settings
are this machine's own. Needs root, for chroot and mounts, and debootstrap. Prints what the commands
print, then a table; exits with 1 if a command did not do what it should.
"""

import argparse
import ast
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ADMINISTRATOR = "an administrator has to run: apt-get update && apt-get install -y"
INSTALLS = "+ env DEBIAN_FRONTEND=noninteractive apt-get install"
CARRIED = "/opt/carried"
ANSWER = "Egyptian cat"

# The mounts are seen by this one command only, and gone with it: what is removed later is the copy.
ENTER = """
root=$1 who=$2; shift 2
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
for folder in $BIND; do mkdir -p "$root$folder"; mount --bind -o ro "$folder" "$root$folder"; done
mount --bind "$ARCHIVES" "$root/var/cache/apt/archives"
unset BIND ARCHIVES
exec chroot --userspec="$who" --groups="" "$root" "$@"
"""


@dataclass(frozen=True)
class Try:
    """A command, who runs it, and what must come of it."""

    who: str
    command: str
    wants: tuple[str, ...]
    fails: bool = False
    installs: bool = False


@dataclass
class System:
    """A copy of a bare system."""

    root: Path
    failures: list[str] = field(default_factory=list)

    def run(self, who: str, command: str, quiet: bool = True) -> tuple[int, str]:
        """Run a shell command as root or user, in the user's clone; its exit status and output."""
        home = "/root" if who == "root" else f"/home/{who}"
        registries, folders, _ = carried()
        environment = {
            "PATH": PATH,
            "HOME": home,
            "USER": who,
            "LANG": "C.UTF-8",
            "BIND": " ".join(map(str, folders)),
            "ARCHIVES": str(self.root.with_suffix(".debs")),
            **registries,
        }
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "sh"]
        inside = ["sh", "-c", f"cd {home}/quasar 2>/dev/null || cd /; {command}"]
        lines = []
        with subprocess.Popen(
            [*enter, str(self.root), who, *inside],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if not quiet:
                    print("    " + line, end="", flush=True)
        return process.returncode, "".join(lines)

    def must(self, command: str) -> str:
        status, output = self.run("root", command)
        if status:
            sys.exit(f"{self.root}: `{command}` failed ({status}):\n{output}")
        return output

    def packages(self) -> str:
        return self.must("dpkg-query --show")

    def clone(self, who: str) -> None:
        """The checkout's HEAD, owned by who."""
        home = self.root / ("root" if who == "root" else f"home/{who}")
        shutil.rmtree(home / "quasar", ignore_errors=True)
        git = ["git", "-c", "safe.directory=*", "clone", "--quiet", "--no-hardlinks"]
        subprocess.run([*git, str(ROOT), str(home / "quasar")], check=True)
        self.must(f"chown -R {who}: /{home.relative_to(self.root)}")

    def carry_out(self, case: Try, says: str) -> str:
        """One row of the table: runs the case and compares."""
        print(f"\n== {says}$ {case.command}", flush=True)
        before, started = self.packages(), time.monotonic()
        status, output = self.run(case.who, case.command, quiet=False)
        seconds = time.monotonic() - started
        wrong = [f"does not say {text!r}" for text in case.wants if text not in output]
        if case.fails != bool(status):
            wrong.append(f"exit status {status}")
        if case.installs != (self.packages() != before):
            wrong.append("installs nothing" if case.installs else "installs packages")
        outcome = "; ".join(wrong) or ("as it should" if not case.fails else "refused as it should")
        if wrong:
            self.failures.append(says)
        return f"{says:<42} {case.command:<24} {seconds:5.0f} s  {'WRONG: ' * bool(wrong)}{outcome}"


def pip_settings() -> dict[str, str]:
    """This machine's settings of pip, whichever files they stand in, as environment variables."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    settings = {}
    for section, name, value in re.findall(r"(?m)^([^.=]+)\.([\w-]+)=(.+)$", listed):
        if section in ("global", "install"):
            value = str(ast.literal_eval(value))
            settings[f"PIP_{name.replace('-', '_').upper()}"] = " ".join(value.split())
    return settings | {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}


def carried() -> tuple[dict[str, str], list[Path], list[Path]]:
    """Environment, folders and files by which this machine's pip and apt find their registries.

    The files are given to the system under CARRIED, where none of its own packages puts one.
    """
    names = [name for name in os.environ if name.lower().endswith("_proxy")]
    environment = {name: os.environ[name] for name in names} | pip_settings()
    folders, files = set(), set()
    for name, value in environment.items():
        words = value.split(" ")
        for i, word in enumerate(words):
            path = Path(word.removeprefix("file://"))
            if not path.is_absolute() or not path.exists():
                continue
            if path.is_dir():  # an index's pages name files that lie beside it
                folders.add(path.parent if path.name == "simple" else path)
            else:
                files.add(path)
                words[i] = f"{CARRIED}/{path.name}"
        environment[name] = " ".join(words)
    return environment, sorted(folders), sorted(files)


def archive(targets: str, origin: str) -> tuple[str, str]:
    """A distribution's main archive that this machine's apt uses, and the components from there.

    targets is what `apt-get indextargets` prints, origin the distribution's name: "Debian".
    Exits where apt knows none.
    """
    found: dict[str, list[str]] = {}
    for target in targets.split("\n\n"):
        of = dict(re.findall(r"^([\w-]+): (.*)$", target, re.M))
        if of.get("Created-By") != "Packages" or of.get("Origin") != origin:
            continue
        if not of["Release"].endswith("-security"):
            components = found.setdefault(of["Repo-URI"], [])
            components += [x for x in [of["Component"]] if x not in components]
    for site, components in found.items():
        return site, ",".join(components)
    sys.exit(
        f"apt knows no archive of {origin} here; run apt-get update, "
        "or name one: --mirror URL for bare_system.py, MIRROR=URL for the others"
    )


def mirror(origin: str) -> tuple[str, str]:
    """archive(), by what this machine's apt says."""
    command = ["apt-get", "indextargets"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return archive(listed, origin)


def bootstrap(release: str, folder: Path, url: str, components: str) -> Path:
    """A bare system of this release, made once."""
    base = folder / release
    if (base / "complete").exists():
        return base
    shutil.rmtree(base, ignore_errors=True)
    known = Path("/usr/share/debootstrap/scripts", release).exists()
    command = [
        "debootstrap",
        "--variant=minbase",
        "--include=make,git",
        f"--components={components}",
    ]
    command += [release, str(base), url, *([] if known else ["sid"])]
    print("+", " ".join(command), flush=True)
    with (folder / f"{release}.log").open("w") as log:
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode:
            sys.exit(f"debootstrap failed: see {log.name}")
    (base / "complete").touch()
    return base


def furnish(base: Path, root: Path) -> System:
    """A copy of the bare system, with this machine's way to the registries and a user."""
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    root.with_suffix(".debs").mkdir(exist_ok=True)
    system = System(root)
    system.must("useradd --create-home --shell /bin/sh user")
    (root / CARRIED[1:]).mkdir()
    for path in carried()[2]:
        shutil.copyfile(path, root / CARRIED[1:] / path.name)
    for path in (Path("/etc/resolv.conf"), Path("/etc/hosts")):
        shutil.copyfile(path, root / path.relative_to("/"))
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    settings = [x for x in dump.splitlines() if re.match(r"Acquire::(https?|Check)", x)]
    (root / "etc/apt/apt.conf.d/90machine").write_text("\n".join([*settings, ""]))
    return system


Row = Callable[[Try, str], tuple[str, bool]]


def as_user(system: System, row: Row, test: str | None) -> Iterator[tuple[str, bool]]:
    """The tries of somebody who is not root, without sudo and with."""
    infer = "make infer"
    system.clone("user")
    yield row(Try("user", infer, (ADMINISTRATOR,), fails=True), "user, no sudo")
    system.must("apt-get update -qq && apt-get install -qq -y --no-install-recommends sudo 2>&1")
    rule = system.root / "etc/sudoers.d/user"
    rule.write_text("user ALL=(ALL) ALL\n")
    yield row(Try("user", infer, (ADMINISTRATOR,), fails=True), "user, sudo asks for a password")
    rule.write_text("user ALL=(ALL) NOPASSWD: ALL\n")
    wants = (ADMINISTRATOR, "DEPS=no")
    yield row(Try("user", f"{infer} DEPS=no", wants, fails=True), "user, sudo")
    wants = (INSTALLS.replace("+ ", "+ sudo -n "), ANSWER)
    yield row(Try("user", infer, wants, installs=True), "user, sudo")
    if test is not None:
        wants = (INSTALLS.replace("+ ", "+ sudo -n "), " passed")
        yield row(Try("user", f"make test {test}".strip(), wants, installs=True), "user, sudo")
    rule.unlink()
    system.clone("user")
    yield row(Try("user", infer, (ANSWER,)), "user, no sudo, packages there")


def as_root(system: System, row: Row, test: str | None) -> Iterator[tuple[str, bool]]:
    """The tries of root."""
    infer = "make infer"
    system.clone("root")
    wants = (ADMINISTRATOR, "DEPS=no")
    yield row(Try("root", f"{infer} DEPS=no", wants, fails=True), "root")
    yield row(Try("root", infer, (INSTALLS, ANSWER), installs=True), "root")
    if test is not None:
        wants = (INSTALLS, " passed")
        yield row(Try("root", f"make test {test}".strip(), wants, installs=True), "root")


TRIES = {"user": as_user, "root": as_root}


def rows(
    release: str, base: Path, root: Path, who: str, test: str | None
) -> Iterator[tuple[str, bool]]:
    """Each try on this release: its row of the table, and whether it went as it should."""
    system = furnish(base, root)

    def row(case: Try, says: str) -> tuple[str, bool]:
        count = len(system.failures)
        return system.carry_out(case, f"{release}, {says}"), len(system.failures) == count

    return TRIES[who](system, row, test)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "releases", nargs="+", metavar="RELEASE", help="Debian's or Ubuntu's codename"
    )
    parser.add_argument("--test", metavar="ARGUMENTS", help="also `make test ARGUMENTS`, may be ''")
    parser.add_argument("--who", choices=TRIES, help="only the tries of this one")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/quasar-bare"))
    parser.add_argument("--mirror", help="default: this machine's own")
    parser.add_argument("--components", default="main", help="of --mirror, with commas")
    parser.add_argument(
        "--keep", action="store_true", help="keep the last system tried, RELEASE.tried"
    )
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("needs root, for chroot and mounts: run it with sudo")
    if not shutil.which("debootstrap"):
        sys.exit("needs debootstrap: apt-get update && apt-get install debootstrap")
    if options.mirror:
        url, components = options.mirror, options.components
    else:
        url, components = mirror(platform.freedesktop_os_release()["ID"].capitalize())
    options.folder.mkdir(parents=True, exist_ok=True)
    head = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "log", "-1", "--format=%h of %cs, %s"]
    commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    print("commit", commit, flush=True)
    table: list[tuple[str, bool]] = []
    for release in options.releases:
        base = bootstrap(release, options.folder, url, components)
        tried = options.folder / f"{release}.tried"
        for who in [options.who] if options.who else TRIES:
            table += rows(release, base, tried, who, options.test)
        if not options.keep:
            shutil.rmtree(tried)
    print(f"\ncommit {commit}", *(line for line, _ in table), sep="\n")
    sys.exit(not all(right for _, right in table))


if __name__ == "__main__":
    main()
