"""The pictures of a data set on disk: an ImageFolder, or a tar of one, listed and read.

A picture is named `class/picture`. What looks like a picture and cannot be one is left out and
named: dangling links, FIFOs, sparse members of a tar. Hidden files (`._x.jpg`, `.DS_Store`) do not
count.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from quasar_runtime.errors import DataError, ImageError, did_you_mean
from quasar_runtime.files import open_regular, read_bytes, unusable
from quasar_runtime.images.prepare import MAX_BYTES, SUFFIXES, decode, is_picture_name

from ..messages import warn, warn_left_out

COMPRESSED = (
    (b"\x1f\x8b", "gzip", "tar xzf"),
    (b"BZh", "bzip2", "tar xjf"),
    (b"\xfd7zXZ", "xz", "tar xJf"),
    (b"\x28\xb5\x2f\xfd", "zstd", "tar --zstd -xf"),
    (b"PK\3\4", "a ZIP archive", "unzip"),
)
"""(first bytes, what it is, what unpacks it)."""
EXPECTED = "give a folder of class folders, or a tar of one"


@dataclass
class Listing:
    """What a data set holds.

    places: (offset, size) in a tar by name; left_out: reasons, in words; deeper: pictures that lie
    deeper than class/picture.
    """

    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    deeper: list[str] = field(default_factory=list)


class Source:
    """The pictures of an ImageFolder or a tar of one, read one by one in any order.

    names: `class/picture`, sorted. A Source can be sent to other processes, forked or not.
    DataError when there is nothing there, or it holds no pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = _list(path)
        warn_left_out((f"{path}: {why}" for why in found.left_out), str(path))
        if not found.places:
            raise DataError(_nothing(path, found))
        if found.deeper:
            warn(
                f"{path}: {len(found.deeper)} pictures that lie deeper than class/picture, such as "
                f"{found.deeper[0]}; left out"
            )
        self.names = sorted(found.places)
        self._places = found.places
        self._file: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}  # a number means nothing in another process

    def read(self, name: str) -> bytes:
        """The file's bytes. ImageError when they cannot be read, or are too many."""
        if self.path.is_dir():
            return read_bytes(self.path / name, MAX_BYTES, ImageError)
        offset, size = self._places[name]
        if size > MAX_BYTES:
            raise ImageError(f"{name}: {size} bytes, at most {MAX_BYTES} are allowed")
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._file, size, offset)
        except OSError as e:
            raise ImageError(f"{name}: cannot be read ({e.strerror})") from None
        if len(data) != size:
            raise ImageError(f"{name}: {self.path} ends before it; copy it again")
        return data

    def decode(self, name: str) -> Image.Image:
        """A picture as upright RGB.

        ImageError, whose message begins with the name, when it is none.
        """
        stream = io.BytesIO(self.read(name))
        stream.name = name
        return decode(stream)


def list_pictures(source: Path) -> list[str]:
    """Sorted names `class/picture` of the pictures in an ImageFolder or a tar of one.

    DataError when there is nothing there or it holds no pictures.
    """
    return Source(source).names


def _list(path: Path) -> Listing:
    if path.is_dir():
        return _list_folder(path)
    why = unusable(path)
    if why is not None:
        known: list[str] = []
        with suppress(OSError):
            known = os.listdir(path.parent)
        hint = did_you_mean(path.name, known) if why == "no such file" else ""
        raise DataError(f"no pictures at {path}: {why}{hint}; {EXPECTED}")
    return _list_tar(path)


def _list_folder(root: Path) -> Listing:
    """The pictures two levels down; class folders may be links."""
    found = Listing()
    for folder in _entries(root, found):
        name = os.path.basename(folder)
        if name.startswith("."):
            continue
        if not os.path.isdir(folder):
            if is_picture_name(name):
                found.deeper.append(name)
            continue
        for path in _entries(Path(folder), found):
            inner = os.path.basename(path)
            if os.path.isdir(path):
                found.deeper += _first_picture(path, root)
            elif is_picture_name(inner):
                why = unusable(path)
                if why:
                    found.left_out.append(f"{name}/{inner}: {why}")
                else:
                    found.places[f"{name}/{inner}"] = (0, 0)
    return found


