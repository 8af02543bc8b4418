"""Search spaces: which networks may be built, and one of them, a subnet.

A space is a small YAML file in `train/spaces/` (or anywhere):

    image_size: 224
    classes: 1000
    widths: [160, 192]                  # embedding widths
    depths: [11, 12]                    # blocks
    heads: [2, 3]                       # of a block, 64 channels each
    mlp: [512, 640, 768]                # hidden width of a block; or mlp_ratios: [3, 3.5, 4]
    shares: [0, 0.25, 0.5, 0.75, 1]     # 8-bit rows of a matrix, the others are 4-bit

Width and depth are chosen per subnet, heads and MLP width per block, shares per matrix.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from quasar_runtime.errors import QuasarError, did_you_mean
from quasar_runtime.isa.interface import (
    CHANNEL_MULTIPLE,
    HEAD_DIM,
    MAX_CHANNELS,
    MAX_HEADS,
    MAX_WIDTH,
    PATCH,
)
from quasar_runtime.model.validate import shown

from ..data.recipe import read_yaml

SPACES = Path(__file__).parent
MATRICES = ("qkv", "proj", "fc1", "fc2")
SHARES = ("qkv8", "proj8", "fc1_8", "fc2_8")
"""Fields of a BlockConfig that hold the fraction of 8-bit rows of MATRICES."""
MAX_DEPTH = 64
MAX_CLASSES = 4096
IMAGE_SIDE = (PATCH, 240)
MOST_CHOICES = 256

Choice = TypeVar("Choice", int, float)


class SpaceError(QuasarError):
    """A search space or a subnet that cannot be used."""


@dataclass(frozen=True)
class BlockConfig:
    """A block of a subnet: heads, MLP width, and per matrix the fraction of 8-bit rows, 0 to 1."""

    heads: int
    mlp: int
    qkv8: float
    proj8: float
    fc1_8: float
    fc2_8: float

    def shapes(self, width: int) -> dict[str, tuple[int, int]]:
        """(rows, inputs) of each matrix."""
        channels = self.heads * HEAD_DIM
        return {
            "qkv": (3 * channels, width),
            "proj": (width, channels),
            "fc1": (self.mlp, width),
            "fc2": (width, self.mlp),
        }

    def rows8(self, width: int) -> dict[str, int]:
        """Number of 8-bit rows of each matrix."""
        rows = [shape[0] for shape in self.shapes(width).values()]
        return {
            matrix: round(getattr(self, share) * count)
            for matrix, share, count in zip(MATRICES, SHARES, rows, strict=True)
        }

    def work(self, width: int) -> int:
        """4-bit multiplications of the matrices per token; an 8-bit one counts as two."""
        rows8 = self.rows8(width)
        return sum((r + rows8[m]) * inputs for m, (r, inputs) in self.shapes(width).items())


@dataclass(frozen=True)
class Subnet:
    """One network of a space: embedding width and blocks."""

    width: int
    blocks: tuple[BlockConfig, ...]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @classmethod
    def uniform(cls, width: int, depth: int, heads: int, mlp: int, share8: float) -> Subnet:
        """`depth` equal blocks with the same share of 8-bit rows in every matrix."""
        return cls(width, (BlockConfig(heads, mlp, share8, share8, share8, share8),) * depth)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: {"width": ..., "blocks": [{"heads": ..., ...}, ...]}."""
        return {"width": self.width, "blocks": [asdict(block) for block in self.blocks]}

    @classmethod
    def from_dict(cls, data: Any) -> Subnet:
        """The inverse of `to_dict`. SpaceError for anything else."""
        _expect_keys("a subnet", data, ("width", "blocks"))
        if not isinstance(data["blocks"], list) or not 1 <= len(data["blocks"]) <= MAX_DEPTH:
            raise SpaceError(
                f"a subnet's blocks are {shown(data['blocks'])}; expected a list of blocks, 1 to "
                f"{MAX_DEPTH}"
            )
        step = CHANNEL_MULTIPLE
        width = _integer("a subnet's width", data["width"], step, MAX_WIDTH, step)
        return cls(width, tuple(_block(f"block {i}", b) for i, b in enumerate(data["blocks"])))

    def work(self) -> int:
        """4-bit multiplications of the blocks' matrices per token; an 8-bit one counts as two."""
        return sum(block.work(self.width) for block in self.blocks)

    def share8(self) -> float:
        """Fraction of the blocks' weights in 8-bit rows, so of the multiplications per token."""
        total = sum(
            rows * inputs for b in self.blocks for rows, inputs in b.shapes(self.width).values()
        )
        return self.work() / total - 1


