"""Labelled pictures: decoded to squares of raw RGB bytes, and chosen by class."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from quasar_runtime.errors import DataError, ImageError
from quasar_runtime.images.prepare import resize_and_crop
from quasar_runtime.images.preprocessing import Preprocessing

from ..messages import warn_left_out
from .source import Source

MIX_PREFIXES = ("nette", "woof", "imagen", "tiny")
CALIBRATION_PREFIXES = ("nette", "woof", "imagen")
"""Prefixes of the training mix's file names, and those of pictures not made from 64-pixel
images: blurred pictures make worse calibration (docs/accuracy.md). Of other data sets all
pictures count."""


@dataclass(frozen=True)
class Decoded:
    """Pictures that were decoded.

    images: uint8 (N, S, S, 3); names: theirs; left_out: names of those that could not be read.
    """

    images: Tensor
    names: list[str]
    left_out: list[str]


def pictures(source: Source, names: list[str], how: Preprocessing) -> Tensor:
    """All the named pictures, uint8 (N, S, S, 3), resized and cropped as for evaluation.

    A picture that cannot be read is left out with a warning. DataError when none can be read.
    """
    return decoded(source, names, len(names), how).images


def decoded(source: Source, names: list[str], count: int, how: Preprocessing) -> Decoded:
    """The first `count` of the named pictures that can be read.

    A picture that cannot be read is left out with a warning, and the next one takes its place.
    DataError when none can be read.
    """
    images = np.empty((min(count, len(names)), how.crop, how.crop, 3), np.uint8)
    read: list[str] = []
    failed: dict[str, str] = {}
    with tqdm(total=len(images), desc="decode", unit="img", leave=False) as bar:
        for name in names:
            if len(read) == len(images):
                break
            try:
                images[len(read)] = resize_and_crop(source.decode(name), how)
            except ImageError as e:
                failed[name] = str(e)
                continue
            read.append(name)
            bar.update()
    warn_left_out(failed.values(), str(source.path))
    if not read:
        raise DataError(
            f"{source.path}: none of {len(names)} pictures can be read; the first: "
            + next(iter(failed.values()), "there is none")
        )
    return Decoded(torch.from_numpy(images[: len(read)]), read, list(failed))


def calibration_prefixes(names: Iterable[str]) -> tuple[str, ...]:
    """Prefixes of the file names, among `class/picture` names, to calibrate on."""
    files = [n.split("/")[1] for n in names]
    mix = all(f.startswith(MIX_PREFIXES) for f in files)
    known = mix and any(f.startswith(CALIBRATION_PREFIXES) for f in files)
    return CALIBRATION_PREFIXES if known else ("",)


def to_calibrate_on(names: Iterable[str]) -> list[str]:
    """The `class/picture` names to calibrate on."""
    names = list(names)
    begin = calibration_prefixes(names)
    return [n for n in names if n.split("/")[1].startswith(begin)]


def by_class(names: Iterable[str]) -> dict[str, list[str]]:
    """The `class/picture` names by class; classes and names sorted."""
    classes: dict[str, list[str]] = {}
    for name in sorted(names):
        classes.setdefault(name.split("/")[0], []).append(name)
    return classes


def in_turn(names: Iterable[str], seed: int) -> list[str]:
    """The `class/picture` names in an order, drawn with `seed`, that takes one per class in turn.

    The first n then show as many classes as n pictures can. Calibration on few classes serves only
    these: docs/accuracy.md.
    """
    rng = random.Random(seed)
    classes = list(by_class(names).values())
    rng.shuffle(classes)
    for pictures in classes:
        rng.shuffle(pictures)
    return [n for turn in zip_longest(*classes) for n in turn if n is not None]


def classes_apart(names: Iterable[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Split the `class/picture` names by class: (names to use, names held apart), both sorted.

    share: fraction of the classes to hold apart, drawn with `seed`; at least one class, and one
    stays where there are two.
    """
    classes = by_class(names)
    chosen = random.Random(seed).sample(sorted(classes), max(1, round(share * len(classes))))
    if len(chosen) == len(classes):
        chosen = chosen[1:]
    apart = [n for c in sorted(chosen) for n in classes[c]]
    return [n for c in classes if c not in chosen for n in classes[c]], apart
