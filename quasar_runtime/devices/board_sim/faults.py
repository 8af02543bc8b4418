"""What shall go wrong on the simulated board."""

from __future__ import annotations

from dataclasses import dataclass, field

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause

NAMES = {register.offset: register.name for register in hw.REGISTERS}
"""Registers by offset."""


@dataclass
class Faults:
    """Faults of the accelerator, from when they are set.

    registers  what registers read instead of their value
    wedged     resets do not lead to idle, until a bitstream is loaded
    error      (cause, address) with which runs end; on the native engine
    silent     runs neither end nor raise an interrupt; on the native engine

    The RTL has faults of its own: `board.engine.inject`.
    """

    registers: dict[str, int] = field(default_factory=dict)
    wedged: bool = False
    error: tuple[Cause, int] | None = None
    silent: bool = False
