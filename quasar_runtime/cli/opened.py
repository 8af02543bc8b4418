"""A session as the options ask for it; on the rtl device with its progress on the terminal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from quasar_runtime.cli.options import DeviceOptions
from quasar_runtime.cli.output import Output
from quasar_runtime.errors import DataError, QuasarError

if TYPE_CHECKING:
    from quasar_runtime.devices.rtl.watch import Waves
    from quasar_runtime.files import AnyPath
    from quasar_runtime.model.network import Model
    from quasar_runtime.session.session import Session

WINDOW = (0, 2_000)
"""Cycles that are recorded where nobody says which: a start, and no file that fills a disk."""
FULL = 1 << 16
"""A disk with fewer bytes left than this has cut off what was written to it."""


@contextmanager
def open_session(
    model: str | Model,
    on: DeviceOptions,
    out: Output,
    *,
    reads: Sequence[AnyPath] = (),
    writes: Sequence[str | None] = (),
) -> Iterator[Session]:
    """The session of a verb; closed afterwards, whatever happens.

    `reads` are the pictures, files or folders, and other files that the verb reads, `writes` the
    files that it writes: whether they can be written, and are none of those read, is known before
    anything runs.
    """
    from quasar_runtime.session.session import Session

    if outputs := [path for path in (*writes, on.vcd, on.fst) if path]:
        _check_outputs(outputs, [*_file_of(model), *reads])
    if on.device == "rtl":
        with _simulated(model, on, out) as session:
            yield session
        return
    with Session(
        model, on.device, overlay=on.overlay, threads=on.threads, timeout=on.timeout
    ) as session:
        yield session


@contextmanager
def _simulated(model: str | Model, on: DeviceOptions, out: Output) -> Iterator[Session]:
    from quasar_runtime.devices.rtl.device import RtlDevice
    from quasar_runtime.isa.overlay import DEFAULT_OVERLAY, load_overlay
    from quasar_runtime.model.zoo import load_model
    from quasar_runtime.session.session import Session

    waves = _waves(on)
    # A wrong name is known before a build of minutes.
    loaded = load_model(model) if isinstance(model, str) else model
    overlay = load_overlay(DEFAULT_OVERLAY if on.overlay is None else on.overlay)
    with out.cycles() as progress:
        device = RtlDevice(
            overlay, cycle_limit=on.max_cycles, waves=waves, progress=progress, report=out.step
        )
        with device, Session(loaded, device, timeout=on.timeout) as session:
            yield session
    if waves and shutil.disk_usage(waves.path.parent).free < FULL:
        raise DataError(f"{waves.path}: the disk is full, the recording is cut off; make room")
    if waves and device.waves_recorded < waves.end - waves.begin:
        out.warn(
            f"{waves.path} holds {device.waves_recorded} cycles of the window {waves.begin}:"
            f"{waves.end}; the run ended before"
        )


def _file_of(model: str | Model) -> list[Path]:
    """The file of a model that is named; what is no model is told later."""
    from quasar_runtime.model.zoo import find_model

    with suppress(QuasarError):
        return [find_model(model)] if isinstance(model, str) else []
    return []


def _check_outputs(writes: Sequence[str], reads: Sequence[AnyPath]) -> None:
    """DataError unless all of `writes` can be written without harm to another file of theirs or to
    one of `reads`.
    """
    from quasar_runtime.files import check_output
    from quasar_runtime.images.prepare import list_pictures

    inputs: list[AnyPath] = []
    for path in reads:
        inputs += list_pictures(path).found if os.path.isdir(path) else [path]
    seen: set[str] = set()
    for path in writes:
        check_output(path, inputs)
        real = os.path.realpath(path)
        if real in seen and real != os.path.realpath(os.devnull):
            raise DataError(f"{path}: two things would be written to it; give two names")
        seen.add(real)


def _waves(on: DeviceOptions) -> Waves | None:
    """What is to be recorded."""
    from quasar_runtime.devices.rtl.watch import Waves

    begin, end = on.window or WINDOW
    if on.vcd:
        return Waves(Path(on.vcd), begin, end, "vcd")
    if on.fst:
        return Waves(Path(on.fst), begin, end, "fst")
    return None
