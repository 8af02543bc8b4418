"""An AXI interrupt controller, and a UIO file behind its output.

The UIO file is a pseudo-terminal: what opens it can read, write and `select` as on the real one,
and PYNQ's own Interrupt class works with it too.
"""

from __future__ import annotations

import os
import threading
import tty
from collections.abc import Callable
from contextlib import suppress

ISR, IPR, IER, IAR, SIE, CIE, MER = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x1C


class UioFile:
    """Linux's UIO file of a level interrupt: it reads as the count of interrupts so far; after
    each, the interrupt is masked until 1 is written. `path` is where it lies.
    """

    def __init__(self) -> None:
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.path = os.ttyname(self._theirs)
        self._lock = threading.Lock()
        self._level = self._enabled = False
        self._count = 0
        self.deaf = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def set_level(self, level: bool) -> None:
        """The interrupt's line."""
        with self._lock:
            self._level = level
            self._fire()

    def close(self) -> None:
        """Close both ends and end the listener."""
        os.close(self._theirs)
        self._listener.join(1.0)  # its read ends when nobody has the other side open
        os.close(self._ours)

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while os.read(self._ours, 4):
                with self._lock:
                    self._enabled = True
                    self._fire()

    def _fire(self) -> None:
        if self._level and self._enabled and not self.deaf:
            self._enabled = False
            self._count += 1
            with suppress(OSError):  # closed
                os.write(self._ours, self._count.to_bytes(4, "little"))


class InterruptController:
    """Input 0 is a level; `output` is told the output's level. Registers as in AMD PG099."""

    def __init__(self, output: Callable[[bool], None]) -> None:
        self._output = output
        self._lock = threading.RLock()
        self._input = self._latched = 0
        self._enabled = self._master = 0

    def set_input(self, level: bool) -> None:
        """Drive the interrupt input."""
        with self._lock:
            self._input = int(level)
            self._update()

    def read(self, offset: int) -> int:
        """The register at a byte offset."""
        with self._lock:
            pending = self._latched & self._enabled
            values = {ISR: self._latched, IPR: pending, IER: self._enabled, MER: self._master}
            return values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write the register at a byte offset."""
        with self._lock:
            if offset == IER:
                self._enabled = value & 1
            elif offset == SIE:
                self._enabled |= value & 1
            elif offset == CIE:
                self._enabled &= ~value
            elif offset == MER:
                self._master = value & 3
            elif offset == IAR:
                self._latched &= ~value
            self._update()

    def _update(self) -> None:
        """A level input is latched for as long as it is high, whatever is acknowledged."""
        self._latched |= self._input
        self._output(self._master == 3 and bool(self._latched & self._enabled))
