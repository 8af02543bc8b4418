"""The rtl device: the accelerator's own RTL, simulated cycle by cycle, driven as a board is.

Verilator's model of `hw_src/rtl` (built by `quasar_runtime.devices.rtl.build`) runs against a model
of the external memory. The driver here touches nothing but the register map and the interrupt, so
its cycle counts and its faults are those of the hardware.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quasar_runtime.cache import VARIABLE
from quasar_runtime.cycles.predict import Ddr, program_cycles
from quasar_runtime.devices.base import Device, Job, Memory
from quasar_runtime.devices.registers import check_identity, cycles, fault, write_job
from quasar_runtime.devices.rtl.build import Build, library
from quasar_runtime.devices.rtl.watch import Progress, Waves
from quasar_runtime.errors import ArenaError, DeviceClosed, DeviceError, DeviceFault, DeviceTimeout
from quasar_runtime.files import check_output
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Control, Status
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, check
from quasar_runtime.process import Owner
from quasar_runtime.resources import data_folder

FIRST_ADDRESS, GAP = 0x8_0000_0000, 0x1_0000
"""Where memories begin (the ZCU102's upper DDR), and what lies unmapped between them."""
EVERYTHING = 2**40
"""Bytes of the areas whose size is not known yet."""
SLACK = 10
"""A run may take so many times the predicted cycles: one that takes more hangs."""
SLICE = 0.05
"""Seconds of simulation between looks at the clock, at Python's signals and at `progress`."""
RESET_CYCLES = 200_000
"""Cycles in which a reset must lead to idle: longer than STALL_CYCLES."""
CHANNELS = ("AR", "R", "AW", "W", "B")
RESPONSES = {"silent": 0, "SLVERR": 2, "DECERR": 3}
MOST_PORTS = 8


@dataclass(frozen=True)
class MemoryModel:
    """The external memory.

    latency       cycles from a read burst's acceptance to its first beat, and from a write burst's
                  last beat to its response
    gigabytes     bandwidth in all, 1e9 bytes per second
    port_gigabytes  bandwidth of a DDR controller's port
    groups        the controller's port behind each read port and, last, the write port; by default
                  the read ports take HP0, HP3, HP1, HP2 and the write port HP1, where HP1 and HP2
                  share one
    outstanding   bursts that a port accepts before the first is answered
    backpressure  chance in [0, 1) that a handshake is withheld for a cycle
    seed          of the backpressure, and of the registers' first contents in checked builds
    """

    latency: int = 150
    gigabytes: float = 12.0
    port_gigabytes: float = 8.5
    groups: tuple[int, ...] | None = None
    outstanding: int = 16
    backpressure: float = 0.0
    seed: int = 0


class _Config(ctypes.Structure):
    _fields_ = (
        ("read_ports", ctypes.c_uint32),
        ("latency", ctypes.c_uint32),
        ("bandwidth", ctypes.c_uint32),
        ("group_bandwidth", ctypes.c_uint32),
        ("outstanding", ctypes.c_uint32),
        ("backpressure", ctypes.c_uint32),
        ("group", ctypes.c_uint32 * MOST_PORTS),
        ("seed", ctypes.c_uint64),
    )


class RtlDevice(Device):
    """The accelerator in simulation.

    memory       the external memory's behaviour
    checked      build with assertions, and with random bits as first contents
    waves        signals to record; `waves_recorded` says after closing how many cycles they hold
    progress     called about 20 times per second while a run is simulated, and when it ends
    cycle_limit  cycles after which a run has taken too long; by default ten times what the cycle
                 model predicts for the program that was loaded
    sources      folder of the SystemVerilog, by default hw_src/rtl
    report       gets a line for each step of a build and an empty one at its end, by default
                 standard error's terminal

    Opening builds the simulation unless the cache has it (a minute or two). DeviceNotFound when
    Verilator or g++ is missing, DeviceError when the build fails, OverlayError when the registers
    name another overlay.
    """

    name = "rtl"
    timeout = math.inf

    def __init__(
        self,
        overlay: Overlay,
        *,
        memory: MemoryModel | None = None,
        checked: bool = False,
        waves: Waves | None = None,
        progress: Callable[[Progress], None] | None = None,
        cycle_limit: int | None = None,
        sources: Path | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._owner = Owner("rtl device")
        self.overlay = overlay
        self.tick_hz = overlay.clock_mhz * 1e6
        self.memory = memory or MemoryModel()
        self.progress = progress
        self.cycle_limit = cycle_limit
        self.cycles_per_second = 0.0
        self._memories: list[Memory] = []
        self._next = FIRST_ADDRESS
        self.waves = waves
        self.waves_recorded = 0
        self._recording = False
        self._predicted: dict[int, int | None] = {}  # by the program's address
        self._expected: int | None = None  # of the run under way
        self._running = False
        self._handle: int | None = None
        if waves:
            check_output(waves.path, error=DeviceError)  # not after the build and a long run
        sources = sources or data_folder("hw_src") / "rtl"
        build = Build(overlay, sources.resolve(), waves.format if waves else "", checked)
        self._library = _open_library(library(build, report or _to_terminal))
        self._open()

    def _open(self) -> None:
        """A simulation in reset, and a look at what it says it is."""
        handle = self._library.sim_new(ctypes.byref(self._config()))
        if not handle:
            raise DeviceError("an assertion failed in reset; this is a bug in hw_src")
        self._handle = handle
        try:
            check_identity(
                self._read, self.overlay, "the RTL and overlay.json do not belong together"
            )
        except BaseException:
            self.close()
            raise

    def _config(self) -> _Config:
        m, ports = self.memory, self.overlay.read_ports
        if not 0 <= m.backpressure < 1 or m.outstanding < 1 or m.latency < 1:
            raise DeviceError(f"{m}: backpressure is in [0, 1), latency and outstanding at least 1")
        groups = m.groups or (*(0, 2, 1, 1)[:ports], 1)
        return _Config(
            ports,
            m.latency,
            round(m.gigabytes * 1e9 / self.tick_hz * 256),
            round(m.port_gigabytes * 1e9 / self.tick_hz * 256),
            m.outstanding,
            int(m.backpressure * 256),
            (ctypes.c_uint32 * MOST_PORTS)(*groups),
            m.seed,
        )

    def allocate(self, size: int) -> Memory:
        """Zeroed memory of `size` bytes in the simulated DDR, aligned to 64."""
        handle = self._require_open()
        room = np.zeros(size + hw.ALIGNMENT, np.uint8)
        start = -room.ctypes.data % hw.ALIGNMENT
        memory = Memory(room[start : start + size], self._next)
        self._next += -(-size // GAP) * GAP + GAP
        self._library.sim_map(handle, memory.address, room.ctypes.data + start, size)
        self._memories.append(memory)
        return memory

    def free(self, memory: Memory) -> None:
        """Give memory back; ArenaError if it is not this device's."""
        if memory not in self._memories:
            raise ArenaError(f"memory at {memory.address:#x} is not from this device's allocate")
        self._library.sim_unmap(self._require_open(), memory.address)
        self._memories.remove(memory)

    def load(self, program: int, program_bytes: int, count: int) -> None:
        """Predict the program's cycles, for its deadline and for `progress`."""
        self._predicted[program] = self._predict(program, program_bytes, count)

    def _predict(self, address: int, size: int, count: int) -> int | None:
        """Cycles of the program at an address, None for one that the accelerator will refuse."""
        for memory in self._memories:
            data = memory.array[address - memory.address :][:size]
            if memory.address <= address and data.size == size >= count * hw.DESCRIPTOR_BYTES:
                break
        else:
            return None
        program = Program(
            self.overlay, data, ("",) * count, (0,) * count, 0, 0, np.zeros(0, np.float32), 0
        )
        if check(program.descriptors, self.overlay, size, EVERYTHING, EVERYTHING):
            return None
        m = self.memory
        ddr = Ddr(m.latency, m.gigabytes, m.port_gigabytes)
        # A withheld handshake is a lost cycle at worst.
        return int(program_cycles(program, ddr).total / (1 - m.backpressure))

    def submit(self, job: Job) -> None:
        """Write the job's registers and start. DeviceError while another run is under way."""
        status = self._read("STATUS")
        if status & Status.BUSY:
            raise DeviceError("a run is under way; wait for it, or reset", self.state())
        if status & Status.ERROR:
            self.reset()
        write_job(self._write, job)
        self._expected = self._predicted.get(job.program)
        self._open_waves()
        self._write("CONTROL", Control.START)
        self._running = True

    def _open_waves(self) -> None:
        """Begin the recording with the first run's start."""
        if self.waves and not self._recording:
            path = str(self.waves.path).encode()
            window = self.waves.begin, self.waves.end
            if self._library.sim_trace(self._require_open(), path, *window):
                raise DeviceError(
                    f"{self.waves.path}: the waves cannot be written; give another file"
                )
            self._recording = True

    def wait(self, timeout: float) -> None:
        """Simulate until the interrupt, for at most `timeout` seconds and the limit of cycles."""
        self._require_open()
        if not self._running:
            return
        try:
            late = self._simulate(timeout)
            state = self.state()
        except BaseException:
            self._running = False
            raise
        self._running = False
        if late:
            self.reset()
            predicted = "" if self._expected is None else f", predicted {self._expected} in all"
            raise DeviceTimeout(
                f"the run did not end within {late} (at descriptor {state['ERROR_DESCRIPTOR']} of "
                f"{state['DESCRIPTOR_COUNT']} after {cycles(state)} cycles{predicted}); allow "
                "more, or record waves to see where it waits",
                state,
            )
        self._write("INTERRUPT_STATUS", state["INTERRUPT_STATUS"])
        if state["STATUS"] & Status.ERROR:
            raise DeviceFault(fault(state), state)

    def _simulate(self, timeout: float) -> str | None:
        """Step until the interrupt; None, or the limit that was reached, in words."""
        handle, count, done = self._require_open(), 1000, 0
        begin = time.monotonic()
        now, limit = begin, self._limit()
        late = None
        while late is None and not self._library.sim_irq(handle):
            count = min(count, limit - done)
            done += self._checked(self._library.sim_run(handle, count))
            before, now = now, time.monotonic()
            self.cycles_per_second = done / max(now - begin, 1e-9)
            count = max(1000, min(4 * count, int(count * SLICE / max(now - before, 1e-6))))
            if now - begin >= timeout:
                late = f"{timeout:g} s"
            elif done >= limit:
                late = f"{limit} cycles"
            self._tell(done, running=True)
        self._tell(done, running=False)
        return None if self._library.sim_irq(handle) else late

    def _limit(self) -> int:
        """Cycles that a run may take."""
        if self.cycle_limit is not None:
            return self.cycle_limit
        return sys.maxsize if self._expected is None else SLACK * self._expected

    def _tell(self, cycles: int, running: bool) -> None:
        if self.progress:
            self.progress(Progress(cycles, self._expected, self.cycles_per_second, running))

    @property
    def cycles(self) -> int:
        """Cycles of the last run."""
        return self._read("CYCLES_HI") << 32 | self._read("CYCLES_LO")

    def bytes_moved(self) -> list[int]:
        """Bytes over each read port and, last, the write port, since the device was opened."""
        handle = self._require_open()
        return [self._library.sim_bytes(handle, p) for p in range(self.overlay.read_ports + 1)]

    def inject(self, port: int, channel: str, after: int, response: str) -> None:
        """Arm a fault of the memory: `after` so many handshakes of a channel, one answer of
        'SLVERR' or 'DECERR' (on R or B), or 'silent' from then on. For tests.
        """
        self._library.sim_fault(
            self._require_open(), port, CHANNELS.index(channel), after, RESPONSES[response]
        )

    def clear_faults(self) -> None:
        """Disarm every fault: a port that had fallen silent answers again."""
        self._library.sim_clear_faults(self._require_open())

    def state(self) -> dict[str, int]:
        """Every register by name."""
        return {r.name: self._read(r.name) for r in hw.REGISTERS}

    def reset(self) -> None:
        """The CONTROL register's reset; the reset line when that does not lead to idle in time,
        because a port owes an answer that never comes.
        """
        self._running = False
        self._write("CONTROL", Control.RESET)
        handle, waited = self._require_open(), 0
        while not self._read("STATUS") & Status.IDLE:
            if waited >= RESET_CYCLES:
                self._checked(self._library.sim_reset(handle, 16))
                break
            self._checked(self._library.sim_run(handle, 100))
            waited += 100

    def close(self) -> None:
        """Finish the waves and free the simulation; may be repeated."""
        if not self._owner.is_here():
            return  # the waves' file is the parent's to finish
        handle, self._handle = self._handle, None
        if handle is not None:
            self.waves_recorded = self._library.sim_close_trace(handle)
            self._library.sim_delete(handle)
        self._memories.clear()

    def describe(self) -> dict[str, str]:
        """Facts for people: the memory model."""
        m = self.memory
        return {
            "clock": f"{self.overlay.clock_mhz} MHz",
            "memory": f"{m.latency} cycles, {m.gigabytes:g} GB/s",
        }

    def _write(self, name: str, value: int) -> None:
        self._access(name, self._library.sim_write, value)

    def _read(self, name: str) -> int:
        value = ctypes.c_uint32()
        self._access(name, self._library.sim_read, ctypes.byref(value))
        return value.value

    def _access(self, name: str, function: Callable[..., int], argument: object) -> None:
        handle = self._require_open()
        response = self._checked(function(handle, hw.REGISTER[name].offset, argument))
        if response:
            what = "did not answer" if response < 0 else f"answered {response}"
            raise DeviceError(f"register {name} {what}; this is a bug in hw_src")

    def _checked(self, result: int) -> int:
        """A call's result, unless an assertion failed or the RTL broke a rule of AXI."""
        message = self._library.sim_message(self._require_open()).decode()
        if message:
            raise DeviceError(f"the simulation stopped: {message}; this is a bug in hw_src")
        return result

    def _require_open(self) -> int:
        self._owner.require()
        if self._handle is None:
            raise DeviceClosed("the rtl device is closed; open a new one")
        return self._handle


def _open_library(path: Path) -> ctypes.CDLL:
    """The simulation's C interface, with its types."""
    try:
        lib = ctypes.CDLL(str(path))
    except OSError as e:
        raise DeviceError(
            f"the simulation cannot be loaded ({e}); remove {path} and it is built again, or set "
            f"{VARIABLE} to a folder whose libraries may be loaded (not mounted noexec)"
        ) from None
    u32, u64, handle = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "sim_new": (handle, [ctypes.POINTER(_Config)]),
        "sim_delete": (None, [handle]),
        "sim_map": (None, [handle, u64, ctypes.c_void_p, u64]),
        "sim_unmap": (ctypes.c_int, [handle, u64]),
        "sim_write": (ctypes.c_int64, [handle, u32, u32]),
        "sim_read": (ctypes.c_int64, [handle, u32, ctypes.POINTER(u32)]),
        "sim_run": (ctypes.c_int64, [handle, u64]),
        "sim_reset": (ctypes.c_int64, [handle, u64]),
        "sim_irq": (ctypes.c_int, [handle]),
        "sim_bytes": (u64, [handle, u32]),
        "sim_fault": (None, [handle, u32, u32, u64, u32]),
        "sim_clear_faults": (None, [handle]),
        "sim_message": (ctypes.c_char_p, [handle]),
        "sim_trace": (ctypes.c_int, [handle, ctypes.c_char_p, u64, u64]),
        "sim_close_trace": (u64, [handle]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _to_terminal(line: str) -> None:
    """A build's step, in place, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
