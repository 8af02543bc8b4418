"""Weights in the order in which the array reads them.

An array cycle consumes ROWS digit rows x DEPTH inputs, a nibble each. A 4-bit row is one digit row;
an 8-bit row w = 16 * h + l, with h and l in [-8, 7], is two: l at the even digit row, h at the odd
one above it. Rows come sorted by precision, the 8-bit ones first, each kind in its original order,
so that digit rows are filled without a gap; the last group is padded with zero digits.

In memory: for each group of ROWS digit rows, for each step of DEPTH inputs, ROWS x DEPTH nibbles,
digit row after digit row; the nibble of an even input is the low half of its byte.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.model.network import Linear


def row_order(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Row numbers as they are streamed: 8-bit rows, then 4-bit rows, each in original order."""
    return np.argsort(bits != 8, kind="stable")


def pack_weights(linear: Linear, overlay: Overlay) -> npt.NDArray[np.uint8]:
    """The packed bytes of a matrix: groups * steps * ROWS * DEPTH / 2."""
    ordered = linear.weights[row_order(linear.bits)]
    wide, narrow = ordered[: linear.rows8], ordered[linear.rows8 :]
    low = ((wide & 15) ^ 8) - 8
    high = (wide.astype(np.int16) - low) >> 4
    digits = np.concatenate(
        [np.stack([low, high.astype(np.int8)], axis=1).reshape(-1, linear.inputs), narrow]
    )
    groups = -(-len(digits) // overlay.rows)
    steps = -(-linear.inputs // overlay.depth)
    padded = np.zeros((groups * overlay.rows, steps * overlay.depth), np.uint8)
    padded[: len(digits), : linear.inputs] = digits.view(np.uint8) & 15
    tiles = padded.reshape(groups, overlay.rows, steps, overlay.depth).swapaxes(1, 2)
    return np.asarray(tiles[..., 0::2] | tiles[..., 1::2] << 4).reshape(-1)


def unpack_weights(
    packed: npt.NDArray[np.uint8], inputs: int, outputs: int, rows8: int, overlay: Overlay
) -> npt.NDArray[np.int8]:
    """The rows as they are streamed, int8 (outputs, inputs): the inverse of pack_weights."""
    steps = -(-inputs // overlay.depth)
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(
        -1, steps, overlay.rows, overlay.depth
    )
    digits = nibbles.swapaxes(1, 2).reshape(-1, steps * overlay.depth)[:, :inputs]
    digits = (digits.astype(np.int8) ^ 8) - 8
    wide = digits[0 : 2 * rows8 : 2] + 16 * digits[1 : 2 * rows8 : 2]
    return np.concatenate([wide, digits[2 * rows8 : rows8 + outputs]])


def pack_rows(linear: Linear) -> npt.NDArray[np.uint8]:
    """Row parameters in streaming order, ROW_BYTES a row."""
    order = row_order(linear.bits)
    rows = np.zeros(linear.rows, hw.ROW_DTYPE)
    rows["bias"] = linear.bias[order]
    rows["multiplier"] = linear.multiplier[order]
    rows["shift"] = linear.shift[order]
    rows["channel"] = order
    return rows.view(np.uint8)
