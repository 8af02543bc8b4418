#!/usr/bin/env python3
"""Run commands in an arm64 root file system on this machine, emulated by qemu-user as a Cortex-A53.

    emulated_root.py apt RELEASE           # the lines of /etc/apt/sources.list for a Debian release
    emulated_root.py run ROOT COMMAND      # a shell command in ROOT, as root; ends with its code

Mirrors and pip's settings are this machine's own: apt's sources, pip's configuration files, PIP_*
and the proxy variables. Folders that pip's settings name are bound into the root, read-only, and
certificates copied. MIRROR=URL takes another mirror, CPU=NAME another of QEMU's processors.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

QEMU = "/usr/bin/qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
MAGIC = "7f454c460201010000000000000000000200b700"
"""The first 20 bytes of an ELF program for 64-bit ARM: class, byte order, type and machine."""
MASK = "ffffffffffffff00fffffffffffffffffeffffff"
"""Which of their bits must match: any ABI, executables and position-independent ones."""
KEPT = re.compile(r"(PIP_\w+|(https?|ftp|all|no)_proxy|SSL_CERT_FILE|\w+_CA_BUNDLE|TERM)", re.I)
"""Variables that a command in the root gets from this environment."""
ENTER = """
set -eu
root=$1 command=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for folder; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,ro,bind "$root$folder"
done
exec chroot "$root" /bin/sh -euc "$command"
"""


class Unusable(Exception):
    """What this machine lacks, and what to do."""


def mirrors(targets: str, release: str) -> list[str]:
    """Source lines of a Debian release, from the answer of `apt-get indextargets`.

    Those of this machine where it runs that release; else the release's main archive on the
    machine's own mirror.
    """
    found, archive = [], ""
    for target in targets.split("\n\n"):
        of = dict(re.findall(r"^([\w-]+): (.*)$", target, re.M))
        if of.get("Created-By") != "Packages" or of.get("Component") != "main":
            continue
        if of.get("Origin") != "Debian":
            continue
        site, suite = of["Repo-URI"], of["Release"]
        if not suite.endswith("-security"):
            archive = archive or site
        if re.sub(r"-(updates|security)$", "", suite) == release:
            found.append(f"deb {site} {suite} main")
    if not any(line.endswith(f" {release} main") for line in found):
        if not archive:
            raise Unusable(
                "apt knows no Debian archive here; run apt-get update, or name one with MIRROR=URL"
            )
        return [f"deb {archive} {release} main"]
    return found


def pip_settings(listing: str) -> str:
    """A pip.conf, from the answer of `pip config list`; variables travel by themselves."""
    sections: dict[str, list[str]] = {}
    for section, key, value in re.findall(r"^([\w-]+)\.([\w-]+)='(.*)'$", listing, re.M):
        value = value.encode().decode("unicode_escape")
        lines = "\n    ".join(value.split()) if key in MANY else value
        sections.setdefault(section, []).append(f"{key} = {lines}")
    return "".join(
        "\n".join([f"[{name}]", *settings]) + "\n" for name, settings in sections.items()
    )


MANY = ("extra-index-url", "find-links", "constraint", "trusted-host")
"""Settings of pip that hold several values."""


def named_paths(settings: str, environment: Mapping[str, str]) -> list[Path]:
    """The files and folders of this machine that settings and variables name.

    Of an index the folder around it: its pages link to files beside it.
    """
    kept = [value for name, value in environment.items() if KEPT.fullmatch(name)]
    words = re.split(r"[\s=]+", "\n".join([settings, *kept]))
    paths = {Path(word) for word in words if word.startswith("/")}
    paths |= {Path(word[7:]).parent for word in words if word.startswith("file:///")}
    return sorted(path for path in paths if path.exists() and path != Path("/"))


def environment_inside(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command in the root: its own, and what reaches the network."""
    return {
        **{name: value for name, value in environment.items() if KEPT.fullmatch(name)},
        "HOME": "/root",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "QEMU_CPU": environment.get("CPU", "cortex-a53"),
    }


def folders_to_bind(paths: list[Path]) -> list[str]:
    """Folders of wheels and indexes; a folder's part need not be bound when the folder is."""
    folders = [path if path.is_dir() else None for path in paths]
    found: list[Path] = []
    for folder in filter(None, folders):
        if not any(folder.is_relative_to(other) for other in found):
            found.append(folder)
    return [str(folder) for folder in found]


def prepare(root: Path, environment: Mapping[str, str]) -> list[str]:
    """Give a root this machine's names and pip's settings. Returns the folders to bind."""
    listing = _output([sys.executable, "-m", "pip", "config", "list"])
    settings = pip_settings(listing)
    (root / "etc/pip.conf").write_text(settings)
    for name in ("resolv.conf", "hosts"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(Path("/etc") / name, root / "etc" / name)
    paths = named_paths(settings, environment)
    for path in paths:
        if path.is_file():
            (root / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / path.relative_to("/"))
    return folders_to_bind(paths)


@contextlib.contextmanager
def emulation() -> Iterator[None]:
    """Let Linux start programs for 64-bit ARM by qemu, for as long as this lasts."""
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=False)
    if not (BINFMT / "register").exists():
        raise Unusable("the kernel has no binfmt_misc, by which programs for arm64 are started")
    if not Path(QEMU).exists():
        raise Unusable(f"{QEMU} is missing; apt-get install qemu-user-static")
    if _starts_arm64():
        yield
        return
    name = f"quasar-arm64-{os.getpid()}"
    escaped = ("".join(f"\\x{word[i : i + 2]}" for i in range(0, 40, 2)) for word in (MAGIC, MASK))
    # F: the kernel opens qemu now, so that it need not lie in the root.
    (BINFMT / "register").write_text(f":{name}:M::{':'.join(escaped)}:{QEMU}:F")
    try:
        yield
    finally:
        (BINFMT / name).write_text("-1")


def _starts_arm64() -> bool:
    """Whether the system starts arm64 programs in any root; what another of these commands
    registered does not count, since it goes with that one."""
    ours = ("register", "status", "quasar-")
    texts = (p.read_text() for p in BINFMT.iterdir() if not p.name.startswith(ours))
    return any(
        text.startswith("enabled") and f"magic {MAGIC}" in text and "flags: F" in text
        for text in texts
    )


def run(root: Path, command: str, environment: Mapping[str, str]) -> int:
    """Run a shell command in the root, with processes and mounts of its own that end with it."""
    folders = prepare(root, environment)
    outer = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    with emulation():
        arguments = [*outer, "sh", "-c", ENTER, "sh", str(root), command, *folders]
        return subprocess.run(arguments, env=environment_inside(environment)).returncode


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(arguments: list[str]) -> int:
    match arguments:
        case ["apt", release]:
            if mirror := os.environ.get("MIRROR"):
                print(f"deb {mirror} {release} main")
            else:
                print("\n".join(mirrors(_output(["apt-get", "indextargets"]), release)))
            return 0
        case ["run", root, command]:
            return run(Path(root).resolve(), command, os.environ)
    print((__doc__ or "").split("\n\n")[1], file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Unusable as e:
        sys.exit(f"emulated_root.py: {e}")
