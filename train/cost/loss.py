"""The loss of a mix of rows by its row effects, without training; no PyTorch.

The effect of a row is the squared error that 4 bits in place of 8 cause in its result, times the
squared gradient of the network's output there; that of a hidden unit is what it writes to the
residual, in the same measure (train/quantise/effects.py measures both). Half the sum over 4-bit
rows and missing units is, to second order and if each erred alone, the Kullback-Leibler divergence
from the float network that they add to all rows in 8 bits, before any training.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.files import open_regular, replacing

from ..spaces.space import MATRICES, SHARES, BlockConfig, Space, SpaceError, Subnet

REMEDY = "search a space of the checkpoint's own width, depth and heads, or with a supernet"
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that reading a file that is no .npz raises."""


def _require_effects(effects: Mapping[str, npt.NDArray[Any]]) -> None:
    """ValueError unless these are effects (rows,) of every matrix and of units, per block."""
    depth = len(effects) // (len(MATRICES) + 1)
    names = {f"blocks.{i}.{m}" for i in range(depth) for m in (*MATRICES, "units")}
    if not depth or set(effects) != names:
        raise ValueError("the names are not those of blocks' matrices")
    for name, values in effects.items():
        numbers = values.ndim == 1 and values.size and values.dtype.kind in "fiu"
        if not numbers or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"{name} is no list of finite numbers from 0")


class EffectLoss:
    """The loss of mixed rows and narrower MLPs of one network: a callable Subnet -> float.

    effects: per matrix ("blocks.N.qkv" and so on), (rows,), and "blocks.N.units", (hidden units,),
    in descending order, which is the order of FC1's rows. A matrix's 8-bit rows are those of the
    greatest effects. A subnet must have the network's own width, depth and heads.
    """

    def __init__(self, effects: Mapping[str, npt.ArrayLike]) -> None:
        self.effects = {name: np.asarray(e, np.float64) for name, e in effects.items()}
        self.depth = len(self.effects) // (len(MATRICES) + 1)
        self.missing = [
            np.concatenate([[0.0], self.effects[f"blocks.{i}.units"][::-1].cumsum()])[::-1] / 2
            for i in range(self.depth)
        ]
        self._narrow: dict[tuple[str, int], npt.NDArray[np.float64]] = {}

    @classmethod
    def load(cls, path: Path) -> EffectLoss:
        """Read the .npz that `save` wrote. SpaceError when the file holds no effects."""
        with open_regular(path, SpaceError) as file:
            try:
                with np.load(file) as data:
                    effects = {name: np.asarray(data[name]) for name in data.files}
                _require_effects(effects)
                return cls(effects)
            except UNREADABLE as e:
                reason = " ".join(str(e).split())[:200]
                raise SpaceError(
                    f"{path} holds no effects ({reason}); make them by quasar-train predictor"
                ) from None

    def save(self, path: Path) -> None:
        """Write the effects as .npz, whole or not at all. DataError when that cannot be."""
        arrays: dict[str, Any] = {n: e.astype(np.float32) for n, e in self.effects.items()}
        memory = io.BytesIO()
        np.savez(memory, **arrays)
        with replacing(path) as file:
            file.write(memory.getbuffer())

    def __call__(self, subnet: Subnet) -> float:
        """The loss of a subnet. SpaceError unless it has the effects' width, depth and heads."""
        if subnet.depth != self.depth:
            raise SpaceError(
                f"the effects are of {self.depth} blocks, the subnet has {subnet.depth}; {REMEDY}"
            )
        return sum(self._block(i, b, subnet.width) for i, b in enumerate(subnet.blocks))

    def _block(self, number: int, block: BlockConfig, width: int) -> float:
        """Loss of a block's 4-bit rows and missing hidden units."""
        total = 0.0
        rows8 = block.rows8(width)
        for matrix, (rows, _) in block.shapes(width).items():
            name = f"blocks.{number}.{matrix}"
            have = len(self.effects[name])
            if rows > have or (rows < have and matrix != "fc1"):
                raise SpaceError(
                    f"block {number}: {matrix} has {rows} rows, the effects are of {have}; {REMEDY}"
                )
            total += float(self._narrow_rows(name, rows)[rows8[matrix]])
        return total + float(self.missing[number][block.mlp])

    def _narrow_rows(self, name: str, rows: int) -> npt.NDArray[np.float64]:
        """(rows + 1,) loss of the first `rows` rows with 0, 1, 2 ... of them in 8 bits."""
        key = (name, rows)
        if key not in self._narrow:
            ascending = np.sort(self.effects[name][:rows])
            self._narrow[key] = np.concatenate([[0.0], ascending.cumsum()])[::-1] / 2
        return self._narrow[key]

    def path(self, space: Space, cycles: Callable[[Subnet], float]) -> list[Subnet]:
        """Subnets from the narrowest in 4 bits to the widest in 8.

        Each differs from the one before in one choice of one block, the one that saves most loss
        per cycle: near the best for a loss that is a sum over rows and units.
        """
        width, hidden = space.widths[-1], space.hidden(space.widths[-1])
        first = replace(space.smallest().blocks[0], heads=space.heads[-1], mlp=hidden[0])
        subnet = Subnet(width, (first,) * space.depths[-1])
        prices = [_prices(subnet, i, space, cycles) for i in range(subnet.depth)]
        choices: dict[str, Sequence[float]] = dict.fromkeys(SHARES, space.shares)
        choices["mlp"] = hidden

        def best(number: int) -> tuple[float, int, BlockConfig | None]:
            """(saved for its cycles, block, the block raised)."""
            block, price = subnet.blocks[number], prices[number]
            now, paid = self._block(number, block, width), price(block)
            found: tuple[float, int, BlockConfig | None] = (-np.inf, number, None)
            for name, values in choices.items():
                place = values.index(getattr(block, name)) + 1
                if place < len(values):
                    raised = _with(block, name, values[place])
                    saved = now - self._block(number, raised, width)
                    rate = saved / max(1.0, price(raised) - paid)
                    found = max(found, (rate, number, raised), key=lambda f: f[0])
            return found

        steps = [subnet]
        offers = [best(i) for i in range(subnet.depth)]
        while (offer := max(offers, key=lambda o: o[0]))[2] is not None:
            subnet = _put(subnet, offer[1], offer[2])
            steps.append(subnet)
            offers[offer[1]] = best(offer[1])
        return steps


