"""The reference device: executes a program in plain NumPy, one function an operation.

It is the arithmetic of `quasar_runtime.isa.arithmetic` applied to the bytes of a program and
nothing else. Slow (about a second for an image) and normative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.compiler.packing import unpack_weights
from quasar_runtime.errors import ProgramError
from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, require, weight_bytes


@dataclass
class Machine:
    """A program's bytes, the areas around it, and the on-chip memories.

    ACT is kept flat: a region at word `base` with `pitch` words per token row begins at element
    base * TOKENS * DEPTH, and its token t, channel c is t * pitch * DEPTH + c elements on.
    """

    overlay: Overlay
    data: npt.NDArray[np.uint8]
    image: npt.NDArray[np.uint8]
    output: npt.NDArray[np.uint8]
    act: npt.NDArray[np.int64] = field(init=False)
    residual: npt.NDArray[np.int64] = field(init=False)
    logits: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.act = np.zeros(self.overlay.act_words * self.overlay.word, np.int64)
        self.residual = np.zeros(self.overlay.res_words * self.overlay.word, np.int64)
        self.logits = np.zeros(self.overlay.logits, np.int64)

    def region(
        self, memory: npt.NDArray[np.int64], base: int, pitch: int, tokens: int, channels: int
    ) -> npt.NDArray[np.int64]:
        """A view (tokens, channels) of a region."""
        first, width = int(base) * self.overlay.word, int(pitch) * self.overlay.depth
        return memory[first : first + tokens * width].reshape(tokens, width)[:, :channels]

    def memory(self, offset: int, size: int, dtype: str | np.dtype[Any]) -> npt.NDArray[Any]:
        """Bytes of the program, as an array of `dtype`."""
        return self.data[offset : offset + size].view(dtype)


def run(program: Program, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Execute a program on raw RGB bytes (side, side, 3); returns the output area, uint8.

    Raises ProgramError when the image has another shape or a descriptor is out of range.
    """
    side = program.image_size
    if image.shape != (side, side, 3) or image.dtype != np.uint8:
        raise ProgramError(
            f"the image is {image.dtype} {image.shape}, expected uint8 ({side}, {side}, 3)"
        )
    output = np.zeros(program.output_bytes, np.uint8)
    execute(program.overlay, program.data, program.count, image.reshape(-1), output)
    return output


def execute(
    overlay: Overlay,
    data: npt.NDArray[np.uint8],
    count: int,
    image: npt.NDArray[np.uint8],
    output: npt.NDArray[np.uint8],
    done: Callable[[int], None] = lambda number: None,
) -> None:
    """Execute the `count` descriptors at the start of `data`; fills `output`. All flat uint8.

    `done(number)` is called after each descriptor. Raises ProgramError when one is out of range.
    """
    require(data, count, overlay, image.size, output.size)
    descriptors = data[: count * hw.DESCRIPTOR_BYTES].view(hw.DESCRIPTOR_DTYPE)
    machine = Machine(overlay, data, image, output)
    for number, d in enumerate(descriptors):
        opcode = Opcode(int(d["opcode"]))
        if opcode != Opcode.END:
            OPERATIONS[opcode](machine, d)
        done(number)
        if opcode == Opcode.END:
            break


def load_image(m: Machine, d: np.void) -> None:
    """ACT[destination] = patches of the image."""
    side, address = int(d["image_size"]), int(d["address"])
    pixels = m.image[address : address + side * side * 3].reshape(side, side, 3)
    patches = ar.patches(pixels, hw.PATCH)
    tokens, channels = patches.shape
    m.region(m.act, d["destination"], d["destination_pitch"], tokens, channels)[:] = patches


def load_residual(m: Machine, d: np.void) -> None:
    """RES = position values, int16 (tokens, inputs)."""
    tokens, channels = int(d["tokens"]), int(d["inputs"])
    values = m.memory(int(d["address"]), tokens * channels * 2, "<i2").reshape(tokens, channels)
    m.region(m.residual, 0, d["destination_pitch"], tokens, channels)[:] = values


