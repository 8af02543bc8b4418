"""Mutations of any file's bytes."""

from __future__ import annotations

import numpy as np

EXTREMES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def mutate_bytes(rng: np.random.Generator, raw: bytes, other: bytes = b"") -> bytes:
    """Flipped or extreme bytes, a truncation, or a part that is put in, taken out, repeated or
    taken from `other`."""
    if not raw:
        return rng.bytes(int(rng.integers(1, 40)))
    at, size = int(rng.integers(len(raw))), int(rng.integers(1, 40))
    match rng.integers(8):
        case 0 | 1:
            return flipped(rng, raw)
        case 2:
            changed = bytearray(raw)
            for place in rng.integers(0, len(raw), rng.integers(1, 6)):
                changed[place] = EXTREMES[rng.integers(len(EXTREMES))]
            return bytes(changed)
        case 3:
            return raw[:at]
        case 4:
            return raw[:at] + rng.bytes(size) + raw[at:]
        case 5:
            return raw[:at] + raw[at + size :]
        case 6:
            return raw[:at] + raw[max(at - size, 0) :]
        case _:
            cut = int(rng.integers(len(other) + 1))
            return raw[:at] + other[cut:]


def flipped(rng: np.random.Generator, raw: bytes, first: int = 0) -> bytes:
    """One to four bits flipped from byte `first` on."""
    changed = bytearray(raw)
    if len(raw) > first:
        for at in rng.integers(first, len(raw), rng.integers(1, 5)):
            changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def number(rng: np.random.Generator, size: int, order: str) -> bytes:
    """An unsigned number of `size` bytes: small, at a border of its range, or any."""
    most = 256**size - 1
    borders = (0, 1, 2, most, most - 1, most // 2, most // 2 + 1, 65535, 65536, 11585, 4096)
    value = borders[int(rng.integers(len(borders)))]
    if rng.random() < 0.4:
        value = int.from_bytes(rng.bytes(size), "little")
    return (value & most).to_bytes(size, order)  # type: ignore[arg-type]
