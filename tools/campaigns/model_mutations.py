"""Damaged and forged model files, and an oracle of what an accepted one must hold.

Six kinds of mutation of the smallest legal model. The oracle shares nothing with the validator.
"""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.model.file import model_to_bytes
from quasar_runtime.model.network import Model
from tests.runtime.model import model_bytes as mb

RAW = model_to_bytes(mb.small_model())
HEADER, DATA = mb.split(RAW)
MANIFEST = mb.manifest_of(RAW)
HEADER_END = len(RAW) - len(DATA)
PICKLED_HEADER, PICKLED_MANIFEST = pickle.dumps(HEADER), pickle.dumps(MANIFEST)
"""Copied by unpickling: several times as fast as copy.deepcopy."""
TOKENS = [
    "NaN", "-Infinity", "1e999", "null", "true", "-1", "0", "9" * 40, "[", "]", "{", "}", '"', ",",
    ":", "\\", "\\ud800", "[" * 3000, '{"a":' * 500, '"position"', '"I8"', "\x00", "1.5", "256",
]  # fmt: skip
VALUES = [
    None, True, False, -1, 0, 1, 2, 7, 15, 16, 23, 24, 32, 40, 41, 64, 240, 256, 1024, 4096, 4097,
    2**15, 2**31, 2**32 - 1, 2**32, 2**63, 10**300, -(2**70), 0.5, 16.0, "", "x", "\x1b", "\ud800",
    "I8", "U8", "I16", "F64", "a" * 300, [], {}, [1], [0, 0], [1, 0], [16, 32], {"a": 1}, [[[[]]]],
]  # fmt: skip