def _with(block: BlockConfig, name: str, value: float) -> BlockConfig:
    change: dict[str, Any] = {name: value}
    return replace(block, **change)


def _put(subnet: Subnet, number: int, block: BlockConfig) -> Subnet:
    blocks = list(subnet.blocks)
    blocks[number] = block
    return replace(subnet, blocks=tuple(blocks))


def _prices(
    subnet: Subnet, number: int, space: Space, cycles: Callable[[Subnet], float]
) -> Callable[[BlockConfig], float]:
    """A block's price in cycles above the subnet's own: per hidden unit, and per 8-bit row.

    In the last block, which computes for one token, prices are low.
    """
    width, block = subnet.width, subnet.blocks[number]
    base = cycles(subnet)
    widest = _with(block, "mlp", space.hidden(width)[-1])
    units = max(1, widest.mlp - block.mlp)
    unit = (cycles(_put(subnet, number, widest)) - base) / units
    row = {}
    for share, matrix in zip(SHARES, MATRICES, strict=True):
        wide = _with(block, share, 1.0)
        rows = wide.rows8(width)[matrix] - block.rows8(width)[matrix]
        row[matrix] = (cycles(_put(subnet, number, wide)) - base) / max(1, rows)
    # FC2's inputs are the hidden units: a row of a wider block costs in proportion.
    fc2 = row["fc2"] / block.mlp

    def price(choice: BlockConfig) -> float:
        rows8 = choice.rows8(width)
        others = sum(row[m] * rows8[m] for m in MATRICES if m != "fc2")
        return unit * choice.mlp + others + fc2 * choice.mlp * rows8["fc2"]

    return price
