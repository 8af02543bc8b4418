"""Registers of the processing system: clocks, and widths of the memory ports (AMD UG1087)."""

from __future__ import annotations

CRL, CRF = 0xFF5E_0000, 0xFD1A_0000
"""Clock and reset registers of the low-power and of the full-power domain."""
AFIFM, AFIFM_PORTS = 0xFD36_0000, 6
"""Registers of S_AXI_GP0 to GP5, 64 KiB apart."""
RDCTRL, WRCTRL = 0x00, 0x14
WIDTH_64 = 1
"""Their two lowest bits: 0 is a port of 128 bits, 1 of 64."""
IOPLL, RPLL, PL0 = 0x20, 0x30, 0xC0
"""Offsets in CRL: two PLLs, and the clock of the programmable logic."""
PLL_SELECTION = {"IOPLL": 0, "RPLL": 2}
CLOCK_ON = 1 << 24
BLOCKS = (CRL, CRF, *(AFIFM + port * 0x1_0000 for port in range(AFIFM_PORTS)))


def pll(feedback: int, halved: bool) -> int:
    """A PLL's control register: 33.33 MHz times `feedback`, perhaps halved."""
    return feedback << 8 | halved << 16


class ProcessorRegisters:
    """As the boot firmware leaves them: PL0 at 150 MHz or 100 MHz, from `source`, the IOPLL at
    1.5 GHz or the RPLL at 1 GHz, and memory ports of 64 bits.

    stuck  nothing can be changed (a firmware that protects them)
    """

    def __init__(self, source: str) -> None:
        self.stuck = False
        self._values = {
            CRL + IOPLL: pll(90, halved=True),
            CRL + RPLL: pll(60, halved=True),
            CRL + PL0: CLOCK_ON | 1 << 16 | 10 << 8 | PLL_SELECTION[source],
        }
        for base in BLOCKS[2:]:
            self._values |= {base + RDCTRL: 0x3B0 | WIDTH_64, base + WRCTRL: 0x3B0 | WIDTH_64}

    def read(self, address: int) -> int:
        """The register at a physical address; 0 where nothing was written."""
        return self._values.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Write a register, unless the fault `stuck` is put in."""
        if not self.stuck:
            self._values[address] = value
