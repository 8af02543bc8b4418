"""Electric power from Linux's sensors, rail by rail; what cannot be read is None, never 0.

The ZCU102 has an INA226 behind each of its 18 monitored rails, which Linux shows as hwmon devices
named after the chip on the board, such as ina226_u79 for the logic's core supply. Other sensors are
listed as they are; the sums are of the ZCU102's rails alone, because only of those is it known
that none counts another's power.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

HWMON = Path("/sys/class/hwmon")
PERIOD = 0.05
"""Seconds between two samples; the sensors average over some milliseconds themselves."""
PROCESSOR = {
    "u76": "VCCPSINTFP",
    "u77": "VCCPSINTLP",
    "u78": "VCCPSAUX",
    "u87": "VCCPSPLL",
    "u85": "MGTRAVCC",
    "u86": "MGTRAVTT",
    "u93": "VCCO_PSDDR",
    "u88": "VCCOPS",
    "u15": "VCCOPS3",
    "u92": "VCCPSDDRPLL",
}
"""Rails of the processing system, by the monitoring chip."""
LOGIC = {
    "u79": "VCCINT",
    "u81": "VCCBRAM",
    "u80": "VCCAUX",
    "u84": "VCC1V2",
    "u16": "VCC3V3",
    "u65": "VADJ_FMC",
    "u74": "MGTAVCC",
    "u75": "MGTAVTT",
}
"""Rails of the programmable logic."""
_NAMES = {f"ina226_{chip}": rail for chip, rail in {**PROCESSOR, **LOGIC}.items()}


@dataclass(frozen=True)
class Power:
    """Watts: of each rail (None: it is there and cannot be read), of the programmable logic and of
    the whole board (None unless all of their rails were read).
    """

    rails: dict[str, float | None]

    @property
    def logic(self) -> float | None:
        """Watts of the programmable logic's rails; None when one cannot be read."""
        return self._sum(LOGIC)

    @property
    def board(self) -> float | None:
        """Watts of all rails; None when one cannot be read."""
        return self._sum(PROCESSOR | LOGIC)

    def _sum(self, chips: dict[str, str]) -> float | None:
        found = [self.rails.get(rail) for rail in chips.values()]
        known = [watts for watts in found if watts is not None]
        return sum(known) if len(known) == len(found) else None

    def as_dict(self) -> dict[str, Any]:
        """What `quasar bench --json` prints of it; see docs/cli.md."""
        return {
            "board_w": _rounded(self.board),
            "logic_w": _rounded(self.logic),
            "rails_w": {rail: _rounded(watts) for rail, watts in self.rails.items()},
        }


def read_power(hwmon: Path = HWMON) -> Power:
    """Power now. `hwmon` is the folder with Linux's sensors."""
    return Power({rail: _watts(path) for rail, path in _sensors(hwmon).items()})


class PowerMeter:
    """Mean power while it is open, as a context manager; sampled by a thread.

    `power` has it afterwards. A rail that could not be read once is None.
    """

    def __init__(self, hwmon: Path = HWMON) -> None:
        self.power = Power({})
        self._sensors = _sensors(hwmon)
        self._samples: dict[str, list[float | None]] = {rail: [] for rail in self._sensors}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="quasar-power", daemon=True)

    def __enter__(self) -> PowerMeter:
        if self._sensors:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._sensors:
            self._thread.join()
            self.power = Power({rail: _mean(values) for rail, values in self._samples.items()})

    def _watch(self) -> None:
        while True:
            for rail, path in self._sensors.items():
                self._samples[rail].append(_watts(path))
            if self._ended.wait(PERIOD):
                return


def _sensors(hwmon: Path) -> dict[str, Path]:
    """Rail -> file with its power in microwatts; the ZCU102's rails in their own order, then
    others.
    """
    found: dict[str, Path] = {}
    for path in sorted(hwmon.glob("hwmon*/power*_input")):
        chip = _text(path.parent / "name") or path.parent.name
        label = _text(path.with_name(path.name.replace("_input", "_label")))
        rail = _NAMES.get(chip.replace("-", "_")) or label or chip
        found[rail if rail not in found else f"{rail} ({path.parent.name})"] = path
    known = [rail for rail in _NAMES.values() if rail in found]
    return {rail: found[rail] for rail in [*known, *sorted(set(found) - set(known))]}


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _watts(path: Path) -> float | None:
    text = _text(path)
    try:
        return None if text is None else int(text) / 1e6
    except ValueError:
        return None


def _mean(samples: list[float | None]) -> float | None:
    known = [watts for watts in samples if watts is not None]
    return sum(known) / len(known) if known and len(known) == len(samples) else None


def _rounded(watts: float | None) -> float | None:
    return None if watts is None else round(watts, 4)
