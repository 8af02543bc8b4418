"""Files and folders that users name: read when regular and bounded, listed with what was left out,
written whole or not at all.

A FIFO, a socket or a device that stands where a file was expected would block a read for ever or
feed it without end; each is named as what it is instead. Callers choose the error's type, so that
a bad picture is an ImageError and a bad labels file a DataError.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO

from quasar_runtime.errors import DataError, QuasarError, did_you_mean, printable

AnyPath = str | os.PathLike[str]

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO (named pipe)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)
"""What else than a regular file a path can name, and how messages call it."""
PART = 2**20
"""Bytes read at once of a file whose size is not known."""
MOST_TEXT = 2**26
"""Bytes of the largest text file (labels, recipes, JSON) that is read."""
MOST_NEIGHBOURS = 1000
"""Largest folder in which the closest name is looked for: a missing file must not cost seconds."""


@dataclass(frozen=True)
class Skipped:
    """Something in a folder that was left out, and why, in words for people.

    `wanted`: it looked like what was asked for, or may hold some of it. False for a linked folder.
    """

    path: Path
    why: str
    wanted: bool = True


@dataclass(frozen=True)
class Listing:
    """The files wanted of a folder and its subfolders, sorted; `skipped` is what was left out
    although it looked wanted, or could not be looked into; `others` counts the files of other kinds
    by suffix ('' for none).
    """

    found: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    others: dict[str, int]


def open_regular(path: AnyPath, error: type[QuasarError] = DataError) -> BinaryIO:
    """A regular file, opened for reading without ever blocking.

    Raises `error` when there is none (naming the closest name there is), when it is something else
    than a regular file, or when it cannot be opened.
    """
    try:
        found = os.stat(path)  # before it is opened: opening some devices has effects
        _require_regular(path, found, error)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise error(f"{_shown(path)}: {_missing(path)}") from None
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        raise error(f"{_shown(path)}: cannot be read ({_reason(e)})") from None
    try:
        _require_regular(path, os.fstat(file), error)  # exchanged in between
    except BaseException:
        os.close(file)
        raise
    return os.fdopen(file, "rb")


def read_bytes(path: AnyPath, most: int, error: type[QuasarError] = DataError) -> bytes:
    """The bytes of a regular file. Raises `error` as `open_regular` does, and beyond `most`."""
    with open_regular(path, error) as file:
        try:
            # read(n) takes n bytes of memory before it knows how many there are.
            data = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
            while (
                data is not None
                and len(data) <= most
                and (part := file.read(min(PART, most + 1 - len(data))))
            ):
                data += part  # it has grown, or is of a kind whose size is not known
        except OSError as e:
            raise error(f"{_shown(path)}: cannot be read ({_reason(e)})") from None
    if data is None:  # files of the kernel that would wait, such as /proc/kmsg
        raise error(f"{_shown(path)}: has nothing to read, no regular file's way")
    if len(data) > most:
        raise error(
            f"{_shown(path)}: more than {most} bytes, which is refused; is it the right file?"
        )
    return data


def read_text(path: AnyPath, error: type[QuasarError] = DataError, most: int = MOST_TEXT) -> str:
    """The text of a regular UTF-8 file, a byte order mark left out. Raises `error` as `read_bytes`
    does, and when it is not UTF-8.
    """
    data = read_bytes(path, most, error)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise error(
            f"{_shown(path)}: not UTF-8 text (byte {e.start} is {data[e.start]:#04x})"
        ) from None


def parse_json(
    text: str | bytes, said: str, remedy: str, error: type[QuasarError] = DataError
) -> Any:
    """A JSON value. Raises `error`, 'SAID (why); REMEDY', for what is none or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise error(f"{said} ({e}); {remedy}") from None


def read_object(
    path: AnyPath, wrong: str, remedy: str, error: type[QuasarError] = DataError
) -> dict[str, Any]:
    """A JSON object of a file. Raises `error`, 'PATH WRONG (why); REMEDY', for anything else, and
    as `read_text` does.
    """
    said = f"{_shown(path)} {wrong}"
    value = parse_json(read_text(path, error), said, remedy, error)
    if not isinstance(value, dict):
        raise error(f"{said} (no JSON object); {remedy}")
    return value


def list_files(folder: AnyPath, wanted: Callable[[str], bool]) -> Listing:
    """The regular files in `folder` and its subfolders whose names are `wanted`.

    Hidden files and folders are no part of it. A subfolder that cannot be listed, a link to
    nowhere, a linked folder (which could lead round in a circle) and anything that is no regular
    file are `skipped`, never an error.
    """
    found: list[Path] = []
    skipped: list[Skipped] = []
    others: dict[str, int] = {}

    def unlisted(e: OSError) -> None:
        skipped.append(Skipped(Path(e.filename), f"cannot be listed ({_reason(e)})"))

    for here, folders, files in os.walk(folder, onerror=unlisted):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        links = (Path(here, f) for f in folders if os.path.islink(f"{here}/{f}"))
        skipped += [Skipped(p, "a link to a folder, not followed", False) for p in links]
        for name in files:
            path = Path(here, name)
            if name.startswith("."):
                continue
            if not wanted(name):
                others[path.suffix.lower()] = others.get(path.suffix.lower(), 0) + 1
            elif why := unusable(path):
                skipped.append(Skipped(path, why))
            else:
                found.append(path)
    return Listing(tuple(sorted(found)), tuple(sorted(skipped, key=lambda s: s.path)), others)


