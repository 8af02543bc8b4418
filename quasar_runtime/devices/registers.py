"""What a driver of the accelerator does with its registers, however it reaches them.

`Read` and `Write` take a register's name in `quasar_runtime.isa.interface`.
"""

from __future__ import annotations

from collections.abc import Callable

from quasar_runtime.devices.base import Job
from quasar_runtime.errors import OverlayError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause
from quasar_runtime.isa.overlay import Overlay

Read = Callable[[str], int]
Write = Callable[[str, int], None]

STALL_CYCLES = 65536
"""TIMEOUT register: cycles that a memory port may stay silent."""
AREAS = ("program", "image", "output", "profile")
"""The four areas of a job, in the registers' order."""
INTERRUPTS = 3
"""INTERRUPT_ENABLE and INTERRUPT_STATUS: done and error."""


def identity(overlay: Overlay) -> dict[str, int]:
    """The registers that say what an accelerator is, as they read on a build of `overlay`.

    IDENTITY comes first: nothing else means anything when it is another.
    """
    return {
        "IDENTITY": hw.IDENTITY,
        "VERSION": hw.VERSION[0] << 16 | hw.VERSION[1],
        "ARRAY": overlay.tokens | overlay.rows << 8 | overlay.depth << 16,
        "ACT_WORDS": overlay.act_words,
        "RES_WORDS": overlay.res_words,
        "LOGITS": overlay.logits,
        "CLOCK_KHZ": overlay.clock_mhz * 1000,
        "PORTS": overlay.read_ports,
    }


def check_identity(read: Read, overlay: Overlay, remedy: str) -> None:
    """Compare an accelerator's registers with what `overlay` says, one after the other.

    OverlayError at the first that differs, with both values and the remedy. A later minor version
    of the interface is accepted: it only adds.
    """
    for name, expected in identity(overlay).items():
        found = read(name)
        if name == "VERSION":
            wrong = found >> 16 != hw.VERSION[0] or found & 0xFFFF < hw.VERSION[1]
        else:
            wrong = found != expected
        if wrong:
            raise OverlayError(
                f"register {name} reads {_shown(name, found)}, overlay '{overlay.name}' has "
                f"{_shown(name, expected)}; {remedy}"
            )


def _shown(name: str, value: int) -> str:
    if name == "VERSION":
        return f"{value >> 16}.{value & 0xFFFF}"
    if name == "ARRAY":
        return f"{value & 0xFF} x {value >> 8 & 0xFF} x {value >> 16}"
    return f"{value:#x}" if name == "IDENTITY" else str(value)


def write_job(write: Write, job: Job) -> None:
    """Everything that a run needs but its start; the interrupt is cleared, then enabled."""
    write("DESCRIPTOR_COUNT", job.count)
    write("TIMEOUT", STALL_CYCLES)
    for area in AREAS:
        address, size = getattr(job, area), getattr(job, f"{area}_bytes")
        write(f"{area.upper()}_LO", address & 0xFFFF_FFFF)
        write(f"{area.upper()}_HI", address >> 32)
        write(f"{area.upper()}_BYTES", size)
    write("INTERRUPT_STATUS", INTERRUPTS)
    write("INTERRUPT_ENABLE", INTERRUPTS)


def cycles(state: dict[str, int]) -> int:
    """Cycles of the last run."""
    return state["CYCLES_HI"] << 32 | state["CYCLES_LO"]


def fault(state: dict[str, int]) -> str:
    """An error state in words."""
    cause = state["ERROR_CAUSE"]
    name = Cause(cause).name if cause in Cause._value2member_map_ else f"cause {cause}"
    address = state["ERROR_ADDRESS_HI"] << 32 | state["ERROR_ADDRESS_LO"]
    return (
        f"the accelerator stopped at descriptor {state['ERROR_DESCRIPTOR']}: {name} at "
        f"{address:#x} after {cycles(state)} cycles"
    )
