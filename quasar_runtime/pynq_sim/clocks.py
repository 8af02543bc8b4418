"""The clock registers of the processing system that PYNQ reads and sets (AMD UG1087)."""

from __future__ import annotations

CRL, CRF, BYTES = 0xFF5E_0000, 0xFD1A_0000, 0x100
"""Clock and reset registers of the low-power and of the full-power domain."""
IOPLL, RPLL, PL0 = 0x20, 0x30, 0xC0
"""Offsets in CRL: two PLLs, and the clock of the programmable logic."""
PLL_SELECTION = {"IOPLL": 0, "RPLL": 2}
CLOCK_ON = 1 << 24


def pll(feedback: int, halved: bool) -> int:
    """A PLL's control register: 33.33 MHz times `feedback`, perhaps halved."""
    return feedback << 8 | halved << 16


class ClockRegisters:
    """PL0 comes from `source`: the IOPLL at 1.5 GHz as on the ZCU102, or the RPLL at 1 GHz.

    stuck  the divisors cannot be changed (a firmware that protects them)
    """

    def __init__(self, source: str = "IOPLL", *, stuck: bool = False) -> None:
        self.stuck = stuck
        self._values = {
            CRL + IOPLL: pll(90, halved=True),
            CRL + RPLL: pll(60, halved=True),
            CRL + PL0: CLOCK_ON | 1 << 16 | 10 << 8 | PLL_SELECTION[source],
        }

    def read(self, address: int) -> int:
        return self._values.get(address, 0)

    def write(self, address: int, value: int) -> None:
        if not self.stuck:
            self._values[address] = value