@dataclass(frozen=True)
class Space:
    """The choices, each tuple ascending. Exactly one of mlp and mlp_ratios is not empty."""

    name: str
    image_size: int
    classes: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def load(cls, name: str | Path) -> Space:
        """A space of `train/spaces/` by name, or any by path.

        SpaceError when there is none, or something in it is not allowed.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            path = SPACES / f"{name}.yaml"
            if not path.exists():
                known = sorted(p.stem for p in SPACES.glob("*.yaml"))
                hint = did_you_mean(str(name), known)
                raise SpaceError(
                    f"no search space '{name}'{hint} Known: {', '.join(known)}; or give a .yaml "
                    "file"
                )
        return cls.parse(path.stem, read_yaml(path, SpaceError))

    @classmethod
    def parse(cls, name: str, data: Any) -> Space:
        """The space of a file's content. SpaceError names the entry that is not allowed."""
        where = f"space '{name}'"
        allowed = [f.name for f in fields(cls) if f.name != "name"]
        optional = ("mlp", "mlp_ratios")
        _expect_keys(where, data, allowed, optional)
        if sum(key in data for key in optional) != 1:
            raise SpaceError(f"{where} must have either mlp or mlp_ratios")
        at = f"{where}: "
        step = CHANNEL_MULTIPLE
        side = _integer(f"{at}image_size", data["image_size"], *IMAGE_SIDE, PATCH)
        space = cls(
            name=name,
            image_size=side,
            classes=_integer(f"{at}classes", data["classes"], 1, MAX_CLASSES),
            widths=_integers(f"{at}widths", data["widths"], step, MAX_WIDTH, step),
            depths=_integers(f"{at}depths", data["depths"], 1, MAX_DEPTH),
            heads=_integers(f"{at}heads", data["heads"], 1, MAX_HEADS),
            mlp=_integers(f"{at}mlp", data["mlp"], step, MAX_CHANNELS, step)
            if "mlp" in data
            else (),
            mlp_ratios=_numbers(f"{at}mlp_ratios", data["mlp_ratios"], 0.25, 16.0)
            if "mlp_ratios" in data
            else (),
            shares=_numbers(f"{at}shares", data["shares"], 0.0, 1.0),
        )
        widest = space.hidden(space.widths[-1])[-1]
        if widest > MAX_CHANNELS:
            raise SpaceError(
                f"{at}mlp_ratios give a hidden width of {widest}, allowed are up to {MAX_CHANNELS}"
            )
        return space

    @classmethod
    def around(cls, subnet: Subnet, image_size: int, classes: int) -> Space:
        """The space of one subnet alone."""
        shares = {getattr(b, share) for b in subnet.blocks for share in SHARES}
        return cls(
            name="one subnet",
            image_size=image_size,
            classes=classes,
            widths=(subnet.width,),
            depths=(subnet.depth,),
            heads=tuple(sorted({b.heads for b in subnet.blocks})),
            mlp=tuple(sorted({b.mlp for b in subnet.blocks})),
            mlp_ratios=(),
            shares=tuple(sorted(shares)),
        )

    def hidden(self, width: int) -> tuple[int, ...]:
        """The MLP widths for an embedding width, ascending.

        Ratios are rounded to the hardware's multiple of 32 channels.
        """
        if self.mlp:
            return self.mlp
        step = CHANNEL_MULTIPLE
        return tuple(max(step, step * round(r * width / step)) for r in self.mlp_ratios)

    def largest(self) -> Subnet:
        """The subnet with the greatest of every choice."""
        width = self.widths[-1]
        return Subnet.uniform(
            width, self.depths[-1], self.heads[-1], self.hidden(width)[-1], self.shares[-1]
        )

    def smallest(self) -> Subnet:
        """The subnet with the least of every choice."""
        width = self.widths[0]
        return Subnet.uniform(
            width, self.depths[0], self.heads[0], self.hidden(width)[0], self.shares[0]
        )

    def sample(self, rng: random.Random) -> Subnet:
        """A random subnet.

        A range of heads, of MLP widths and of shares is drawn first, and each block's own from it:
        drawn independently, twelve blocks would nearly always be average together.
        """
        width = rng.choice(self.widths)
        depth = rng.choice(self.depths)
        heads = _range(rng, self.heads)
        mlp = _range(rng, self.hidden(width))
        shares = _range(rng, self.shares)
        blocks = tuple(
            BlockConfig(rng.choice(heads), rng.choice(mlp), *(rng.choice(shares) for _ in SHARES))
            for _ in range(depth)
        )
        return Subnet(width, blocks)

    def check(self, subnet: Subnet) -> None:
        """SpaceError naming the first choice of `subnet` that this space lacks."""
        self._among("width", subnet.width, self.widths)
        self._among("depth", subnet.depth, self.depths)
        for i, block in enumerate(subnet.blocks):
            self._among(f"block {i}: heads", block.heads, self.heads)
            self._among(f"block {i}: mlp", block.mlp, self.hidden(subnet.width))
            for share in SHARES:
                self._among(f"block {i}: {share}", getattr(block, share), self.shares)

    def check_holds(self, other: Space) -> None:
        """SpaceError naming the first choice of another space that this one lacks.

        Shares are not compared: a supernet has rows of any share.
        """
        for what in ("image_size", "classes"):
            self._among(what, getattr(other, what), (getattr(self, what),))
        for what in ("widths", "depths", "heads"):
            for value in getattr(other, what):
                self._among(what, value, getattr(self, what))
        for width in other.widths:
            for value in other.hidden(width):
                self._among("mlp", value, self.hidden(width))

    def contains(self, subnet: Subnet) -> bool:
        """Whether `subnet` is one of this space."""
        try:
            self.check(subnet)
        except SpaceError:
            return False
        return True

    def _among(self, what: str, value: float, choices: Sequence[float]) -> None:
        if value not in choices:
            allowed = ", ".join(f"{c:g}" for c in choices)
            raise SpaceError(
                f"{what} is {value:g}, space '{self.name}' has {allowed}; choose one of these "
                "or another space"
            )


