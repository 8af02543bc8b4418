"""Watching a simulation: how far a run is, and which signals are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quasar_runtime.errors import DeviceError

FORMATS = ("vcd", "fst")


@dataclass(frozen=True)
class Waves:
    """Signals to record, all of the accelerator's, for a window of cycles.

    path        file to write
    begin, end  the cycles [begin, end), counted from the first run's start
    format      'vcd' or 'fst' (a tenth of the size), by default the path's suffix

    Cycle c lies at c ns of the file's time. DeviceError for another format or an empty window.
    """

    path: Path
    begin: int
    end: int
    format: str = ""

    def __post_init__(self) -> None:
        kind = self.format or self.path.suffix.removeprefix(".")
        if kind not in FORMATS:
            raise DeviceError(f"{self.path}: waves are written as .vcd or .fst, not as '{kind}'")
        if not 0 <= self.begin < self.end:
            raise DeviceError(
                f"the window of cycles {self.begin}:{self.end} is empty; "
                "give the first cycle and the one after the last"
            )
        object.__setattr__(self, "format", kind)


@dataclass(frozen=True)
class Progress:
    """How far a simulated run is.

    cycles             simulated so far
    expected           what the cycle model predicts in all, None for a program that it was not told
    cycles_per_second  of the simulation
    running            False once, when the run has ended
    """

    cycles: int
    expected: int | None
    cycles_per_second: float
    running: bool
