"""Subnets as genes: what a search crosses and mutates."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from .space import SHARES, BlockConfig, Space, Subnet


class Genome:
    """Subnets of a space, on one of several overlays, as Optuna's parameters and back.

    A block is one integer, a number of mixed radix whose digits are its choices, so that a child
    takes whole blocks from its parents.
    """

    def __init__(self, space: Space, overlays: Sequence[str]) -> None:
        self.space, self.overlays = space, list(overlays)
        hidden = len(space.hidden(space.widths[0]))
        self.radix = (len(space.heads), hidden, *(len(space.shares) for _ in SHARES))
        self.genes = {
            "overlay": len(self.overlays),
            "width": len(space.widths),
            "depth": len(space.depths),
            **{f"block {i}": math.prod(self.radix) for i in range(space.depths[-1])},
        }

    def encode(self, subnet: Subnet, overlay: str) -> dict[str, int]:
        """The parameters of a subnet. Blocks beyond its depth repeat the last one."""
        space, hidden = self.space, self.space.hidden(subnet.width)
        genes = {
            "overlay": self.overlays.index(overlay),
            "width": space.widths.index(subnet.width),
            "depth": space.depths.index(subnet.depth),
        }
        for i in range(space.depths[-1]):
            b = subnet.blocks[min(i, subnet.depth - 1)]
            shares = [space.shares.index(getattr(b, share)) for share in SHARES]
            digits = (space.heads.index(b.heads), hidden.index(b.mlp), *shares)
            genes[f"block {i}"] = self._number(digits)
        return genes

    def decode(self, genes: Mapping[str, int]) -> tuple[Subnet, str]:
        """(subnet, overlay) of parameters."""
        space = self.space
        width = space.widths[genes["width"]]
        blocks = []
        for i in range(space.depths[genes["depth"]]):
            heads, mlp, *shares = self._digits(genes[f"block {i}"])
            chosen = [space.shares[s] for s in shares]
            blocks.append(BlockConfig(space.heads[heads], space.hidden(width)[mlp], *chosen))
        return Subnet(width, tuple(blocks)), self.overlays[genes["overlay"]]

    def child(self, parents: Sequence[Mapping[str, int]], rng: random.Random) -> dict[str, int]:
        """A child of one or two parents.

        Each gene comes from either parent; then one or more genes move by a step, in a block one
        digit.
        """
        one = rng.choice(parents)
        two = rng.choice((one, rng.choice(parents)))
        genes = {name: rng.choice((one, two))[name] for name in self.genes}
        several = [name for name, count in self.genes.items() if count > 1]
        for name in rng.sample(several, min(len(several), 1 + int(rng.expovariate(0.7)))):
            genes[name] = self._moved(name, genes[name], rng)
        return genes

    def _moved(self, name: str, value: int, rng: random.Random) -> int:
        if not name.startswith("block"):
            return _step(value, self.genes[name], rng)
        digits = list(self._digits(value))
        movable = [i for i, base in enumerate(self.radix) if base > 1]
        i = rng.choice(movable)
        digits[i] = _step(digits[i], self.radix[i], rng)
        return self._number(digits)

    def _number(self, digits: Sequence[int]) -> int:
        value = 0
        for digit, base in zip(digits, self.radix, strict=True):
            value = value * base + digit
        return value

    def _digits(self, value: int) -> list[int]:
        digits = []
        for base in reversed(self.radix):
            value, digit = divmod(value, base)
            digits.append(digit)
        return digits[::-1]


def _step(value: int, count: int, rng: random.Random) -> int:
    """A neighbour of `value`, or one time in four any other choice."""
    if rng.random() < 0.25:
        return (value + rng.randrange(1, count)) % count
    near = [v for v in (value - 1, value + 1) if 0 <= v < count]
    return rng.choice(near)