def _entries(folder: Path, found: Listing) -> list[str]:
    try:
        return sorted(e.path for e in os.scandir(folder))
    except OSError as e:
        found.left_out.append(f"{folder}: cannot be listed ({e.strerror})")
        return []


def _first_picture(folder: str, root: Path) -> list[str]:
    """One picture in a folder's own files, for the message; names relative to the root."""
    try:
        with os.scandir(folder) as entries:
            found = next((e.path for e in entries if is_picture_name(e.name)), None)
    except OSError:
        return []
    return [] if found is None else [os.path.relpath(found, root)]


def _list_tar(path: Path) -> Listing:
    """The pictures in a tar; the last one of equal names, as when it is unpacked."""
    with open_regular(path) as file:
        head = file.read(16)
    for begins, what, unpack in COMPRESSED:
        if head.startswith(begins):
            raise DataError(
                f"{path}: compressed ({what}); unpack it first ({unpack} {path.name}), and give "
                "the folder"
            )
    found, size = Listing(), path.stat().st_size
    everything: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                _add_member(member, everything, found, size)
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, IndexError) as e:
        reason = " ".join(str(e).split())
        if everything:
            raise DataError(
                f"{path}: truncated or damaged after {next(reversed(everything))} ({reason}); copy "
                "it again"
            ) from None
        raise DataError(f"no pictures at {path}: not a tar ({reason}); {EXPECTED}") from None
    prefix = _common_folder(everything)
    for name, place in everything.items():
        short = name.removeprefix(prefix)
        if short.count("/") == 1:
            found.places[short] = place
        else:
            found.deeper.append(name)
    if prefix and found.places:
        warn(f"{path}: its class folders are taken to be those in {prefix}")
    return found


def _add_member(
    member: tarfile.TarInfo, everything: dict[str, tuple[int, int]], found: Listing, size: int
) -> None:
    """Add a member of a tar: a picture, something left out, or nothing."""
    parts = [p for p in member.name.split("/") if p not in ("", ".")]
    if not parts or not is_picture_name(parts[-1]) or any(p[0] == "." for p in parts[:-1]):
        if parts and ".." in parts and is_picture_name(parts[-1]):
            found.left_out.append(f"{member.name}: a name with '..'")
        return
    name = "/".join(parts)
    if member.islnk():
        target = "/".join(p for p in member.linkname.split("/") if p not in ("", "."))
        if target in everything:
            everything[name] = everything[target]
            return
    if not member.isreg() or member.sparse is not None:
        kind = "sparse" if member.isreg() else "a link" if member.issym() or member.islnk() else (
            "no regular file"
        )  # fmt: skip
        found.left_out.append(f"{name}: {kind}")
    elif member.offset_data + member.size > size:
        raise tarfile.ReadError(f"{name} reaches beyond the end")
    else:
        everything.pop(name, None)
        everything[name] = (member.offset_data, member.size)


def _common_folder(names: Iterable[str]) -> str:
    """The folders that enclose all class folders, with a slash; '' where there are none."""
    several = [n.split("/") for n in names]
    depth = 0
    while several and all(len(n) > depth + 2 and n[depth] == several[0][depth] for n in several):
        depth += 1
    return "".join(f"{part}/" for part in several[0][:depth]) if several else ""


def _nothing(path: Path, found: Listing) -> str:
    """Why a data set has no pictures, and what it has instead."""
    said = f"{path} holds no <class>/<picture> with suffix {', '.join(SUFFIXES)}"
    if found.deeper:
        first = found.deeper[0]
        if "/" not in first:
            return f"{said}; its pictures, such as {first}, lie in no class folder"
        return (
            f"{said}; its pictures lie deeper, such as {first}: give the folder above the classes"
        )
    if found.left_out:
        return f"{said}; {found.left_out[0]}"
    return said
