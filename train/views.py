"""Training views: random crops of pictures, the same for the same seed whoever decodes them.

View v of an epoch is a function of (seed, epoch, picture) alone, so that a resumed run, or one with
more workers or processes, sees what it would have seen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from quasar_runtime.errors import DataError
from quasar_runtime.images import decode
from train.data import Source, by_class, classes_apart
from train.recipe import TrainRecipe


@dataclass(frozen=True)
class Split:
    """Names to train on, each as often as its part says, and names held out (no name in both)."""

    train: list[str]
    held_out: list[str]


def split(names: list[str], recipe: TrainRecipe) -> Split:
    """What a recipe trains on, and the pictures that it holds out.

    DataError when no picture belongs to a part, or too few are left.
    """
    parts, held_out, seed = recipe.parts, recipe.held_out, recipe.seed

    def often(name: str) -> int:
        return max((n for p, n in parts.items() if name.split("/")[1].startswith(p)), default=0)

    names = [n for n in names if often(n)]
    if not names:
        raise DataError(f"no picture's name begins with {' or '.join(parts)}; change `parts`")
    if held_out >= len(names):
        raise DataError(f"{held_out} of {len(names)} pictures are to be held out; hold out fewer")
    used, order = classes_apart(names, recipe.unseen, seed) if recipe.unseen else (names, [*names])
    if not order:
        raise DataError(
            "all pictures are of one class, of which none can be unseen; set unseen to 0"
        )
    random.Random(seed).shuffle(order)
    held = set(order[:held_out])
    train = [n for n in used if n not in held for _ in range(often(n))]
    if recipe.per_class:
        rng = random.Random(seed)
        train = [n for c in by_class(train).values() for n in drawn(c, recipe.per_class, rng)]
    return Split(train, [n for n in names if n in held])


def drawn(names: list[str], count: int, rng: random.Random) -> list[str]:
    """`count` of the names, each as often as the others, or once more."""
    return [*names * (count // len(names)), *rng.sample(names, count % len(names))]


@dataclass(frozen=True)
class Augmentation:
    """scale: least share of the picture's area in a crop; ratio: most its sides differ by; colour:
    most that brightness, contrast and saturation change by."""

    scale: float = 0.35
    ratio: float = 4 / 3
    colour: float = 0.2


def view(picture: Image.Image, size: int, how: Augmentation, rng: random.Random) -> Image.Image:
    """A random part of a picture, mirrored by chance, its colours changed: (size, size) RGB."""
    width, height = picture.size
    area = width * height * rng.uniform(how.scale, 1.0)
    sides = math.exp(rng.uniform(-1, 1) * math.log(how.ratio))
    w = min(width, max(1, round(math.sqrt(area * sides))))
    h = min(height, max(1, round(math.sqrt(area / sides))))
    left, top = rng.randint(0, width - w), rng.randint(0, height - h)
    picture = picture.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + w, top + h)
    )
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if how.colour:
        for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            picture = change(picture).enhance(1 + rng.uniform(-how.colour, how.colour))
    return picture


class Views(Dataset[tuple[Tensor, str]]):
    """(uint8 view (S, S, 3), class folder) by (epoch, picture)."""

    def __init__(
        self, source: Source, names: list[str], size: int, how: Augmentation, seed: int
    ) -> None:
        self.source, self.names, self.size, self.how, self.seed = source, names, size, how, seed

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, str]:  # type: ignore[override]
        epoch, i = key
        name = self.names[i]
        rng = random.Random(f"{self.seed} {epoch} {i}")
        picture = view(decode(self.source.read(name)), self.size, self.how, rng)
        return torch.from_numpy(np.array(picture)), name.split("/")[0]


@dataclass(frozen=True)
class Batches:
    """Which views make up which step: an epoch is a permutation, cut into batches of `batch` for
    all `world` processes together; process `rank` takes every world-th view of a batch."""

    views: int
    batch: int
    seed: int
    first: int
    last: int
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, torch.empty(0)
        per_epoch = max(1, self.views // self.batch)
        for step in range(self.first, self.last):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                generator = torch.Generator().manual_seed(self.seed + epoch)
                order = torch.randperm(self.views, generator=generator)
            start = step % per_epoch * self.batch
            rows = order[start : start + self.batch][self.rank :: self.world]
            yield [(epoch, int(i)) for i in rows]

    def __len__(self) -> int:
        return self.last - self.first


def load(views: Views, batches: Batches, workers: int) -> DataLoader[tuple[Tensor, str]]:
    """The steps' views, uint8 (N, S, S, 3), and their class folders; decoded in workers."""
    return DataLoader(
        views,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_collate,
        prefetch_factor=4 if workers else None,
    )


def _collate(items: list[tuple[Tensor, str]]) -> tuple[Tensor, list[str]]:
    return torch.stack([x for x, _ in items]), [folder for _, folder in items]
