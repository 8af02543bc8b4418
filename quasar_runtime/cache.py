"""The folder in which built simulations are kept: where it is, and what to say when it cannot be
written.

QUASAR_CACHE, else `quasar` under XDG_CACHE_HOME or ~/.cache. Users without a home that can be
written (a container's random user, a service) have a folder of their own in the system's temporary
one. Libraries are loaded from there, so it must belong to the user and be writable by nobody else.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from quasar_runtime.errors import DeviceError
from quasar_runtime.files import existing

VARIABLE = "QUASAR_CACHE"
NEEDED = 300
"""MB that building a simulation takes while it goes on; what is kept of it is a few MB."""


def cache_folder() -> Path:
    """The folder, absolute; it need not exist yet.

    DeviceError where there is no place for one.
    """
    if override := os.environ.get(VARIABLE):
        return _absolute(override)
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")  # as it is where no home is known
    caches = xdg if os.path.isabs(xdg) else os.path.join(home, ".cache")
    folder = Path(caches) / "quasar"
    if folder.is_absolute() and (os.path.isdir(folder) or os.access(existing(folder), os.W_OK)):
        return folder
    return _temporary()


def unusable(reason: OSError, folder: Path) -> DeviceError:
    """A cache that cannot be used, as an error that says what to do."""
    where = reason.filename or folder
    return DeviceError(
        f"{where}: {reason.strerror or reason}: simulations are kept in {folder}; set {VARIABLE} "
        f"to a folder that can be written and has {NEEDED} MB of room"
    )


def _absolute(path: str) -> Path:
    """Compilers run in other folders, where a relative path would be another one."""
    try:
        return Path(os.path.abspath(path))
    except OSError as e:
        raise DeviceError(
            f"{VARIABLE} is {path}, relative to the working directory, which is gone "
            f"({e.strerror}); give an absolute path, or change to another directory"
        ) from None


def _temporary() -> Path:
    """This user's folder in the system's temporary one, made if need be."""
    try:
        folder = Path(tempfile.gettempdir()) / f"quasar-{os.getuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = os.lstat(folder)
    except OSError as e:
        raise DeviceError(
            f"there is no home directory that can be written and no temporary folder "
            f"({' '.join(str(e).split())}); set {VARIABLE} to a folder that can be written"
        ) from None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DeviceError(
            f"{folder} is another user's, or others can write to it; remove it, or set {VARIABLE} "
            "to a folder of your own"
        )
    return folder
