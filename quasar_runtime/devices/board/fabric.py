"""The board's programmable logic through PYNQ: bitstream, registers, clock, interrupt, memory.

Works with PYNQ 3.0.1 and 4.0. Everything of an overlay is compared with what it should be before
the driver goes on: the handoff's address and registers before the first access (an access where
nothing answers stops the processor), the identity registers before any other.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from quasar_runtime.bitstream import block_design as design
from quasar_runtime.bitstream.handoff import accelerator_parameters
from quasar_runtime.devices.board.interrupt import InterruptLine
from quasar_runtime.devices.registers import check_identity
from quasar_runtime.errors import ArenaError, DeviceError, DeviceNotFound, OverlayError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay

CLOCK_TOLERANCE = 0.005
"""Relative: PYNQ computes with a reference clock of 33.333 MHz, the board's is 33.33."""
REGISTER_BYTES = max(r.offset for r in hw.REGISTERS) + 4
INTERRUPT_REGISTER_BYTES = 0x20
PORT_REGISTERS, PORT_REGISTERS_APART, PORT_REGISTER_BYTES = 0xFD36_0000, 0x1_0000, 0x18
"""Of S_AXI_GP0 in the processing system (AFIFM0, AMD UG1087), and of the next ones."""
RDCTRL, WRCTRL, WIDTH = 0x00, 0x14, 3
"""Their read and write control; the lowest bits: 0 is 128 bits wide, 1 is 64, 2 is 32."""


class NoInterrupt(Exception):
    """Why the accelerator's interrupt cannot be heard; the driver then polls."""


def import_pynq() -> ModuleType:
    """The pynq package, or DeviceNotFound."""
    try:
        return importlib.import_module("pynq")
    except ImportError as e:
        raise DeviceNotFound(
            f"pynq cannot be imported ({e}); on the board, activate its environment "
            "(source /etc/profile.d/pynq_venv.sh) and install Quasar there"
        ) from None


def board_of(pynq: ModuleType) -> Any:
    """PYNQ's active device. DeviceNotFound where it finds none."""
    try:
        return pynq.Device.active_device
    except Exception as e:  # which one depends on what of XRT is missing
        raise DeviceNotFound(
            f"PYNQ finds no board ({type(e).__name__}: {e}); on a board this means that XRT is not "
            "set up: source /etc/profile.d/xrt_setup.sh, which sets XILINX_XRT, and keep it with "
            "sudo -E. PYNQ 4 also wants /proc/device-tree/chosen/pynq_board"
        ) from None


