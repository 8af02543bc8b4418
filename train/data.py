"""Labelled pictures: an ImageFolder or a tar of one, decoded to squares of raw RGB bytes."""

from __future__ import annotations

import json
import os
import random
import tarfile
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from quasar_runtime.errors import DataError
from quasar_runtime.images import decode, resize_and_crop
from quasar_runtime.model import Preprocessing

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp")
CALIBRATION_PREFIXES = ("nette", "woof", "imagen")
"""Pictures of the training mix that were not made from 64-pixel ones; where a data set has no such
names, all pictures count. Blurred ones make for worse calibration: docs/accuracy.md."""


def list_pictures(source: Path) -> list[str]:
    """Sorted paths `folder/name` of the pictures in an ImageFolder or a tar of one.

    DataError when there is nothing there or it holds no pictures.
    """
    if source.is_dir():
        found = [f"{p.parent.name}/{p.name}" for p in source.glob("*/*") if p.is_file()]
    elif source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            found = [m.name.removeprefix("./") for m in tar if m.isfile()]
    else:
        raise DataError(f"no pictures at {source}; give a folder of class folders, or a tar of one")
    names = sorted(n for n in found if n.lower().endswith(SUFFIXES) and n.count("/") == 1)
    if not names:
        raise DataError(
            f"{source.name} holds no <class>/<picture> with suffix {', '.join(SUFFIXES)}"
        )
    return names


class Source:
    """The pictures of an ImageFolder or a tar of one, read one by one in any order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = list_pictures(path)
        self._places: dict[str, tuple[int, int]] = {}
        self._file: int | None = None
        if not path.is_dir():
            with tarfile.open(path) as tar:
                self._places = {
                    m.name.removeprefix("./"): (m.offset_data, m.size) for m in tar if m.isfile()
                }

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        if not self._places:
            return (self.path / name).read_bytes()
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY)
        offset, size = self._places[name]
        return os.pread(self._file, size, offset)


def pictures(source: Source, names: list[str], how: Preprocessing) -> Tensor:
    """uint8 (N, S, S, 3), resized and cropped as for evaluation."""
    images = np.empty((len(names), how.crop, how.crop, 3), np.uint8)
    for image, name in zip(images, tqdm(names, "decode", unit="img", leave=False), strict=True):
        image[:] = resize_and_crop(decode(source.read(name)), how)
    return torch.from_numpy(images)


def calibration_prefixes(names: Iterable[str]) -> tuple[str, ...]:
    """Beginnings of the file names, of those `class/picture`, that are to be calibrated on."""
    known = any(n.split("/")[1].startswith(CALIBRATION_PREFIXES) for n in names)
    return CALIBRATION_PREFIXES if known else ("",)


def to_calibrate_on(names: Iterable[str]) -> list[str]:
    """Those of the names `class/picture` that are to be calibrated on."""
    names = list(names)
    begin = calibration_prefixes(names)
    return [n for n in names if n.split("/")[1].startswith(begin)]


def by_class(names: Iterable[str]) -> dict[str, list[str]]:
    """The names `class/picture` of each class; classes and names sorted."""
    classes: dict[str, list[str]] = {}
    for name in sorted(names):
        classes.setdefault(name.split("/")[0], []).append(name)
    return classes


def in_turn(names: Iterable[str], seed: int) -> list[str]:
    """The names `class/picture` in an order drawn with `seed` that takes one picture of every
    class, then another one of every class that has one left, and so on.

    So the first n show as many classes as n pictures can. What is fitted to pictures of few classes
    serves these: docs/accuracy.md.
    """
    rng = random.Random(seed)
    classes = list(by_class(names).values())
    rng.shuffle(classes)
    for pictures in classes:
        rng.shuffle(pictures)
    return [n for turn in zip_longest(*classes) for n in turn if n is not None]


def classes_apart(names: Iterable[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """(of the other classes, of a share of the classes drawn with `seed`), both sorted.

    At least one class goes apart, and one stays where there are two.
    """
    classes = by_class(names)
    chosen = random.Random(seed).sample(sorted(classes), max(1, round(share * len(classes))))
    if len(chosen) == len(classes):
        chosen = chosen[1:]
    apart = [n for c in sorted(chosen) for n in classes[c]]
    return [n for c in classes if c not in chosen for n in classes[c]], apart


def load_labels(path: Path) -> list[tuple[str, str]]:
    """(wnid, name) by class number, from JSON: a list of {index, wnid, name}."""
    try:
        entries = sorted(json.loads(path.read_text()), key=lambda e: e["index"])
        labels = [(str(e["wnid"]), str(e["name"])) for e in entries]
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise DataError(
            f"{path} is not a labels file ({e!r}); expected a JSON list of index, wnid, name"
        ) from None
    if [e["index"] for e in entries] != list(range(len(entries))):
        raise DataError(f"{path}: the classes are not numbered 0 to {len(entries) - 1}")
    return labels
