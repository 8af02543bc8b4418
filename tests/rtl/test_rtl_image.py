"""A picture through a zoo model on the accelerator at b1024: every buffer equals the reference's.

One model, one picture: about two million cycles. The model has rows of both precisions in most of
its matrices. Its program is traced, so that the result of each operation is stored and compared,
not the logits alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.devices.rtl.device import RtlDevice
from quasar_runtime.images.prepare import load_image
from quasar_runtime.isa.interface import Opcode
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.zoo import load_model
from tests.rtl.rtl_cases import difference

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=str(unavailable()))

MODEL = "q-vit-160fps"
PICTURE = Path(__file__).resolve().parents[2] / "examples" / "chelsea.jpg"
WAIT = 1200.0


def test_a_zoo_model_gives_the_reference_s_bytes_in_every_buffer() -> None:
    overlay = load_overlay("b1024")
    model = load_model(MODEL)
    program = compile_model(model, overlay, trace=True)
    pixels = load_image(PICTURE, model.preprocessing).pixels
    expected = reference.run(program, pixels)
    with RtlDevice(overlay) as device:
        sizes = (program.data.size, pixels.size, program.output_bytes, program.profile_bytes)
        memories = [device.allocate(size) for size in sizes]
        memories[0].array[:] = program.data
        memories[1].array[:] = pixels.reshape(-1)
        memories[2].array[:] = 0
        device.submit(Job.of(program.count, *memories))
        device.wait(WAIT)
        found = memories[2].array.copy()
    assert np.array_equal(found, expected), difference(program, found, expected)
    logits = found[: 4 * model.classes].view("<i4") * model.head_scale
    assert model.labels[int(np.argmax(logits))] == ("n02124075", "Egyptian cat")


def test_every_result_on_the_chip_is_among_the_bytes_compared() -> None:
    program = compile_model(load_model(MODEL), load_overlay("b1024"), trace=True)
    silent = (Opcode.STORE, Opcode.END)
    names = zip(program.names, program.descriptors["opcode"], strict=True)
    results = {name for name, opcode in names if int(opcode) not in silent}
    # The patches are added to the position values; the classifier's results are the logits.
    assert results - set(program.traces) == {"position", "head"}
