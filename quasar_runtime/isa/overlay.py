"""Overlay parameters: what the compiler and the drivers know of an accelerator build."""

from __future__ import annotations

import os
from dataclasses import dataclass

from quasar_runtime.errors import OverlayError, did_you_mean, printable
from quasar_runtime.files import parse_json, read_text
from quasar_runtime.resources import data_folder

DEFAULT_OVERLAY = "b1024"
"""The build for which programs are compiled where none is named."""
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

    tokens, rows, depth  the array: tokens x rows x depth 4-bit MACs per cycle; rows are digit rows
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
        """4-bit MACs per cycle."""
        return self.tokens * self.rows * self.depth

    @property
    def word(self) -> int:
        """Elements of one memory word."""
        return self.tokens * self.depth


def overlay_names() -> list[str]:
    """Names of all overlays whose parameters can be read, smallest array first.

    OverlayError where there is none. `survey` also tells which cannot be read.
    """
    found, wrong = survey()
    if not found:
        raise wrong[0] if wrong else _no_overlays()
    return [overlay.name for overlay in found]


def survey() -> tuple[list[Overlay], list[OverlayError]]:
    """All overlays, smallest array first, and what is wrong with those that cannot be read."""
    looked = [_loaded(name) for name in _names()]
    found = [overlay for overlay in looked if isinstance(overlay, Overlay)]
    wrong = [error for error in looked if isinstance(error, OverlayError)]
    return sorted(found, key=lambda overlay: overlay.macs), wrong


def _loaded(name: str) -> Overlay | OverlayError:
    """An overlay, or why it cannot be read."""
    try:
        return load_overlay(name)
    except OverlayError as e:
        return e


def load_overlay(name: str) -> Overlay:
    """The overlay of that name from `overlays/<name>/overlay.json`.

    Raises OverlayError when there is none, or when a parameter is missing or out of range.
    """
    path = data_folder("overlays") / name / "overlay.json"
    if os.path.basename(name) != name or "\0" in name or not os.path.lexists(path):
        known = _names()
        if not known:
            raise _no_overlays()
        raise OverlayError(
            f"no overlay named '{printable(name)}'{did_you_mean(name, known) or '.'} "
            f"Known: {', '.join(known)}"
        )
    overlay = parse_overlay(read_text(path, OverlayError), str(path))
    if overlay.name != name:
        raise OverlayError(f"{path} holds the overlay '{overlay.name}'; name its folder after it")
    return overlay


def _names() -> list[str]:
    """Names of the folders with an overlay.json, whether it can be read or not."""
    return sorted(p.parent.name for p in data_folder("overlays").glob("*/overlay.json"))


def _no_overlays() -> OverlayError:
    return OverlayError(
        f"there are no overlays in {data_folder('overlays')}; set QUASAR_OVERLAYS to a folder with "
        "some, or unset it"
    )


def parse_overlay(text: str, where: str) -> Overlay:
    """Parse overlay.json's text; `where` names it in errors (OverlayError)."""
    data = parse_json(text, f"{where} is not JSON", "restore it from the repository", OverlayError)
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
