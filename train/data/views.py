"""Training views: random crops of pictures.

A view is a function of (seed, epoch, picture) alone: a resumed run, or one with more workers or
processes, sees the same views.
"""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from quasar_runtime.errors import DataError, ImageError

from .pictures import by_class, classes_apart
from .recipe import TrainingRecipe
from .source import Source


@dataclass(frozen=True)
class Split:
    """Names to train on and names held out; no name is in both.

    A name to train on appears as often as an epoch shows it.
    """

    train: list[str]
    held_out: list[str]


def split(names: list[str], recipe: TrainingRecipe) -> Split:
    """The names that a recipe trains on and the names that it holds out.

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
    """`count` names, each of `names` equally often, or once more."""
    return [*names * (count // len(names)), *rng.sample(names, count % len(names))]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a picture.

    scale: least fraction of the area in a crop; ratio: largest ratio of a crop's sides before
    resizing; colour: largest change of brightness, contrast and saturation.
    """

    scale: float = 0.35
    ratio: float = 4 / 3
    colour: float = 0.2


def view(picture: Image.Image, size: int, how: Augmentation, rng: random.Random) -> Image.Image:
    """A random crop of a picture, (size, size) RGB, mirrored by chance, its colours changed."""
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


MOST_TRIES = 100
"""Pictures in a row that may be unreadable before a training ends."""


class Views(Dataset[tuple[Tensor, str, tuple[str, ...]]]):
    """By (epoch, picture): (uint8 view (S, S, 3), class folder, why pictures were left out).

    The next picture takes the place of one that cannot be read, the same one every time, so that a
    resumed run sees the same views. DataError when MOST_TRIES in a row cannot be read.
    """

    def __init__(
        self, source: Source, names: list[str], size: int, how: Augmentation, seed: int
    ) -> None:
        self.source, self.names, self.size, self.how, self.seed = source, names, size, how, seed

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, str, tuple[str, ...]]:
        epoch, i = key
        rng = random.Random(f"{self.seed} {epoch} {i}")
        failed: list[str] = []
        for name in self._following(i):
            try:
                picture = self.source.decode(name)
            except ImageError as e:
                failed.append(str(e))
                continue
            pixels = np.array(view(picture, self.size, self.how, rng))
            return torch.from_numpy(pixels), name.split("/")[0], tuple(failed)
        raise DataError(
            f"{self.source.path}: {len(failed)} pictures in a row cannot be read, the first: "
            f"{failed[0]}; has the data gone away?"
        )

    def _following(self, i: int) -> Iterator[str]:
        """The name of picture i, then those that may take its place."""
        seen: dict[str, None] = {}
        for j in range(min(len(self.names), 10 * MOST_TRIES)):
            name = self.names[(i + j) % len(self.names)]
            if name not in seen and len(seen) < MOST_TRIES:
                seen[name] = None
                yield name


@dataclass(frozen=True)
class Batches:
    """The keys of the views of each step, for steps `first` to `last` - 1.

    An epoch is a permutation, cut into batches of `batch` for all `world` processes together;
    process `rank` takes every world-th view of a batch.
    """

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


Batch = tuple[Tensor, list[str], list[str]]
"""uint8 views (N, S, S, 3), their class folders, and why pictures were left out."""


def load(views: Views, batches: Batches, workers: int) -> DataLoader[Batch]:
    """A loader of the steps' views, decoded in `workers` processes."""
    return DataLoader(
        views,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_begin_worker,
    )


def _begin_worker(_number: int) -> None:
    """Ignore Ctrl-C: the training ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(items: list[tuple[Tensor, str, tuple[str, ...]]]) -> Batch:
    failed = [why for _, _, several in items for why in several]
    return torch.stack([x for x, _, _ in items]), [folder for _, folder, _ in items], failed
