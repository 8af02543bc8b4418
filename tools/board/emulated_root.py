#!/usr/bin/env python3
"""Run commands in an arm64 root file system on this machine, emulated by qemu-user as a Cortex-A53.

    emulated_root.py mirror                # Debian's archive, as this machine's apt reaches it
    emulated_root.py run ROOT COMMAND      # a shell command in ROOT, as root; ends with its code

Mirrors and pip's settings are this machine's own, as for tools/bare_system.py. MIRROR=URL takes
another mirror, CPU=NAME another of QEMU's processors.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import bare_system
from bare_system import CARRIED, PATH, carried

QEMU = "/usr/bin/qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
MAGIC = "7f454c460201010000000000000000000200b700"
"""The first 20 bytes of an ELF program for 64-bit ARM: class, byte order, type and machine."""
MASK = "ffffffffffffff00fffffffffffffffffeffffff"
"""Which of their bits must match: any ABI, executables and position-independent ones."""
NAMES = (Path("/etc/resolv.conf"), Path("/etc/hosts"))
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


def environment_inside(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command in the root: its own, and what reaches the registries."""
    return {
        **carried()[0],
        "HOME": "/root",
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "TERM": environment.get("TERM", "dumb"),
        "DEBIAN_FRONTEND": "noninteractive",
        "QEMU_CPU": environment.get("CPU", "cortex-a53"),
    }


def prepare(root: Path) -> list[str]:
    """Give a root this machine's names and the files of pip's settings. The folders to bind."""
    _, folders, files = carried()
    places = {path: root / CARRIED[1:] / path.name for path in files}
    places |= {path: root / path.relative_to("/") for path in NAMES}
    for path, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, place)
    return [str(folder) for folder in folders]


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
    folders = prepare(root)
    outer = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    with emulation():
        arguments = [*outer, "sh", "-c", ENTER, "sh", str(root), command, *folders]
        return subprocess.run(arguments, env=environment_inside(environment)).returncode


def main(arguments: list[str]) -> int:
    match arguments:
        case ["mirror"]:
            print(os.environ.get("MIRROR") or bare_system.mirror("Debian")[0])
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
