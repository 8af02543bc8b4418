"""Every error a user can cause, in one tree.

Each message says what was found, what is allowed, and the next step; the command line prints it in
one line and exits with 1.

    QuasarError
    +-- ModelError              a model that cannot be used
    |   +-- ModelNotFound       no such name in the zoo, no such file
    |   +-- ModelFileError      not a model file, truncated, oversized, wrong version or checksum
    |   +-- ModelValueError     a tensor or manifest entry outside what the format allows
    +-- ImageError              a picture that cannot be read or is refused
    +-- OverlayError            an overlay that is unknown, malformed, or not the one on the device
    +-- CompileError            a valid model that does not fit an overlay
    +-- ProgramError            a program whose descriptors are out of range
    +-- DeviceError             anything that goes wrong while a device runs
    |   +-- DeviceNotFound      the device asked for is not on this machine
    |   +-- DeviceFault         the accelerator stopped with a cause and an address
    |   +-- DeviceTimeout       a wait reached its deadline
    |   +-- DeviceClosed        used after close
    +-- ArenaError              the DMA arena is exhausted, or a range is outside it
    +-- DataError               a data set or labels file that cannot be used
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping


class QuasarError(Exception):
    """Base of all errors that Quasar raises on purpose."""


class ModelError(QuasarError):
    """A model cannot be used."""


class ModelNotFound(ModelError):
    """No model of that name in the zoo, or no such file."""


class ModelFileError(ModelError):
    """The file as a whole is unusable: not a model file, truncated, oversized, wrong checksum."""


class ModelValueError(ModelError):
    """One tensor or manifest entry is outside what the format allows."""


class ImageError(QuasarError):
    """A picture cannot be read, or is refused."""


class OverlayError(QuasarError):
    """An overlay is unknown or malformed, or is not the one that the device carries."""


class CompileError(QuasarError):
    """A valid model cannot be laid out for an overlay."""


class ProgramError(QuasarError):
    """A program is malformed: a descriptor field outside its range."""


class DeviceError(QuasarError):
    """Something went wrong on a device. `state` holds what its registers said."""

    def __init__(self, message: str, state: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.state: dict[str, int] = dict(state or {})


class DeviceNotFound(DeviceError):
    """The device asked for is not on this machine."""


class DeviceFault(DeviceError):
    """The accelerator stopped in its error state."""


class DeviceTimeout(DeviceError):
    """A wait reached its deadline."""


class DeviceClosed(DeviceError):
    """The device or session was used after it was closed."""


class ArenaError(QuasarError):
    """The DMA arena is exhausted, or a range does not lie inside it."""


class DataError(QuasarError):
    """A data set, labels file or results file cannot be used."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as `; did you mean 'b1024'?`, or an empty string when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def printable(text: str) -> str:
    """`text` as people can be shown it in one line: control characters, line separators and bytes
    that no encoding holds (lone surrogates) escaped as Python does, everything else as it is.

    For messages only: what programs read holds the values themselves.
    """
    if text.isprintable():
        return text
    return "".join(
        ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text
    )