def linear(m: Machine, d: np.void) -> None:
    """acc = activations @ weights' rows + bias, then the epilogue that `mode` names."""
    tokens, inputs, outputs = int(d["tokens"]), int(d["inputs"]), int(d["outputs"])
    rows8, overlay = int(d["rows8"]), m.overlay
    size = weight_bytes(inputs, outputs, rows8, overlay)
    packed = m.memory(int(d["weights"]), size, "u1")
    weights = unpack_weights(packed.view(np.uint8), inputs, outputs, rows8, overlay)
    rows = m.memory(int(d["parameters"]), outputs * hw.ROW_BYTES, hw.ROW_DTYPE).view(np.recarray)
    channel = rows["channel"].astype(np.int64)
    x = m.region(m.act, d["source"], d["source_pitch"], tokens, inputs)
    acc = ar.matmul(x, weights) + rows["bias"].astype(np.int64)
    multiplier, shift = rows["multiplier"].astype(np.int64), rows["shift"].astype(np.int64)
    mode = Epilogue(int(d["mode"]))
    if mode == Epilogue.LOGITS:
        m.logits[channel] = acc[0]
        return
    if mode == Epilogue.RESIDUAL:
        target = m.region(m.residual, 0, d["destination_pitch"], tokens, outputs)
        target[:, channel] = ar.add_residual(target[:, channel], acc, multiplier, shift)
        return
    target = m.region(m.act, d["destination"], d["destination_pitch"], tokens, outputs)
    result = ar.requantise(acc, multiplier, shift, int(d["clamp"]))
    if mode == Epilogue.TABLE:
        table = m.memory(int(d["lookup"]), hw.TABLE_BYTES, "i1").astype(np.int64)
        result = ar.lookup(result, table)
    target[:, channel] = result


def layernorm(m: Machine, d: np.void) -> None:
    """ACT[destination] = LayerNorm of RES."""
    tokens, channels = int(d["tokens"]), int(d["inputs"])
    x = m.region(m.residual, 0, d["source_pitch"], tokens, channels)
    gain = m.memory(int(d["parameters"]), channels * 2, "<u2").astype(np.int64)
    out = ar.layernorm(x, gain, int(d["shift"]), int(d["epsilon"]))
    m.region(m.act, d["destination"], d["destination_pitch"], tokens, channels)[:] = out


def attention(m: Machine, d: np.void) -> None:
    """ACT[destination] = softmax(Q K^T) V, head by head."""
    tokens, keys, heads = int(d["tokens"]), int(d["keys"]), int(d["heads"])
    channels = heads * hw.HEAD_DIM
    q = m.region(m.act, d["source"], d["source_pitch"], tokens, channels)
    first_k, first_v = int(d["channel_k"]), int(d["channel_v"])
    kv = m.region(m.act, d["source_kv"], d["kv_pitch"], keys, max(first_k, first_v) + channels)
    k, v = kv[:, first_k : first_k + channels], kv[:, first_v : first_v + channels]
    out = m.region(m.act, d["destination"], d["destination_pitch"], tokens, channels)
    parameters = m.memory(int(d["parameters"]), heads * hw.HEAD_BYTES, hw.HEAD_DTYPE)
    for head, p in enumerate(parameters):
        at = slice(head * hw.HEAD_DIM, (head + 1) * hw.HEAD_DIM)
        score = int(p["score_multiplier"]), int(p["score_shift"])
        result = int(p["out_multiplier"]), int(p["out_shift"])
        out[:, at] = ar.attention_head(q[:, at], k[:, at], v[:, at], score, result)


def store(m: Machine, d: np.void) -> None:
    """OUTPUT[address] = logits, or a region of ACT or RES without gaps."""
    source, address = Source(int(d["mode"])), int(d["address"])
    if source == Source.LOGITS:
        data = m.logits[: int(d["outputs"])].astype("<i4")
    else:
        tokens, channels, pitch = int(d["tokens"]), int(d["inputs"]), d["source_pitch"]
        if source == Source.ACT:
            data = m.region(m.act, d["source"], pitch, tokens, channels).astype("<i1")
        else:
            data = m.region(m.residual, 0, pitch, tokens, channels).astype("<i2")
    raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    m.output[address : address + raw.size] = raw


OPERATIONS = {
    Opcode.LOAD_IMAGE: load_image,
    Opcode.LOAD_RESIDUAL: load_residual,
    Opcode.LINEAR: linear,
    Opcode.LAYERNORM: layernorm,
    Opcode.ATTENTION: attention,
    Opcode.STORE: store,
}
