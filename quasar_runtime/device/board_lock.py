"""One process at a time on the board.

The lock is the kernel's (`flock`) on a file, so that it is gone when its holder is, however it
ended; the file's text says who that is. A child that was forked meanwhile shares the lock, which is
why it is released explicitly.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from quasar_runtime.errors import DeviceError


class BoardLock:
    """The right to use the board that PYNQ names `board`, until `release`.

    DeviceError when another process, or another device of this one, has it.
    """

    def __init__(self, board: str) -> None:
        self._path = lock_folder() / f"quasar-{board}.lock"
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as e:
            raise DeviceError(
                f"the lock file {self._path} cannot be opened ({e.strerror}); run as the user who "
                "owns it, usually root: sudo -E"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(self._file)
            os.close(self._file)
            raise DeviceError(
                f"the board is busy, held by {holder}; wait until it ends, or stop it"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let others have it. To be called once."""
        os.ftruncate(self._file, 0)
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)


def lock_folder() -> Path:
    """Where lock files lie: the system's place for them, or that for temporary files."""
    system = Path("/run/lock")
    return system if os.access(system, os.W_OK) else Path(tempfile.gettempdir())


def _holder(file: int) -> str:
    """Who holds the lock, from the file's text: PID and command."""
    text = os.pread(file, 32, 0).decode(errors="replace")
    if not text.isdigit():  # it has the lock, but has not written yet
        return "another process"
    if int(text) == os.getpid():
        return f"this process, PID {text}, with a device that is still open"
    command = ""
    with suppress(OSError):
        command = f" ({Path(f'/proc/{text}/comm').read_text().strip()})"
    return f"PID {text}{command}"
