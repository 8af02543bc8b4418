"""The board itself: a device that PYNQ takes for one of its own."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pynq
from pynq.buffer import PynqBuffer

from quasar_runtime.bitstream import block_design as design
from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.bitstream import package as overlay_package
from quasar_runtime.devices.board_sim.accelerator import Accelerator, NativeAccelerator
from quasar_runtime.devices.board_sim.faults import Faults
from quasar_runtime.devices.board_sim.interrupts import InterruptController, UioFile
from quasar_runtime.devices.board_sim.memory import SimulatedMemory
from quasar_runtime.devices.board_sim.processor import BLOCKS, ProcessorRegisters
from quasar_runtime.devices.native.device import NativeDevice
from quasar_runtime.errors import OverlayError
from quasar_runtime.isa.overlay import DEFAULT_OVERLAY, Overlay, load_overlay
from quasar_runtime.process import Owner
from quasar_runtime.resources import SIMULATED_BOARD, data_folder

ACCELERATORS = ("native", "rtl")
PL_INTERRUPT = 121
"""The processor's number of pl_ps_irq0's first line."""
WHOLE_BUFFER_SINCE = (3, 1)
"""PYNQ's first version whose flush and invalidate take the whole buffer."""
BITSTREAM = b"a simulated board's bitstream"


class SimulatedBuffer(PynqBuffer):  # type: ignore[misc]
    """What `pynq.allocate` gives here."""

    def freebuffer(self) -> None:
        """Return the memory. The stock method would unmap it."""
        bo = self.__dict__.pop("allocation", None)
        if bo is not None:
            self.device.memory.free(bo)


class SimulatedBoard(pynq.Device):  # type: ignore[misc]
    """A ZCU102 that carries `overlay`.

    memory     its DDR
    faults     of the accelerator, to be set
    engine     what computes: a NativeDevice or an RtlDevice
    uio        the interrupt's file; `uio.deaf` loses interrupts
    processor  its registers: clocks, widths of the memory ports
    owner      the process that has it
    downloads  how often a bitstream was loaded

    Registers answer at the addresses of `quasar_runtime.bitstream.block_design`, once a bitstream
    is loaded.
    """

    _probe_priority_ = 9
    arch = "aarch64"
    name = "simulated ZCU102"

    @classmethod
    def _probe_(cls) -> list[Any]:
        return []  # made by simulated_board alone

    def __init__(self, overlay: Overlay, accelerator: str, clock_source: str) -> None:
        super().__init__(tag())
        self.owner = Owner("simulated board")
        self.capabilities = {"REGISTER_RW": True}
        self.overlay = overlay
        self.faults = Faults()
        self.uio = UioFile()
        self.processor = ProcessorRegisters(clock_source)
        self.downloads = 0
        self._interrupts = InterruptController(self.uio.set_level)
        version = tuple(int(part) for part in pynq.__version__.split(".")[:2])
        ranged = version < WHOLE_BUFFER_SINCE
        parts = self.faults, self._interrupts.set_input
        self.engine: Any
        self.accelerator: Accelerator
        if accelerator == "rtl":
            from quasar_runtime.devices.board_sim.rtl import RtlAccelerator, RtlEngine

            self.engine = RtlEngine(overlay)
            self.memory = SimulatedMemory(self.engine, ranged=ranged, physical=True)
            self.accelerator = RtlAccelerator(self.engine, self.memory, *parts)
        else:
            self.engine = NativeDevice(overlay)
            self.memory = SimulatedMemory(self.engine, ranged=ranged)
            self.accelerator = NativeAccelerator(overlay, self.engine, self.memory, *parts)

    def read_registers(self, address: int, length: int) -> bytes:
        """`length` bytes of registers from a physical address."""
        return b"".join(
            (self._read(a) & 0xFFFF_FFFF).to_bytes(4, "little")
            for a in range(address, address + length, 4)
        )

    def write_registers(self, address: int, data: bytes) -> None:
        """Write 32-bit registers from a physical address on."""
        for i in range(0, len(data), 4):
            self._write(address + i, int.from_bytes(data[i : i + 4], "little"))

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """PYNQ's own parser on the handoff beside the bitstream."""
        frontends = importlib.import_module("pynqmetadata.frontends")
        runtime = importlib.import_module("pynqmetadata.views.runtime")
        handoff = Path(bitfile_name).with_suffix(".hwh")
        return runtime.RuntimeMetadataParser(frontends.Metadata(input=str(handoff)))

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Load a bitstream: the accelerator starts anew."""
        self.downloads += 1
        self.accelerator.power_on()
        self.post_download(bitstream, parser)

    def allocate(self, shape: Any, dtype: Any, cacheable: int = 0, **_: Any) -> SimulatedBuffer:
        """A contiguous buffer, as pynq.allocate gives it."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        bo = self.memory.allocate(count, bool(cacheable))
        buffer = SimulatedBuffer(
            shape, dtype, buffer=bo.cpu, device=self, device_address=bo.address, bo=bo
        )
        buffer.allocation = bo  # on what was allocated alone, not on what is derived from it
        return buffer

    def flush(self, bo: Any, offset: int, ptr: int, size: int) -> None:
        """Write the cache's bytes to memory."""
        self.memory.flush(bo, offset, size)

    def invalidate(self, bo: Any, offset: int, ptr: int, size: int) -> None:
        """Drop the cache's bytes."""
        self.memory.invalidate(bo, offset, size)

    def close(self) -> None:
        """Switch the board off."""
        self.accelerator.power_on()
        self.memory.closed = True
        self.engine.close()
        self.uio.close()

    def _read(self, address: int) -> int:
        target, offset = self._target(address)
        return int(target.read(offset))

    def _write(self, address: int, value: int) -> None:
        target, offset = self._target(address)
        target.write(offset, value)

    def _target(self, address: int) -> tuple[Any, int]:
        """What answers at an address, and the offset in it. Elsewhere a board would stop."""
        if address & ~0xFFFF in BLOCKS:
            return self.processor, address
        for base, target in (
            (design.REGISTERS_BASE, self.accelerator),
            (design.INTERRUPT_CONTROLLER_BASE, self._interrupts),
        ):
            if self.downloads and base <= address < base + design.REGISTERS_RANGE:
                return target, address - base
        raise OSError(f"bus error: nothing answers at {address:#x}")