def _range(rng: random.Random, choices: Sequence[Choice]) -> Sequence[Choice]:
    """A random run of neighbouring choices."""
    first, last = sorted(rng.randrange(len(choices)) for _ in range(2))
    return choices[first : last + 1]


def _block(where: str, data: Any) -> BlockConfig:
    _expect_keys(where, data, [f.name for f in fields(BlockConfig)])
    shares = [_number(f"{where}: {share}", data[share], 0.0, 1.0) for share in SHARES]
    heads = _integer(f"{where}: heads", data["heads"], 1, MAX_HEADS)
    step = CHANNEL_MULTIPLE
    return BlockConfig(
        heads, _integer(f"{where}: mlp", data["mlp"], step, MAX_CHANNELS, step), *shares
    )


def _expect_keys(where: str, data: Any, keys: Sequence[str], optional: Sequence[str] = ()) -> None:
    if not isinstance(data, Mapping):
        raise SpaceError(f"{where} is a {type(data).__name__}; expected {', '.join(keys)}")
    for key in data:
        if key not in keys:
            raise SpaceError(
                f"{where} has an unknown entry {shown(key)}{did_you_mean(str(key), keys)} "
                f"Known: {', '.join(keys)}"
            )
    for key in keys:
        if key not in data and key not in optional:
            raise SpaceError(f"{where} lacks '{key}'; expected {', '.join(keys)}")


def _integer(what: str, value: Any, low: int, high: int, multiple: int = 1) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not low <= value <= high or value % multiple:
        kind = f"a multiple of {multiple}" if multiple > 1 else "an integer"
        raise SpaceError(f"{what} is {shown(value)}, expected {kind} from {low} to {high}")
    return int(value)


def _number(what: str, value: Any, low: float, high: float) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise SpaceError(f"{what} is {shown(value)}, expected a number from {low:g} to {high:g}")
    return float(value)


def _integers(what: str, value: Any, low: int, high: int, multiple: int = 1) -> tuple[int, ...]:
    return _ascending(what, [_integer(what, v, low, high, multiple) for v in _list(what, value)])


def _numbers(what: str, value: Any, low: float, high: float) -> tuple[float, ...]:
    return _ascending(what, [_number(what, v, low, high) for v in _list(what, value)])


def _list(what: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_CHOICES:
        raise SpaceError(
            f"{what} is {shown(value)}, expected a list such as [1, 2] of at most {MOST_CHOICES}"
        )
    return value


def _ascending(what: str, values: list[Choice]) -> tuple[Choice, ...]:
    if values != sorted(set(values)):
        raise SpaceError(f"{what} are {values}; list each once, in ascending order")
    return tuple(values)
