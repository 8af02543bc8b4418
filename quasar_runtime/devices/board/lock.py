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
        self._file = self._acquire()
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let others have it. To be called once."""
        with suppress(OSError):
            self._path.unlink()
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)

    def _acquire(self) -> int:
        """The locked file. One that its holder removed while it was being opened is no lock."""
        while True:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as e:
                raise DeviceError(
                    f"the lock file {self._path} cannot be opened ({e.strerror}); run as the user "
                    "who owns it, usually root: sudo -E"
                ) from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = _holder(file)
                os.close(file)
                raise DeviceError(
                    f"the board is busy, held by {holder}; wait until it ends, or stop it"
                ) from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), self._path.stat()):
                    return file
            os.close(file)


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
