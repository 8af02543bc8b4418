"""Devices that execute programs, found and opened by name; see `quasar_runtime.devices.base`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quasar_runtime.errors import DeviceNotFound, QuasarError, did_you_mean
from quasar_runtime.isa.overlay import DEFAULT_OVERLAY
from quasar_runtime.resources import SIMULATED_BOARD

if TYPE_CHECKING:
    from quasar_runtime.devices.base import Device
    from quasar_runtime.isa.overlay import Overlay

BUILD_ENGINE = "pip install . (in a checkout: pip install -e .), which needs a C compiler"
COMPATIBLE = Path("/proc/device-tree/compatible")
"""Where Linux has the name of a board."""


class BoardNotUsed(RuntimeWarning):
    """'auto' took the CPU of a board, which `lacks` something that its accelerator needs."""

    def __init__(self, lacks: str) -> None:
        self.lacks = lacks
        super().__init__(
            f"this board's accelerator cannot be used: {lacks}. Running on the board's CPU "
            "instead; `quasar doctor` says what else is missing"
        )


@dataclass(frozen=True)
class DeviceInfo:
    """A device of this machine: what it is, and why it cannot be used (None when it can).

    `facts` is what a usable device says of itself, such as the native one's kernel sets.
    """

    name: str
    description: str
    reason: str | None
    facts: dict[str, str]

    @property
    def available(self) -> bool:
        """Whether it can be used."""
        return self.reason is None

    def as_dict(self) -> dict[str, Any]:
        """What `quasar devices --json` prints of it; see docs/cli.md."""
        return {
            "name": self.name,
            "available": self.available,
            "reason": self.reason,
            "description": self.description,
            "facts": self.facts,
        }


@dataclass(frozen=True)
class Wanted:
    """What `open_device` was asked for, beside the device's name."""

    overlay: str | Overlay | None
    threads: int | None
    kernels: str | None


@dataclass(frozen=True)
class DeviceKind:
    """A kind of device: what it is, why it cannot be used here (None when it can), how it opens.

    `facts` is what a usable one says of itself, such as the native one's kernel sets.
    """

    description: str
    reason: Callable[[], str | None]
    open: Callable[[Wanted], Device]
    facts: Callable[[], dict[str, str]] = dict


def open_device(
    name: str = "auto",
    *,
    overlay: str | Overlay | None = None,
    threads: int | None = None,
    kernels: str | None = None,
) -> Device:
    """Open a device; the caller closes it.

    name     one of KINDS, or 'auto': the board where there is one, else native; a board that lacks
             what the accelerator needs gives a warning, BoardNotUsed, and native
    overlay  for which programs will be compiled, by default b1024; the board takes its own
    threads  of the native device, by default all cores
    kernels  of the native device, by default the fastest this CPU runs

    DeviceNotFound when it is not on this machine, OverlayError for an unknown overlay.
    """
    wanted = Wanted(overlay, threads, kernels)
    if name == "auto":
        return _open_best(wanted)
    kind = KINDS.get(name)
    if kind is None:
        known = ("auto", *KINDS)
        hint = did_you_mean(name, known) or "."
        raise DeviceNotFound(f"no device named '{name}'{hint} Known: {', '.join(known)}")
    reason = _reason(name)
    if reason:
        raise DeviceNotFound(f"device '{name}' cannot be used: {reason}")
    return kind.open(wanted)


def _open_best(wanted: Wanted) -> Device:
    """The board where there is one that has what it needs, else the native device.

    A board that something is wrong with (busy, another bitstream, no root) is an error all the
    same: whoever has one wants to know.
    """
    lacks = _reason("board") or _bitstream_reason(wanted.overlay)
    if lacks is None:
        try:
            return open_device("board", overlay=wanted.overlay)
        except DeviceNotFound as e:
            lacks = str(e)
    if _is_board():
        warnings.warn(BoardNotUsed(lacks), stacklevel=3)
    return open_device("native", **vars(wanted))


def build_simulation(overlay: str, report: Callable[[str], None]) -> None:
    """Build the rtl device's simulation of an overlay unless the cache has it.

    `report` gets a line for each step, and again every second. DeviceError when the build fails,
    DeviceNotFound where the accelerator cannot be simulated, OverlayError for an unknown overlay.
    """
    from quasar_runtime.devices.rtl.build import library, standard

    library(standard(_overlay(overlay)), report)


def available_devices() -> list[DeviceInfo]:
    """Every device that Quasar knows, and why it cannot be used where it cannot."""
    return [device_info(name) for name in KINDS]


def device_info(name: str) -> DeviceInfo:
    """One of KINDS, as `available_devices` lists it. Never fails: what is wrong is the reason."""
    reason, facts = _reason(name), {}
    if reason is None:
        try:
            if name == "board":  # opening it says so itself, of the overlay that was asked for
                reason = _bitstream_reason(None)
            else:
                facts = KINDS[name].facts()
        except Exception as e:
            reason = _unexpected(e)
    return DeviceInfo(name, KINDS[name].description, reason, facts)


def _reason(name: str) -> str | None:
    """Why a device cannot be used, None when it can."""
    try:
        return KINDS[name].reason()
    except Exception as e:
        return _unexpected(e)