class Fabric:
    """The accelerator of `overlay` in `board`, loaded from `bitstream` (its .hwh lies beside it).

    OverlayError when handoff, registers or clock are not those of the overlay, DeviceError when
    PYNQ cannot load the bitstream.
    """

    def __init__(self, pynq: ModuleType, board: Any, overlay: Overlay, bitstream: Path) -> None:
        self._pynq, self._board, self._overlay = pynq, board, overlay
        self._bitstream = bitstream
        self._loaded = self._load()
        self._name = self._find_accelerator()
        self._registers = self._map(self._entry(self._name)["phys_addr"], REGISTER_BYTES)
        self._check()

    def read(self, name: str) -> int:
        """A register's value."""
        return int(self._registers.read(hw.REGISTER[name].offset))

    def write(self, name: str, value: int) -> None:
        """Write a 32-bit register."""
        self._registers.write(hw.REGISTER[name].offset, int(value))

    def reload(self) -> None:
        """Load the bitstream anew, which stops whatever the accelerator was doing."""
        self._loaded.download()
        self._check()

    def interrupt(self) -> InterruptLine:
        """The accelerator's interrupt, through its controller. NoInterrupt with the reason."""
        pins, controllers = self._loaded.interrupt_pins, self._loaded.interrupt_controllers
        try:
            pin = pins[f"{self._name}/irq"]
            irq = controllers[pin["controller"]]["raw_irq"]
            base = self._entry(pin["controller"])["phys_addr"]
        except KeyError as e:
            raise NoInterrupt(f"the handoff connects no interrupt ({e} is missing)") from None
        try:
            path = importlib.import_module("pynq.interrupt").get_uio_irq(irq)
            if path is None:
                raise NoInterrupt(f"Linux has no UIO file for interrupt {irq}")
            registers = self._map(base, INTERRUPT_REGISTER_BYTES)
            return InterruptLine(registers.write, int(pin["index"]), path)
        except OSError as e:
            raise NoInterrupt(f"the UIO file of interrupt {irq} cannot be opened ({e})") from None

    def allocate(self, size: int, *, cacheable: bool) -> Any:
        """A PynqBuffer of `size` bytes, contiguous, where the accelerator's ports reach it.

        ArenaError when there is none.
        """
        try:
            buffer = self._pynq.allocate(
                (size,), "u1", target=self._board, cacheable=int(cacheable)
            )
        except (RuntimeError, MemoryError, OSError) as e:
            raise ArenaError(
                f"the board has no {size} contiguous bytes ({e}; {_contiguous_memory()}); close "
                "other sessions and notebooks, or boot with a larger cma="
            ) from None
        first = int(buffer.device_address)
        windows = (design.DDR_LOW, design.DDR_HIGH)
        if not any(base <= first and first + size <= base + span for base, span in windows):
            buffer.freebuffer()
            raise ArenaError(
                f"the board gave {size} bytes at {first:#x}, where the accelerator's ports do not "
                "reach; allowed are the first 2 GiB and 2 GiB from 0x800000000"
            )
        return buffer

    def _load(self) -> Any:
        try:
            return self._pynq.Overlay(str(self._bitstream), device=self._board)
        except PermissionError as e:
            raise DeviceError(f"{e}; the board needs root: sudo -E") from None
        except Exception as e:  # PYNQ raises what its parsers, sysfs and XRT raise
            raise DeviceError(
                f"PYNQ could not load {self._bitstream} ({type(e).__name__}: {str(e)[:200]}); the "
                "board needs root (sudo -E) and a bitstream for xczu9eg"
            ) from e

    def _entry(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = self._loaded.ip_dict[name]
        return entry

    def _map(self, base: int, size: int) -> Any:
        try:
            return self._pynq.MMIO(base, size, device=self._board)
        except OSError as e:
            raise DeviceError(f"registers cannot be mapped ({e}); run as root: sudo -E") from None

    def _find_accelerator(self) -> str:
        """The accelerator's instance name, its handoff checked."""
        kind = design.ACCELERATOR_VLNV.rpartition(":")[0] + ":"
        ips = self._loaded.ip_dict
        names = [n for n in ips if str(ips[n].get("type", "")).startswith(kind)]
        if len(names) != 1:
            raise OverlayError(
                f"{self._handoff} has {len(names)} accelerators ({kind}*), expected 1; "
                f"{self._remedy}"
            )
        entry = self._entry(names[0])
        expected = _address(self._handoff, names[0])
        if entry["phys_addr"] != expected or entry["addr_range"] < REGISTER_BYTES:
            raise OverlayError(
                f"PYNQ has the accelerator at {entry['phys_addr']:#x} ({entry['addr_range']} "
                f"bytes), {self._handoff} at {expected:#x}; PYNQ's metadata cache is stale: delete "
                "_current_metadata.pkl and global_pl_state.json in pynq/pl_server, and retry"
            )
        self._check_registers(entry["registers"])
        self._check_parameters(entry["parameters"])
        return str(names[0])

    def _check_registers(self, registers: dict[str, Any]) -> None:
        for register in hw.REGISTERS:
            found = registers.get(register.name, {}).get("address_offset")
            if found != register.offset:
                shown = "missing" if found is None else f"at {found:#x}"
                raise OverlayError(
                    f"{self._handoff}: register {register.name} is {shown}, this runtime has it "
                    f"at {register.offset:#x} (interface {hw.VERSION[0]}.{hw.VERSION[1]}); "
                    f"{self._remedy}"
                )

    def _check_parameters(self, parameters: dict[str, str]) -> None:
        for name, expected in accelerator_parameters(self._overlay).items():
            if name in parameters and int(parameters[name], 0) != expected:
                raise OverlayError(
                    f"{self._handoff}: {name} is {parameters[name]}, overlay.json of "
                    f"'{self._overlay.name}' has {expected}; {self._remedy}"
                )

    def _check(self) -> None:
        """What loading a bitstream leaves to be checked."""
        self.clock_mhz = self._check_clock()
        self._check_ports()
        check_identity(self.read, self._overlay, self._remedy)

    def _check_ports(self) -> None:
        """The memory ports' widths, which PYNQ sets where the handoff names them.

        A port that is narrower than the accelerator takes it for gives wrong data, and no error.
        """
        for _, hp in design.memory_ports(self._overlay):
            base = PORT_REGISTERS + design.saxi_gp(hp) * PORT_REGISTERS_APART
            registers = self._map(base, PORT_REGISTER_BYTES)
            for offset in (RDCTRL, WRCTRL):
                registers.write(offset, int(registers.read(offset)) & ~WIDTH)
                if registers.read(offset) & WIDTH:
                    raise OverlayError(
                        f"port HP{hp} is not 128 bits wide (register {base + offset:#x} reads "
                        f"{registers.read(offset):#x}) and cannot be set; nothing was run. Use an "
                        "image whose firmware leaves the port's registers to Linux"
                    )

    def _check_clock(self) -> float:
        """The clock from which the accelerator's is made, in MHz, as read back.

        PYNQ 3 sets divisors for the IOPLL even where the boot firmware chose another PLL. Set by
        frequency it comes out right; where it does not, nothing may run: too fast a clock would
        give wrong answers.
        """
        clocks = importlib.import_module("pynq.ps").Clocks
        expected = float(design.PL_CLOCK_MHZ)
        try:
            found = float(clocks.fclk0_mhz)
            if abs(found / expected - 1) > CLOCK_TOLERANCE:
                clocks.fclk0_mhz = expected
                found = float(clocks.fclk0_mhz)
        except (RuntimeError, ValueError, OSError) as e:
            raise DeviceError(f"the clock pl_clk0 cannot be read back ({e})") from None
        if abs(found / expected - 1) > CLOCK_TOLERANCE:
            raise OverlayError(
                f"pl_clk0 runs at {found:g} MHz, the overlay needs {expected:g}; nothing was run. "
                "The boot firmware sets the PLLs: use an image for the ZCU102"
            )
        return found

    @property
    def _handoff(self) -> Path:
        return self._bitstream.with_suffix(".hwh")

    @property
    def _remedy(self) -> str:
        return (
            f"{self._bitstream.name}, .hwh and overlay.json do not belong together, or were made "
            f"for another version: quasar overlays verify {self._overlay.name}, then build or "
            "install the overlay again"
        )


def _address(handoff: Path, instance: str) -> int | None:
    """The address of an instance's registers in a .hwh file."""
    for memory in ElementTree.parse(handoff).iter("MEMRANGE"):
        if memory.get("INSTANCE") == instance and memory.get("MEMTYPE") == "REGISTER":
            return int(memory.get("BASEVALUE", "0"), 16)
    return None


def _contiguous_memory() -> str:
    """Linux's account of the memory that contiguous buffers come from."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    cma = [" ".join(line.split()) for line in lines if line.startswith("Cma")]
    return ", ".join(cma) or "Linux tells of no contiguous memory"
