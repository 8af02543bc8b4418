"""What a board device holds and has to give back: the lock, the accelerator, buffers, interrupt.

Apart from the device, so that its finalizer can hold it.
"""

from __future__ import annotations

import ctypes
import os
import time
import warnings
from typing import Any

import numpy as np

from quasar_runtime.devices.base import Memory
from quasar_runtime.devices.board.fabric import Fabric, NoInterrupt
from quasar_runtime.devices.board.interrupt import InterruptLine
from quasar_runtime.devices.board.lock import BoardLock
from quasar_runtime.errors import ArenaError, DeviceError
from quasar_runtime.isa.interface import Control, Status

RESET_SECONDS = 1.0
"""In which a reset must lead to idle: thousands of times STALL_CYCLES."""
MOST_MISSES = 3
"""Interrupts in a row that may stay out before runs are polled for."""
FENCE_BYTES = 4096


class Hardware:
    """The board while a device is open: taken by `lock`, then `open`ed, at last `close`d."""

    fabric: Fabric

    def __init__(self, lock: BoardLock) -> None:
        self.line: InterruptLine | None = None
        self.silence = ""
        self.buffers: dict[Memory, Any] = {}
        self._misses = 0
        self._fence: Any = None
        self._lock = lock
        self._process = os.getpid()

    def open(self, fabric: Fabric) -> None:
        """Take over a loaded accelerator: stop it, and get ready to hear it."""
        self.fabric = fabric
        self.stop()
        self._fence = fabric.allocate(FENCE_BYTES, cacheable=True)
        try:
            self.line = fabric.interrupt()
        except NoInterrupt as e:
            self.silence = str(e)

    def stop(self) -> None:
        """Idle, whatever it takes. DeviceError when not even loading the bitstream helps."""
        if self._reset():
            return
        self.fabric.reload()
        if not self._reset():
            raise DeviceError(
                f"the accelerator is not idle (STATUS {self.fabric.read('STATUS')}) after a reset "
                "and after loading its bitstream anew; power-cycle the board"
            )

    def allocate(self, size: int) -> Memory:
        """Uncached memory, zeroed. What PYNQ gave stays here: buffers derived from one have
        addresses that are not theirs.
        """
        buffer = self.fabric.allocate(size, cacheable=False)
        memory = Memory(np.asarray(buffer), int(buffer.device_address))
        self.buffers[memory] = buffer
        memory.array[:] = 0
        return memory

    def free(self, memory: Memory) -> None:
        """Give a buffer back."""
        self.buffers.pop(memory).freebuffer()

    def drain(self) -> None:
        """Complete the CPU's writes to uncached memory.

        Cleaning any cached buffer does it, since cache maintenance ends with a barrier (DSB) that
        waits for all writes before it. DeviceError when XRT fails to.
        """
        try:
            self._fence.flush()
        except (RuntimeError, OSError) as e:
            raise DeviceError(f"XRT cannot flush a buffer ({e}); see dmesg") from None

    def check_range(self, memory: Memory, offset: int, size: int) -> None:
        """ArenaError unless the range lies in memory of this device."""
        if memory not in self.buffers:
            raise ArenaError(f"memory at {memory.address:#x} is not from this device's allocate")
        if not 0 <= offset <= offset + size <= memory.array.size:
            raise ArenaError(
                f"{size} bytes at offset {offset} reach outside the memory's {memory.array.size}"
            )

    def check_area(self, what: str, address: int, size: int) -> None:
        """ArenaError unless the device addresses lie in one of the buffers."""
        for memory in self.buffers:
            first, end = memory.address, memory.address + memory.array.size
            if first <= address <= address + size <= end:
                return
        raise ArenaError(
            f"{what}: {size} bytes at {address:#x} are outside the memory of this device; use "
            "addresses from its allocate"
        )

    def arm(self) -> None:
        """Listen for the interrupt from here on, where it can be heard."""
        if self.line is not None:
            try:
                self.line.arm()
            except OSError as e:
                self._stop_listening(f"the UIO file {self.line.path} fails ({e})")

    def listen(self, seconds: float) -> bool:
        """Whether the interrupt came within that time."""
        if self.line is not None:
            try:
                return self.line.wait(seconds)
            except OSError as e:
                self._stop_listening(f"the UIO file {self.line.path} fails ({e})")
        return False

    def count_interrupt(self, heard: bool) -> None:
        """Note whether a run's end was heard; after MOST_MISSES in a row, stop listening."""
        self._misses = 0 if heard else self._misses + 1
        if self._misses >= MOST_MISSES and self.line is not None:
            self._stop_listening(
                f"{MOST_MISSES} runs ended without an interrupt at {self.line.path}"
            )

    def _stop_listening(self, reason: str) -> None:
        assert self.line is not None, "there is nothing to listen to"
        self.line.close()
        self.line, self.silence = None, reason
        warnings.warn(
            f"{reason}; from here on runs are polled for. See docs/board.md, interrupt",
            RuntimeWarning,
            stacklevel=2,
        )

    def close(self) -> None:
        """Stop the accelerator, then free everything and let others have the board.

        Memory of an accelerator that does not stop stays allocated: it may still be written to.
        """
        if os.getpid() != self._process:
            self._forget()
            return
        try:
            if hasattr(self, "fabric"):
                self.stop()
            for memory in list(self.buffers):
                self.free(memory)
            if self._fence is not None:
                self._fence.freebuffer()
        finally:
            if self.line is not None:
                self.line.close()
            self._lock.release()

    def _forget(self) -> None:
        """In a forked child, where all of it is the parent's: PYNQ's buffers free themselves when
        they are collected, so here they never are.
        """
        for buffer in (*self.buffers.values(), self._fence):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(buffer))
        self.buffers.clear()

    def _reset(self) -> bool:
        self.fabric.write("CONTROL", Control.RESET)
        deadline = time.monotonic() + RESET_SECONDS
        while not self.fabric.read("STATUS") & Status.IDLE:
            if time.monotonic() > deadline:
                return False
            time.sleep(1e-4)
        return True