def unusable(path: AnyPath) -> str | None:
    """Why `path` cannot be read as a file ('a link to nowhere', 'a FIFO ...'); None when it can
    be tried.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link to nowhere" if os.path.islink(path) else "no such file"
    except OSError as e:
        return f"cannot be read ({_reason(e)})"
    return None if stat.S_ISREG(mode) else f"{kind_of(mode)}, not a regular file"


def kind_of(mode: int) -> str:
    """What a `st_mode` says that something is: 'a folder', 'a FIFO (named pipe)', ..."""
    return next((name for is_kind, name in KINDS if is_kind(mode)), "a regular file")


def existing(path: Path) -> Path:
    """The path itself, or the closest folder above it that exists."""
    return next((p for p in (path, *path.parents) if os.path.lexists(p)), path)


def check_output(
    path: AnyPath, inputs: Iterable[AnyPath] = (), error: type[QuasarError] = DataError
) -> None:
    """Raise `error` unless a file can be written at `path` without harm: before the work, so that
    minutes of it are not lost.

    Its folder exists and can be written to, it is no folder, and it is none of `inputs`. A device
    such as /dev/null or /dev/stdout is allowed.
    """
    try:
        target = Path(os.path.realpath(path))  # through links, as `replacing` writes
        if target.is_symlink():
            raise error(f"{_shown(path)}: a link that leads to itself; give another name")
        if target.is_dir():
            raise error(f"{_shown(path)}: a folder; give the name of a file in it")
        if target.exists():
            _refuse_input(target, inputs, error)
        folder = target.parent
        if not folder.is_dir():
            what = "not a folder" if folder.exists() else "no such folder"
            raise error(
                f"{_shown(path)}: cannot be written: {_shown(folder)} is {what}; make it first"
            )
        writable = target if target.exists() else folder
        if not os.access(writable, os.W_OK):
            raise error(f"{_shown(path)}: cannot be written: no permission for {_shown(writable)}")
    except (OSError, ValueError) as e:
        raise error(f"{_shown(path)}: cannot be written ({_reason(e)})") from None


@contextmanager
def replacing(path: AnyPath, error: type[QuasarError] = DataError) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends, and leaves nothing behind
    when it raises or the disk is full; nor when the process is killed, where the file system knows
    files without a name. Written in place where `path` is a device or a pipe.

    Raises `error` when it cannot be written.
    """
    target = Path(path)
    if target.is_symlink():
        target = Path(os.path.realpath(target))  # the link stays, what it names is replaced
    direct = target.exists() and not target.is_file()
    partial = target if direct else target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    nameless = None if direct else _nameless(target.parent)
    try:
        with (
            partial.open("wb" if direct else "xb")
            if nameless is None
            else os.fdopen(nameless, "wb")
        ) as file:
            yield file
            file.flush()
            if not direct:
                os.fsync(file.fileno())
            if nameless is not None:  # named for the moment that the exchange takes
                os.link(f"/proc/self/fd/{nameless}", partial, src_dir_fd=nameless)
        if not direct:
            if target.exists():
                os.chmod(partial, stat.S_IMODE(target.stat().st_mode))
            os.replace(partial, target)
    except BaseException as e:
        if not direct:
            with suppress(OSError):
                partial.unlink()
        if isinstance(e, OSError):
            raise error(f"{_shown(path)}: cannot be written ({_reason(e)})") from None
        raise


def _nameless(folder: Path) -> int | None:
    """A file in `folder` that has no name and goes with the process (O_TMPFILE), opened for
    writing; None where there is no such thing.
    """
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError:  # the other way says what is wrong, if anything is
        return None


def _refuse_input(target: Path, inputs: Iterable[AnyPath], error: type[QuasarError]) -> None:
    """Raise `error` when writing to `target` would overwrite one of `inputs`."""
    found = target.stat()
    for source in inputs:
        with suppress(OSError, ValueError):
            if os.path.samestat(os.stat(source), found) and stat.S_ISREG(found.st_mode):
                raise error(
                    f"{_shown(target)}: is also read by this command; give another name to write to"
                )


def _require_regular(path: AnyPath, found: os.stat_result, error: type[QuasarError]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{_shown(path)}: {kind_of(found.st_mode)}, not a regular file")


def _missing(path: AnyPath) -> str:
    """Why there is no file at `path`, with the closest name that there is."""
    if os.path.islink(path):
        return "a link to nowhere"
    folder = os.path.dirname(path) or "."
    known: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:
        known = [entry.name for entry in islice(entries, MOST_NEIGHBOURS + 1)]
    if len(known) > MOST_NEIGHBOURS:
        known = []
    hint = did_you_mean(os.fsdecode(os.path.basename(path)), known)
    return "no such file" + (printable(hint) or "; check the path")


def _shown(path: AnyPath) -> str:
    return printable(os.fsdecode(path)) or "''"


def _reason(e: Exception) -> str:
    return getattr(e, "strerror", None) or " ".join(str(e).split())