def _unexpected(e: Exception) -> str:
    """What is wrong with this machine, where nothing more is known."""
    said = " ".join(str(e).split())
    return said if isinstance(e, QuasarError) else f"{type(e).__name__}: {said}"


def _overlay(overlay: str | Overlay | None) -> Overlay:
    from quasar_runtime.isa.overlay import Overlay, load_overlay

    return (
        overlay
        if isinstance(overlay, Overlay)
        else load_overlay(DEFAULT_OVERLAY if overlay is None else overlay)
    )


def _board_reason() -> str | None:
    """Looks at the machine and at what is installed; imports nothing of pynq."""
    if importlib.util.find_spec("quasar_runtime.devices.board.device") is None:
        return "this version has no board driver"
    if not _is_board() and not os.environ.get(SIMULATED_BOARD):
        return f"this machine ({platform.machine()}) is not a Zynq UltraScale+ board"
    if importlib.util.find_spec("pynq") is None:
        if sys.version_info >= (3, 13):
            version = ".".join(map(str, sys.version_info[:2]))
            return f"pynq is not installed: PYNQ needs Python 3.12 or older, this is {version}"
        return "pynq is not installed; pip install quasar-vit[board]"
    return None


def _is_board() -> bool:
    """Whether Linux says that this is a Zynq UltraScale+."""
    try:
        return b"zynqmp" in COMPATIBLE.read_bytes()
    except OSError:
        return False


def _bitstream_reason(overlay: str | Overlay | None) -> str | None:
    """What a board lacks that has no bitstream of the overlay, or of any where none is named."""
    if os.environ.get(SIMULATED_BOARD):
        return None
    from quasar_runtime.bitstream.package import how_to_get, load_package
    from quasar_runtime.isa.overlay import overlay_names

    if overlay is None:
        names = overlay_names()
        missing = "no overlay has a bitstream"
    else:
        names = [overlay if isinstance(overlay, str) else overlay.name]
        missing = f"overlay '{names[0]}' has no bitstream"
    if any(load_package(name).bitstream for name in names):
        return None
    return f"{missing}; {how_to_get(names[0] if overlay else DEFAULT_OVERLAY)}"


def _native_reason() -> str | None:
    if reason := _numpy_reason():
        return reason
    try:
        importlib.import_module("quasar_runtime.devices.native.device").available_kernels()
    except (ImportError, AttributeError) as e:  # not built, for another Python, or an older one
        said = " ".join(str(e).split())
        return f"the C engine is not built for this Python ({said}); {BUILD_ENGINE}"
    return None


def _numpy_reason() -> str | None:
    try:
        importlib.import_module("numpy")
    except ImportError as e:
        first = next(iter(str(e).strip().splitlines()), "")
        return f"numpy cannot be imported ({first}); pip install numpy"
    return None


def _native_facts() -> dict[str, str]:
    from quasar_runtime.devices.native.device import available_kernels

    return {"kernels": ", ".join(available_kernels())}


def _rtl_facts() -> dict[str, str]:
    """Looks which simulations are built; builds none."""
    from quasar_runtime.cache import cache_folder
    from quasar_runtime.devices.rtl.build import cached, standard
    from quasar_runtime.devices.rtl.tools import version
    from quasar_runtime.isa.overlay import load_overlay, overlay_names

    cache_folder()  # without one nothing can be built
    built = [name for name in overlay_names() if cached(standard(load_overlay(name)))]
    return {"verilator": version(), "built": ", ".join(built) or "none"}


def _rtl_reason() -> str | None:
    from quasar_runtime.devices.rtl.build import unavailable

    return _numpy_reason() or unavailable()


def _open_board(wanted: Wanted) -> Device:
    if simulated := os.environ.get(SIMULATED_BOARD):
        importlib.import_module("quasar_runtime.devices.board_sim").start(wanted.overlay, simulated)
    module = importlib.import_module("quasar_runtime.devices.board.device")  # imports pynq
    board: Device = module.BoardDevice(wanted.overlay)
    return board


def _open_native(wanted: Wanted) -> Device:
    from quasar_runtime.devices.native.device import NativeDevice

    build = _overlay(wanted.overlay)
    return NativeDevice(build, threads=wanted.threads, kernels=wanted.kernels)


def _open_rtl(wanted: Wanted) -> Device:
    from quasar_runtime.devices.rtl.device import RtlDevice

    return RtlDevice(_overlay(wanted.overlay))


def _open_reference(wanted: Wanted) -> Device:
    from quasar_runtime.devices.reference.device import ReferenceDevice

    return ReferenceDevice(_overlay(wanted.overlay))


KINDS = {
    "board": DeviceKind("the accelerator on a ZCU102, through pynq", _board_reason, _open_board),
    "native": DeviceKind(
        "this machine's CPU, with SIMD kernels in C", _native_reason, _open_native, _native_facts
    ),
    "rtl": DeviceKind(
        "the accelerator's RTL, simulated cycle by cycle by Verilator",
        _rtl_reason,
        _open_rtl,
        _rtl_facts,
    ),
    "reference": DeviceKind(
        "the normative arithmetic in NumPy: slow, for comparison", _numpy_reason, _open_reference
    ),
}
"""Every device by name, in the order in which 'auto' prefers them; the last two only when asked
for."""
