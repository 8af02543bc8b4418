"""Overlays as packages: a folder with parameters, bitstream, handoff and their checksums.

    overlays/NAME/overlay.json   the parameters, always there
                  NAME.bit       the bitstream, once Vivado has built it
                  NAME.hwh       its hardware handoff
                  SHA256SUMS     of these three, as `sha256sum -c` reads it

The checksum of overlay.json is part of it because a bitstream is built for parameters: when they
are changed afterwards, the package no longer verifies.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from quasar_runtime.errors import OverlayError, printable
from quasar_runtime.files import open_regular, read_text
from quasar_runtime.isa.overlay import Overlay, load_overlay, parse_overlay
from quasar_runtime.resources import PACKAGE, data_folder

PARAMETERS, CHECKSUMS = "overlay.json", "SHA256SUMS"
MAX_FILE_BYTES = 256 << 20
"""A bitstream of the ZCU102's device has 26 MB."""
MAX_ARCHIVE_BYTES = 4 * MAX_FILE_BYTES
"""All that an archive unpacks to: no decompression bomb fills the disk."""
STDERR = 2
SCRATCH = ".new-"
AT_FDCWD, RENAME_EXCHANGE = -100, 2
VIVADO_FOLDER = PACKAGE.parent / "hw_src" / "vivado"
"""Of a source checkout; an installed package has none."""


@dataclass(frozen=True)
class Package:
    """An overlay's folder. `bitstream` and `handoff` are None where there is no such file."""

    name: str
    folder: Path
    overlay: Overlay
    bitstream: Path | None
    handoff: Path | None


def how_to_get(name: str) -> str:
    """How to get the bitstream of an overlay whose folder has none."""
    return (
        f"build it with `quasar overlays build {name}` where Vivado is installed, "
        "or install a package that was built elsewhere with `quasar overlays install FILE`"
    )


def load_package(name: str) -> Package:
    """The package of that name, unverified. Raises OverlayError when there is no such overlay."""
    return _package(data_folder("overlays") / name, load_overlay(name))


def verify_package(package: Package) -> None:
    """Check every file against SHA256SUMS.

    Raises OverlayError when the bitstream or a file is missing, or has another checksum.
    """
    if package.bitstream is None:
        raise OverlayError(
            f"overlay '{package.name}' has no bitstream ({package.folder}): "
            + how_to_get(package.name)
        )
    expected = _read_checksums(package)
    for file in _files(package.name):
        path = package.folder / file
        if not path.is_file():
            raise OverlayError(f"{path} is missing: {how_to_get(package.name)}")
        found = _sha256(path)
        if found != expected[file]:
            raise OverlayError(_mismatch(package, path, found, expected[file]))


def bitstream(name: str) -> Path:
    """The verified bitstream of an overlay, fit to be loaded (its handoff lies beside it).

    Raises OverlayError where there is none, or where the package does not verify.
    """
    package = load_package(name)
    verify_package(package)
    assert package.bitstream is not None, "verify_package raises without one"
    return package.bitstream


def install_package(source: Path, *, replace: bool = False) -> Package:
    """Copy a built package, a folder or a `.tar.gz` of one, into the overlays' folder.

    It is verified before anything is copied, and takes the place of an overlay of that name in one
    step: an installation that is killed leaves the old overlay or the new one, and what else it
    leaves the next one removes. Raises OverlayError when it does not verify, or when an overlay of
    that name with a bitstream or with other parameters is there and `replace` is not set.
    """
    overlays = data_folder("overlays")
    with _scratch(overlays) as scratch:
        folder = source if source.is_dir() else _unpack(source, scratch / "archive")
        found = _source_package(folder, source)
        verify_package(found)
        target = overlays / found.name
        if not replace:
            _refuse_to_replace(found, target)
        try:
            _copy(found, target, scratch)
        except OSError as e:
            raise _unwritable(target, e) from None
    return load_package(found.name)


def build_overlay(name: str) -> Package:
    """Build the bitstream of an overlay by Vivado, and verify what came out.

    May take hours; Vivado's output goes to stderr. Raises OverlayError outside a source checkout
    and when the build fails.
    """
    load_overlay(name)
    if not (VIVADO_FOLDER / "Makefile").is_file():
        raise OverlayError(
            f"{VIVADO_FOLDER} does not exist: bitstreams are built in a checkout of the "
            "repository, with `make -C hw_src/vivado`"
        )
    python = f"PYTHON={sys.executable}"
    command = ["make", "-C", str(VIVADO_FOLDER), python, f"OVERLAY={name}"]
    status = subprocess.run(command, stdout=STDERR, check=False).returncode
    if status:
        raise OverlayError(
            f"`{' '.join(command)}` ended with status {status}; its last lines say why"
        )
    package = load_package(name)
    verify_package(package)
    return package


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS of the package in `folder`; the build's last step."""
    overlay = parse_overlay(read_text(folder / PARAMETERS, OverlayError), str(folder / PARAMETERS))
    lines = [f"{_sha256(folder / file)}  {file}\n" for file in _files(overlay.name)]
    (folder / CHECKSUMS).write_text("".join(lines))


def _files(name: str) -> tuple[str, str, str]:
    return PARAMETERS, f"{name}.bit", f"{name}.hwh"


def _package(folder: Path, overlay: Overlay) -> Package:
    _, bit, hwh = (folder / file for file in _files(overlay.name))
    return Package(
        overlay.name,
        folder,
        overlay,
        bit if bit.is_file() else None,
        hwh if hwh.is_file() else None,
    )


