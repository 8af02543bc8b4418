"""Overlay parameters: what the compiler and the drivers know of an accelerator build."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from quasar_runtime.errors import OverlayError, did_you_mean, printable
from quasar_runtime.files import read_text
from quasar_runtime.resources import data_folder

FIELDS = {
    "tokens": (1, 16),
    "rows": (2, 128),
    "depth": (8, 32),
    "clock_mhz": (1, 1000),
    "act_words": (64, 2**20),
    "res_words": (16, 2**20),
    "logits": (1, 4096),
    "read_ports": (1, 4),
}


@dataclass(frozen=True)
class Overlay:
    """An accelerator build.

    tokens, rows, depth  the array: tokens x rows x depth 4-bit MACs a cycle, rows counted in digits
    clock_mhz            the clock for which it is built
    act_words            words of the activation memory, tokens * depth bytes each
    res_words            words of the residual memory, tokens * depth int16 each
    logits               entries of the logit memory
    read_ports           AXI ports that read weights

    OverlayError unless tokens, rows and depth are powers of two.
    """

    name: str
    tokens: int
    rows: int
    depth: int
    clock_mhz: int
    act_words: int
    res_words: int
    logits: int
    read_ports: int
    description: str = ""

    def __post_init__(self) -> None:
        for key in ("tokens", "rows", "depth"):
            value = getattr(self, key)
            if value & (value - 1):
                near = 1 << value.bit_length()
                raise OverlayError(
                    f"overlay '{self.name}': {key} is {value}, expected a power of two, such as "
                    f"{near // 2} or {near}; the RTL's addresses are made of bits"
                )

    @property
    def macs(self) -> int:
        """4-bit MACs a cycle."""
        return self.tokens * self.rows * self.depth

    @property
    def word(self) -> int:
        """Elements of one memory word."""
        return self.tokens * self.depth


def overlay_names() -> list[str]:
    """Names of all overlays, smallest array first."""
    folder = data_folder("overlays")
    names = [p.parent.name for p in folder.glob("*/overlay.json")]
    return sorted(names, key=lambda n: load_overlay(n).macs)


def load_overlay(name: str) -> Overlay:
    """The overlay of that name from `overlays/<name>/overlay.json`.

    Raises OverlayError when there is none, or when a parameter is missing or out of range.
    """
    folder = data_folder("overlays")
    path = folder / name / "overlay.json"
    if Path(name).name != name or not path.is_file():
        known = sorted(p.parent.name for p in folder.glob("*/overlay.json"))
        raise OverlayError(
            f"no overlay named '{printable(name)}'{did_you_mean(name, known) or '.'} "
            f"Known: {', '.join(known)}"
        )
    return parse_overlay(read_text(path, OverlayError), str(path))


def parse_overlay(text: str, where: str) -> Overlay:
    """Parse overlay.json's text; `where` names it in errors (OverlayError)."""
    try:
        data = json.loads(text)
    except ValueError as e:
        raise OverlayError(f"{where} is not JSON ({e}); restore it from the repository") from None
    if not isinstance(data, dict):
        raise OverlayError(f"{where} holds a {type(data).__name__}, expected an object")
    values = {}
    for key, (low, high) in FIELDS.items():
        value = data.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise OverlayError(f"{where}: {key} is {value!r}, expected an integer {low} to {high}")
        values[key] = value
    name = data.get("name")
    if not isinstance(name, str) or not name:
        raise OverlayError(f"{where}: name is {name!r}, expected a string")
    try:
        return Overlay(name=name, description=str(data.get("description", "")), **values)
    except OverlayError as e:
        raise OverlayError(f"{where}: {e}") from None
