"""Damaged and forged model files, and an oracle of what an accepted one must hold.

Six kinds of mutation of the smallest legal model. The oracle shares nothing with the validator, and
reads the tensors with the safetensors library, which the reader does without.
"""

from __future__ import annotations

import copy
import hashlib
import json
import marshal
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from quasar_runtime.model.file import model_to_bytes
from quasar_runtime.model.network import Model
from tests.runtime.model import model_bytes as mb

RAW = model_to_bytes(mb.small_model())
HEADER, DATA = mb.split(RAW)
MANIFEST = mb.manifest_of(RAW)
HEADER_END = len(RAW) - len(DATA)
HEADER_BYTES = RAW[:HEADER_END]
SUM = MANIFEST["data_sha256"].encode()
TABLE = {name: entry for name, entry in HEADER.items() if name != "__metadata__"}
TABLE_TEXT = json.dumps(TABLE)[1:-1]
METADATA_TEXT = json.dumps({"__metadata__": HEADER["__metadata__"]})[1:-1]
"""The header's two parts, of which a mutation writes the one that it changes anew."""
TENSORS = [(e["data_offsets"][0], e["data_offsets"][1]) for e in TABLE.values()]
TENSORS = [(begin, end) for begin, end in TENSORS if begin < end]
ENDS = (0, 0x7F, 0x80, 0xFF)
MARSHALLED_TABLE, MARSHALLED_MANIFEST = marshal.dumps(TABLE), marshal.dumps(MANIFEST)
"""Copied by unmarshalling: several times as fast as copy.deepcopy."""
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
        return int(array.min()) < low or int(array.max()) > high

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
        wide = np.abs(m.weights.astype(np.int16))
        limit = np.where(m.bits == 8, 119, 7)
        if (wide.max(axis=1) > limit).any():
            return f"weights of {name}"
        sums = wide.sum(axis=1, dtype=np.int64)
        if (127 * sums + np.abs(m.bias.astype(np.int64)) >= 2**31).any():
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


def unlike_safetensors(model: Model, raw: bytes) -> str | None:
    """What an accepted model holds that is not what the safetensors library reads, or None."""
    try:
        read = {name: tensor["data"] for name, tensor in deserialize(raw)}  # type: ignore[no-untyped-call]
    except SafetensorError as e:
        return f"safetensors refuses the file: {e}"
    held: dict[str, npt.NDArray[Any]] = {"position": model.position, "head.scale": model.head_scale}
    for name, m in model.linears().items():
        held |= {f"{name}.{part}": getattr(m, part) for part in ("bits", "bias")}
        if name != "head":
            held |= {f"{name}.{part}": getattr(m, part) for part in ("multiplier", "shift")}
        held[f"{name}.weights8"] = m.weights[m.bits == 8]
        narrow = m.weights[m.bits == 4].astype(np.uint8) % 16
        held[f"{name}.weights4"] = narrow[:, 0::2] + 16 * narrow[:, 1::2]
    held |= {f"{name}.gain": norm.gain for name, norm in model.norms().items()}
    for i, block in enumerate(model.blocks):
        held |= {f"blocks.{i}.attention.{part}": v for part, v in vars(block.attention).items()}
        held[f"blocks.{i}.gelu"] = block.gelu
    if held.keys() != read.keys():
        return f"other tensors: {held.keys() ^ read.keys()}"
    return next((name for name, v in held.items() if v.tobytes() != read[name]), None)


def flip_bytes(rng: Random, raw: bytes, first: int, last: int) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(first, last)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def anywhere(rng: Random) -> bytes:
    return flip_bytes(rng, RAW, 0, len(RAW))


def in_header(rng: Random) -> bytes:
    """Flipped bytes or foreign JSON in the header, whose length is kept right."""
    if rng.random() < 0.4:
        return flip_bytes(rng, RAW, 0, HEADER_END)
    begin = rng.randrange(8, HEADER_END)
    end = min(begin + rng.randrange(12), HEADER_END)
    return mb.frame(RAW[8:begin] + rng.choice(TOKENS).encode() + RAW[end:HEADER_END], DATA)


def in_tensors(rng: Random) -> bytes:
    """Values of one tensor changed, with the sum made right so that the ranges are reached."""
    begin, end = rng.choice(TENSORS)
    changed = bytearray(DATA)
    for _ in range(rng.randint(1, 2)):
        value = rng.choice(ENDS) if rng.random() < 0.8 else rng.randrange(256)
        changed[rng.randrange(begin, end)] = value
    made_right = hashlib.sha256(changed).hexdigest().encode()
    return HEADER_BYTES.replace(SUM, made_right) + changed


def replace_somewhere(rng: Random, values: Any) -> None:
    """Change, remove, rename, add or swap one entry at a random place of nested JSON values."""
    while True:
        keys = list(values) if isinstance(values, dict) else range(len(values))
        if not keys:
            return
        key = rng.choice(keys)
        inner = values[key]
        if not isinstance(inner, dict | list) or rng.random() < 0.15:
            break
        values = inner
    action = rng.randrange(10)
    if action == 0:
        del values[key]
    elif action == 1 and isinstance(values, dict):
        values[f"{key}x"] = values.pop(key)
    elif action == 2 and isinstance(values, dict):
        values["extra"] = copy.deepcopy(inner)
    elif action == 3:
        other = rng.choice(keys)
        values[key], values[other] = values[other], values[key]
    else:
        values[key] = copy.deepcopy(rng.choice(VALUES))


def in_manifest(rng: Random) -> bytes:
    manifest = marshal.loads(MARSHALLED_MANIFEST)
    for _ in range(rng.randint(1, 2)):
        replace_somewhere(rng, manifest)
    text = json.dumps(json.dumps(manifest))
    return mb.frame(f'{{"__metadata__": {{"quasar": {text}}}, {TABLE_TEXT}}}', DATA)


def in_table(rng: Random) -> bytes:
    """Types, shapes and offsets of tensors."""
    table = marshal.loads(MARSHALLED_TABLE)
    replace_somewhere(rng, table)
    return mb.frame(f"{{{METADATA_TEXT}, {json.dumps(table)[1:-1]}}}", DATA)


def in_length(rng: Random) -> bytes:
    """Truncations, insertions, deletions, repeated parts, and another header length."""
    at = rng.randrange(len(RAW) if rng.random() < 0.5 else HEADER_END)
    size = rng.randrange(1, 40)
    action = rng.randrange(6)
    if action == 0:
        return RAW[:at]
    if action == 1:
        return RAW[:at] + rng.randbytes(size) + RAW[at:]
    if action == 2:
        return RAW[:at] + RAW[at + size :]
    if action == 3:
        return RAW[:at] + RAW[max(at - size, 0) :]
    length = rng.randrange(2**40) if action == 4 else HEADER_END - 8 + rng.randint(-9, 9)
    return length.to_bytes(8, "little") + RAW[8:]


KINDS: dict[str, Callable[[Random], bytes]] = {
    f.__name__: f for f in (anywhere, in_header, in_tensors, in_manifest, in_table, in_length)
}
