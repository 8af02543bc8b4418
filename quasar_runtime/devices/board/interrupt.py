"""The accelerator's interrupt on the board.

Its line goes through an AXI interrupt controller to the processor, where Linux offers it as a UIO
file. PYNQ's own Interrupt class is not used: it needs asyncio's event loop, which in a notebook is
already running, and has no deadline. Waiting here is one `select` on the same UIO file.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress

IER, IAR, MER = 0x08, 0x0C, 0x1C
"""Registers of the AXI interrupt controller (AMD PG099): enable, acknowledge, master enable."""
MASTER_ENABLE = 3
"""Both bits of MER: the controller's output, and hardware inputs."""
COUNT_BYTES = 4
"""What is read from a UIO file (interrupts so far), and what is written (1 to enable)."""


class InterruptLine:
    """Input `number` of the interrupt controller that `write` reaches, heard at the UIO file.

    OSError when the file cannot be opened.
    """

    def __init__(self, write: Callable[[int, int], None], number: int, path: str) -> None:
        self._write, self._mask = write, 1 << number
        self.path = path
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        write(IER, self._mask)
        write(MER, MASTER_ENABLE)

    def arm(self) -> None:
        """Forget what was, and listen: to be called when the accelerator's own status is clear."""
        assert self._file is not None, "armed after close"
        while self.wait(0):
            pass
        self._write(IAR, self._mask)
        os.write(self._file, (1).to_bytes(COUNT_BYTES, "little"))

    def wait(self, seconds: float) -> bool:
        """Whether an interrupt came within that time. Linux masks the line until `arm`."""
        assert self._file is not None, "waited for after close"
        ready, _, _ = select.select([self._file], [], [], seconds)
        if ready:
            os.read(self._file, COUNT_BYTES)
        return bool(ready)

    def close(self) -> None:
        """Mute the line. May be called twice."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                self._write(IER, 0)
            os.close(file)