class _OwnStack(ExitStack):
    """An ExitStack that does nothing in a forked child: folder, threads and files are its
    parent's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owner = Owner("simulated board")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if not self._owner.is_here():
            self.pop_all()
        return super().__exit__(kind, error, trace)


@contextmanager
def simulated_board(
    overlay: str = "b1024", *, accelerator: str = "native", clock_source: str = "IOPLL"
) -> Iterator[SimulatedBoard]:
    """PYNQ's active device is a simulated board with a package of `overlay`, until the end.

    accelerator   'native', the engine behind the register map, or 'rtl', the Verilated RTL
    clock_source  the PLL that the boot firmware chose for the programmable logic, IOPLL or RPLL

    Overlays are those of the environment, and `overlay` has a bitstream. Sessions and the command
    line find the board under the device name 'board'.
    """
    if accelerator not in ACCELERATORS:
        raise OverlayError(
            f"no accelerator named '{accelerator}'; known: {', '.join(ACCELERATORS)}"
        )
    parameters = load_overlay(overlay)
    with _OwnStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="quasar-board-"))
        stack.callback(shutil.rmtree, folder)
        shutil.copytree(data_folder("overlays"), folder / "overlays")
        write_package(folder / "overlays" / overlay, parameters)
        stack.enter_context(_environment("QUASAR_OVERLAYS", str(folder / "overlays")))
        stack.enter_context(_environment(SIMULATED_BOARD, accelerator))
        board = SimulatedBoard(parameters, accelerator, clock_source)
        stack.callback(board.close)
        stack.enter_context(_installed(board))
        yield board


def start(overlay: str | Overlay | None, accelerator: str) -> None:
    """A simulated board until the process ends, unless there is one already."""
    active = getattr(pynq.Device, "_active_device", None)
    if not isinstance(active, SimulatedBoard) or not active.owner.is_here():
        name = overlay.name if isinstance(overlay, Overlay) else overlay
        stack = ExitStack()
        board = stack.enter_context(
            simulated_board(name or DEFAULT_OVERLAY, accelerator=accelerator)
        )
        # At exit, finalizers run last made first: devices on the board have closed by then.
        weakref.finalize(board, stack.close)


def tag() -> str:
    """What PYNQ calls the board. Every process has a board of its own, so a name of its own."""
    return f"quasar_simulated_{os.getpid()}"


def write_package(folder: Path, overlay: Overlay) -> None:
    """A package that verifies: a bitstream that is none, and the generated handoff."""
    (folder / f"{overlay.name}.bit").write_bytes(BITSTREAM)
    (folder / f"{overlay.name}.hwh").write_text(hwh.generate(overlay))
    overlay_package.write_checksums(folder)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _installed(board: SimulatedBoard) -> Iterator[None]:
    """What PYNQ keeps in its modules: the active device, UIO files, clocks."""
    interrupt: Any = importlib.import_module("pynq.interrupt")
    ps: Any = importlib.import_module("pynq.ps")
    controllers = interrupt._InterruptController
    stock, meta = interrupt.get_uio_irq, pynq.Device.__dict__
    active = meta.get("_active_device")
    pynq.Device.active_device = board
    interrupt.get_uio_irq = lambda irq: board.uio.path if irq == PL_INTERRUPT else stock(irq)
    ps.Clocks._real_instance = ps._ClocksUltrascale()
    try:
        yield
    finally:
        interrupt.get_uio_irq = stock
        controllers._controllers.clear()
        controllers._uio_devices.pop(PL_INTERRUPT, None)
        del ps.Clocks._real_instance
        if active is None:
            del pynq.Device._active_device
        else:
            pynq.Device.active_device = active