def _sha256(path: Path) -> str:
    with open_regular(path, OverlayError) as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_checksums(package: Package) -> dict[str, str]:
    path = package.folder / CHECKSUMS
    if not path.is_file():
        raise OverlayError(
            f"{path} is missing, so the bitstream cannot be verified: {how_to_get(package.name)}"
        )
    lines = read_text(path, OverlayError).splitlines()
    sums = {m[2]: m[1] for line in lines if (m := re.fullmatch(r"([0-9a-f]{64}) [ *](\S+)", line))}
    missing = [file for file in _files(package.name) if file not in sums]
    if missing:
        raise OverlayError(
            f"{path} has no line 'SHA256  {missing[0]}'; restore it, or {how_to_get(package.name)}"
        )
    return sums


def _mismatch(package: Package, path: Path, found: str, expected: str) -> str:
    text = f"{path} has the SHA-256 {found[:16]}..., {CHECKSUMS} says {expected[:16]}..."
    if path.name == PARAMETERS:
        return (
            f"{text}: the parameters were changed after the bitstream was built; "
            f"restore them, or {how_to_get(package.name)}"
        )
    return f"{text}: the file is damaged; {how_to_get(package.name)}"


def _source_package(folder: Path, source: Path) -> Package:
    path = folder / PARAMETERS
    if not path.is_file():
        raise OverlayError(
            f"{source} holds no {PARAMETERS}; a package is a folder with overlay.json, NAME.bit, "
            "NAME.hwh and SHA256SUMS, or a .tar.gz of one"
        )
    overlay = parse_overlay(read_text(path, OverlayError), str(path))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", overlay.name):
        raise OverlayError(
            f"{path}: the name {overlay.name!r} is no folder's name; "
            "letters, digits, '_', '.' and '-' are allowed"
        )
    return _package(folder, overlay)


def _unpack(source: Path, folder: Path) -> Path:
    """The folder of an archive's package; only its plain files are taken, whatever their folder."""
    if not source.exists():
        raise OverlayError(f"no such file or folder: {printable(str(source))}")
    try:
        folder.mkdir()
        with (
            open_regular(source, OverlayError) as file,
            tarfile.open(fileobj=file, mode="r:*") as archive,
        ):
            taken = 0
            for member in archive:
                taken += member.size
                if taken > MAX_ARCHIVE_BYTES:
                    raise OverlayError(
                        f"{source}: unpacks to more than {MAX_ARCHIVE_BYTES} bytes, which is "
                        "refused; is it an overlay's package?"
                    )
                name = PurePosixPath(member.name).name
                if not member.isfile() or name.startswith("."):
                    continue
                if member.size > MAX_FILE_BYTES:
                    raise OverlayError(
                        f"{source}: {member.name} has {member.size} bytes, "
                        f"at most {MAX_FILE_BYTES} are allowed; is it an overlay's package?"
                    )
                stream = archive.extractfile(member)
                assert stream is not None, "a plain file has content"
                with stream, (folder / name).open("xb") as target:
                    shutil.copyfileobj(stream, target)
    except FileExistsError:
        raise OverlayError(f"{source} holds a file twice; pack one overlay's folder") from None
    except (tarfile.TarError, EOFError, OSError) as e:
        raise OverlayError(f"{source} is no readable .tar.gz ({e}); fetch it again") from None
    return folder


def _refuse_to_replace(found: Package, target: Path) -> None:
    if not (target / PARAMETERS).is_file():
        return
    present = load_package(found.name)
    if present.bitstream is not None:
        raise OverlayError(
            f"overlay '{found.name}' already has a bitstream in {target}; use --replace"
        )
    if _sha256(target / PARAMETERS) != _sha256(found.folder / PARAMETERS):
        raise OverlayError(
            f"overlay '{found.name}' exists in {target} with other parameters than the package's; "
            "use --replace to take the package's"
        )


@contextmanager
def _scratch(overlays: Path) -> Iterator[Path]:
    """A folder beside the overlays for the time of an installation; a second one waits. What lies
    there of one that was killed goes first.
    """
    try:
        overlays.mkdir(parents=True, exist_ok=True)
        lock = os.open(overlays, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise _unwritable(overlays, e) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the folder itself; gone with the process
        for stale in overlays.glob(f"{SCRATCH}*"):
            shutil.rmtree(stale, ignore_errors=True)
        try:
            scratch = tempfile.mkdtemp(prefix=SCRATCH, dir=overlays)
        except OSError as e:
            raise _unwritable(overlays, e) from None
        try:
            yield Path(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(lock)


def _copy(package: Package, target: Path, scratch: Path) -> None:
    """Copy to a folder beside the target, then swap: no half package is ever seen."""
    fresh = scratch / "new"
    if target.is_dir():  # keeps what else lies there, such as reports
        shutil.copytree(target, fresh)
    fresh.mkdir(exist_ok=True)
    for file in (*_files(package.name), CHECKSUMS):
        shutil.copyfile(package.folder / file, fresh / file)
    if not target.is_dir():
        fresh.rename(target)
    elif not _exchange(fresh, target):
        target.rename(scratch / "old")
        fresh.rename(target)


def _exchange(one: Path, two: Path) -> bool:
    """Swap two folders at once (Linux' renameat2); False where the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    paths = os.fsencode(one), os.fsencode(two)
    return renameat2 is not None and not renameat2(
        AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE
    )


def _unwritable(path: Path, e: OSError) -> OverlayError:
    return OverlayError(
        f"{path} cannot be written ({e.strerror or e}); set QUASAR_OVERLAYS to a folder "
        "that can, with a copy of the overlays in it"
    )
