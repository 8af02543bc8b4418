"""The part of `quasar doctor` that runs the accelerator: identity, loopback, an image's bytes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from quasar_runtime.devices.base import Device, Job
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.doctor.finding import Finding, Status, failed
from quasar_runtime.errors import QuasarError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, check, region_words

MODEL = "q-vit-160fps"
DEADLINE = 60.0
"""Seconds for the loopback: a simulation needs some."""


def examine_accelerator(device: str, overlay: str | None, model: str | None) -> Iterator[Finding]:
    """Open a device, and let it run; see `quasar_runtime.doctor.examine.examine`."""
    from quasar_runtime.devices.catalogue import BoardNotUsed, open_device

    try:
        with warnings.catch_warnings(record=True) as noticed:
            warnings.simplefilter("always")
            opened = open_device(device, overlay=overlay)
    except QuasarError as e:
        yield failed("accelerator", e)
        return
    with opened:
        for message in (notice.message for notice in noticed):
            if isinstance(message, BoardNotUsed):
                found, _, remedy = message.lacks.partition("; ")
                yield Finding("board", Status.FAILED, found, remedy or None)
        yield _identity(opened)
        if clock := opened.describe().get("pl_clk0"):
            yield Finding("clock", Status.OK, f"pl_clk0 {clock}")
        for name, examination in (("loopback", _loopback), ("answer", _answer)):
            yield _examined(name, examination, opened, model or MODEL)


def _identity(device: Device) -> Finding:
    """What the registers say that it is. A board or a simulation of another overlay does not
    open.
    """
    found = ", ".join(f"{key} {value}" for key, value in device.describe().items())
    return Finding(
        "accelerator", Status.OK, f"{device.name}, overlay {device.overlay.name}: {found}"
    )


def _examined(
    name: str, examination: Callable[[Device, str], Finding], device: Device, model: str
) -> Finding:
    try:
        return examination(device, model)
    except QuasarError as e:
        return failed(name, e)


def _loopback(device: Device, model: str) -> Finding:
    """Bytes through every port and both memories and back, compared one by one."""
    program, image = loopback(device.overlay)
    expected = reference.run(program, image)
    output = _run(device, program, image)
    wrong = np.flatnonzero(output != expected)
    if wrong.size:
        first = int(wrong[0])
        return Finding(
            "loopback",
            Status.FAILED,
            f"{wrong.size:,} of {output.size:,} bytes differ, the first at {first}: "
            f"{output[first]:#04x}, expected {expected[first]:#04x}",
            "memory is not carried unchanged: check the bitstream (quasar overlays verify) and the "
            "board's DDR, and report it with the output of quasar doctor --json",
        )
    moved = image.size + program.data.size + output.size
    return Finding("loopback", Status.OK, f"{moved:,} bytes there and back, all equal")


def _answer(device: Device, model: str) -> Finding:
    """An image's accumulators, byte for byte against another device's."""
    from quasar_runtime.devices.catalogue import available_devices
    from quasar_runtime.measure.bench import synthetic_jpeg
    from quasar_runtime.session.session import Session

    usable = {d.name for d in available_devices() if d.available}
    other = "native" if device.name != "native" and "native" in usable else "reference"
    with Session(model, device) as session:
        pixels = session.preprocess(synthetic_jpeg())
        found, _ = session.run(pixels)
        cycles = device.cycles
    with Session(model, other, overlay=device.overlay) as session:
        expected, _ = session.run(pixels)
    wrong = int((found != expected).sum())
    if wrong:
        return Finding(
            "answer",
            Status.FAILED,
            f"{wrong:,} of {found.size:,} classes of {model} differ from the {other} device's",
            "do not trust its answers; report it with the output of quasar doctor --json",
        )
    counted = "" if cycles is None else f", {cycles:,} cycles at {device.overlay.clock_mhz} MHz"
    equal = f"{found.size:,} classes of {model} equal the {other} device's{counted}"
    return Finding("answer", Status.OK, equal)


def loopback(overlay: Overlay) -> tuple[Program, npt.NDArray[np.uint8]]:
    """A program that loads an image and residual values and stores them again, and its image.

    They are random, and as large as the overlay's memories hold.
    """
    rng = np.random.default_rng(0)
    side = max(s for s in range(hw.PATCH, 15 * hw.PATCH, hw.PATCH) if _fits(overlay, s))
    patches = (side // hw.PATCH) ** 2 + 1
    pitch, res_pitch = hw.PATCH_CHANNELS // overlay.depth, 64 // overlay.depth
    tokens = min(hw.MAX_TOKENS, overlay.res_words // res_pitch * overlay.tokens)
    values = rng.integers(-(2**15), 2**15, (tokens, 64)).astype("<i2")
    offset = -(-5 * hw.DESCRIPTOR_BYTES // hw.ALIGNMENT) * hw.ALIGNMENT
    second = -(-patches * hw.PATCH_CHANNELS // hw.ALIGNMENT) * hw.ALIGNMENT
    act = {"tokens": patches, "inputs": hw.PATCH_CHANNELS, "source_pitch": pitch}
    res = {"tokens": tokens, "inputs": 64}
    table = _table(
        {"opcode": Opcode.LOAD_RESIDUAL, **res, "destination_pitch": res_pitch, "address": offset},
        {"opcode": Opcode.LOAD_IMAGE, "image_size": side, "destination_pitch": pitch},
        {"opcode": Opcode.STORE, "mode": Source.ACT, **act},
        {"opcode": Opcode.STORE, "mode": Source.RESIDUAL, **res, "source_pitch": res_pitch}
        | {"address": second},
        {"opcode": Opcode.END},
    )
    data = np.zeros(offset + values.nbytes, np.uint8)
    data[: table.nbytes] = table.view(np.uint8)
    data[offset:] = values.reshape(-1).view(np.uint8)
    names = ("residual", "image", "store image", "store residual", "end")
    size = second + values.nbytes
    program = Program(overlay, data, names, (0,) * 5, side, 0, np.zeros(0, np.float32), size)
    assert check(program.descriptors, overlay, data.size, program.image_bytes, size) is None
    return program, rng.integers(0, 256, (side, side, 3)).astype(np.uint8)


def _table(*descriptors: dict[str, int]) -> npt.NDArray[np.void]:
    """A descriptor table; fields that are not named are zero."""
    table = np.zeros(len(descriptors), hw.DESCRIPTOR_DTYPE)
    for row, fields in zip(table, descriptors, strict=True):
        for name, value in fields.items():
            row[name] = value
    return table


def _fits(overlay: Overlay, side: int) -> bool:
    """Whether an image of that side fits into ACT."""
    tokens = (side // hw.PATCH) ** 2 + 1
    return region_words(tokens, hw.PATCH_CHANNELS // overlay.depth, overlay) <= overlay.act_words


def _run(device: Device, program: Program, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A program's output on a device."""
    areas = {
        "program": program.data,
        "image": image.reshape(-1),
        "output": np.zeros(program.output_bytes, np.uint8),
        "profile": np.zeros(program.profile_bytes, np.uint8),
    }
    memories = {name: device.allocate(data.size) for name, data in areas.items()}
    try:
        for name, data in areas.items():
            memories[name].array[:] = data
            device.flush(memories[name], 0, data.size)
        job = Job.of(program.count, **memories)
        device.load(job.program, job.program_bytes, job.count)
        device.submit(job)
        device.wait(DEADLINE)
        device.invalidate(memories["output"], 0, program.output_bytes)
        output: npt.NDArray[np.uint8] = memories["output"].array.copy()
        return output
    finally:
        for memory in memories.values():
            device.free(memory)