def broken_range(model: Model) -> str | None:
    """The first range of docs/model-file.md that an accepted model breaks, or None."""

    def outside(array: npt.NDArray[Any], low: int, high: int) -> bool:
        return any(not low <= int(v) <= high for v in (array.min(), array.max()))

    side, width, depth = model.preprocessing.crop, model.position.shape[1], len(model.blocks)
    if side not in range(16, 241, 16) or not side <= model.preprocessing.resize <= 4096:
        return "image size"
    if width not in range(32, 1025, 32) or not 1 <= depth <= 64:
        return "width or depth"
    if model.position.shape != ((side // 16) ** 2 + 1, width) or model.position.dtype != np.int16:
        return "position"
    if model.preprocessing.resampling not in ("bicubic", "bilinear"):
        return "resampling"
    classes = len(model.labels)
    shapes = {"patch": (width, 768), "head": (classes, width)}
    for i, block in enumerate(model.blocks):
        heads, hidden = len(block.attention.out_shift), len(block.fc1.bias)
        if not 1 <= heads <= 16 or hidden not in range(32, 4097, 32):
            return f"geometry of block {i}"
        shapes[f"blocks.{i}.qkv"], shapes[f"blocks.{i}.proj"] = (
            (192 * heads, width),
            (width, 64 * heads),
        )
        shapes[f"blocks.{i}.fc1"], shapes[f"blocks.{i}.fc2"] = (hidden, width), (width, hidden)
        attention = block.attention
        if outside(attention.score_multiplier, 1, 32767) or outside(attention.score_shift, 0, 23):
            return f"scores of block {i}"
        if outside(attention.out_multiplier, 0, 32767) or outside(attention.out_shift, 0, 40):
            return f"attention output of block {i}"
        if outside(block.gelu, -127, 127) or block.gelu.shape != (256,):
            return f"gelu of block {i}"
    for name, m in model.linears().items():
        rows = shapes[name][:1]
        if m.weights.shape != shapes[name] or {m.bits.shape, m.bias.shape} != {rows}:
            return f"shape of {name}"
        if {m.multiplier.shape, m.shift.shape} != {rows}:
            return f"shape of {name}"
        if not set(m.bits.tolist()) <= ({8} if name in ("patch", "head") else {4, 8}):
            return f"bits of {name}"
        wide = np.abs(m.weights.astype(np.int64))
        limit = np.where(m.bits == 8, 119, 7)[:, None]
        if (wide > limit).any():
            return f"weights of {name}"
        if (127 * wide.sum(axis=1) + np.abs(m.bias.astype(np.int64)) >= 2**31).any():
            return f"overflow in {name}"
        if outside(m.multiplier, 0, 32767) or outside(m.shift, 0, 40):
            return f"requantisation of {name}"
    for name, norm in model.norms().items():
        if outside(norm.gain, 0, 32767) or norm.gain.shape != (width,):
            return f"gain of {name}"
        if not 1 <= norm.shift <= 40 or not 1 <= norm.epsilon < 2**32:
            return f"constants of {name}"
    if model.head_scale.shape != (classes,) or not (model.head_scale > 0).all():
        return "head scale"
    if not np.isfinite(model.head_scale).all():
        return "head scale"
    json.dumps([model.name, model.labels, model.provenance, model.target]).encode()
    return None


def flip_bytes(rng: np.random.Generator, raw: bytes, first: int, last: int) -> bytes:
    changed = bytearray(raw)
    for at in rng.integers(first, last, rng.integers(1, 4)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def anywhere(rng: np.random.Generator) -> bytes:
    return flip_bytes(rng, RAW, 0, len(RAW))


def in_header(rng: np.random.Generator) -> bytes:
    """Flipped bytes or foreign JSON in the header, whose length is kept right."""
    if rng.random() < 0.4:
        return flip_bytes(rng, RAW, 0, HEADER_END)
    text = RAW[8:HEADER_END]
    begin = int(rng.integers(len(text)))
    end = begin + int(rng.integers(0, 12))
    token = TOKENS[rng.integers(len(TOKENS))].encode()
    return mb.frame(text[:begin] + token + text[end:], DATA)


def in_tensors(rng: np.random.Generator) -> bytes:
    """Values of one tensor changed, with the sum made right so that the ranges are reached."""
    name = list(HEADER)[int(rng.integers(1, len(HEADER)))]
    begin, end = HEADER[name]["data_offsets"]
    if begin == end:
        return anywhere(rng)
    changed = bytearray(DATA)
    for at in rng.integers(begin, end, rng.integers(1, 3)):
        changed[at] = int(rng.choice([rng.integers(256), 0, 0x7F, 0x80, 0xFF]))
    return mb.join(HEADER, bytes(changed))


def replace_somewhere(rng: np.random.Generator, values: Any) -> None:
    """Change, remove, rename, add or swap one entry at a random place of nested JSON values."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = keys[int(rng.integers(len(keys)))]
        inner = values[key]
        if not isinstance(inner, dict | list) or rng.random() < 0.15:
            break
        values = inner
    action = rng.integers(10)
    if action == 0:
        del values[key]
    elif action == 1 and isinstance(values, dict):
        values[f"{key}x"] = values.pop(key)
    elif action == 2 and isinstance(values, dict):
        values["extra"] = copy.deepcopy(inner)
    elif action == 3:
        other = keys[int(rng.integers(len(keys)))]
        values[key], values[other] = values[other], values[key]
    else:
        values[key] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])


def in_manifest(rng: np.random.Generator) -> bytes:
    manifest = pickle.loads(PICKLED_MANIFEST)
    for _ in range(rng.integers(1, 3)):
        replace_somewhere(rng, manifest)
    return mb.with_manifest(HEADER, json.dumps(manifest), DATA)


def in_table(rng: np.random.Generator) -> bytes:
    """Types, shapes and offsets of tensors."""
    header = pickle.loads(PICKLED_HEADER)
    metadata = header.pop("__metadata__")
    replace_somewhere(rng, header)
    return mb.frame(json.dumps({"__metadata__": metadata, **header}), DATA)


def in_length(rng: np.random.Generator) -> bytes:
    """Truncations, insertions, deletions, repeated parts, and another header length."""
    at = int(rng.integers(len(RAW) if rng.random() < 0.5 else HEADER_END))
    size = int(rng.integers(1, 40))
    return (
        RAW[:at],
        RAW[:at] + rng.bytes(size) + RAW[at:],
        RAW[:at] + RAW[at + size :],
        RAW[:at] + RAW[max(at - size, 0) :],
        int(rng.integers(2**40)).to_bytes(8, "little") + RAW[8:],
        (HEADER_END - 8 + int(rng.integers(-9, 10))).to_bytes(8, "little") + RAW[8:],
    )[rng.integers(6)]


KINDS = {f.__name__: f for f in (anywhere, in_header, in_tensors, in_manifest, in_table, in_length)}
