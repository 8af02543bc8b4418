"""Labelled pictures on disk: one folder per class, or any folder with a labels file.

- `DIR/<class>/...`: a class's folder is named by its wnid (also 'n02085620-Chihuahua'), by its
  index (ImageNetV2), or by its name.
- Labels file: see `labels.py`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quasar_runtime.errors import DataError, printable
from quasar_runtime.files import Listing, Skipped
from quasar_runtime.images.classes import COUNTED_FROM_1, Classes, Label
from quasar_runtime.images.labels import read_labels
from quasar_runtime.images.names import PictureNames
from quasar_runtime.images.prepare import count_kinds, list_pictures, pictures_of

Labels = list[tuple[str, str]]
Folders = dict[Path, int]
MOST_NOTES = 5
"""Folders of which a note says one by one why they were left out."""


@dataclass(frozen=True)
class Sample:
    """A picture and its class: name is its path relative to the data set, with slashes."""

    path: Path
    name: str
    index: int


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures, sorted by name.

    notes    what was left out, and what was assumed where the data leave it open
    skipped  folders that could not be looked into, and may hold pictures
    """

    root: Path
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def read_dataset(
    folder: str | os.PathLike[str],
    classes: Labels,
    labels_file: str | os.PathLike[str] | None = None,
) -> Dataset:
    """The data set in `folder` for a model whose classes are (wnid, name) each.

    DataError when there are no pictures, when no folder is a class, or when the labels file is
    malformed, names an unknown class or contradicts itself. What looks like a picture and cannot be
    read is a sample too: running it says why not.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{_shown(root)}: {what}; give a folder of pictures")
    if labels_file is not None:
        return _labelled(root, Path(labels_file), Classes(classes))
    return _image_folder(root, Classes(classes))


def _image_folder(root: Path, classes: Classes) -> Dataset:
    folders = _subfolders(root)
    known, assumed = _class_folders(folders, classes)
    if not known:
        raise DataError(f"{_shown(root)}: {_no_class(root, folders, classes)}")
    listings = {path: list_pictures(path) for path in known}
    samples = [
        Sample(path, path.relative_to(root).as_posix(), known[class_folder])
        for class_folder, listing in listings.items()
        for path in _pictures(listing)
    ]
    notes = [f"{_shown(root)}: {note}" for note in assumed]
    unknown = [printable(p.name) for p in folders if p not in known]
    if unknown:
        notes.append(f"{_shown(root)}: folders that are no class were left out: {_few(unknown)}")
    left, skipped = _left_out(root, listings.values())
    if not samples and not skipped:
        raise DataError(
            f"{_shown(root)}: its class folders hold no pictures (JPEG, PNG, WebP or BMP)"
            + "".join(f"; {note}" for note in left)
        )
    return Dataset(root, tuple(samples), tuple(notes + left), skipped)


def _subfolders(root: Path) -> list[Path]:
    try:
        return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as e:
        raise DataError(f"{_shown(root)}: cannot be listed ({e.strerror})") from None


def _class_folders(folders: list[Path], classes: Classes) -> tuple[Folders, list[str]]:
    """The folders that are classes, all named in one way: by wnid, else by index, else by name."""
    labels = {path: label for path in folders if (label := classes.whole(path.name))}
    for kind in ("wnid", "index", "name"):
        found = {path: label for path, label in labels.items() if label.kind == kind}
        if found and kind == "index":
            return _by_index(found, classes)
        if found:
            notes = [f"its folders were taken as the names of classes, {_example(found, classes)}"]
            return _indices(found), notes if kind == "name" else []
    return {}, []


def _by_index(found: dict[Path, Label], classes: Classes) -> tuple[Folders, list[str]]:
    values = [label.value for label in found.values()]
    base = int(max(values) == len(classes) and min(values) > 0)
    used = {path: label.value - base for path, label in found.items()}
    used = {path: index for path, index in used.items() if index < len(classes)}
    start = "1 (the last one is not in a count from 0)" if base else "0"
    first = min(used, key=lambda path: used[path])
    note = (
        f"its folders were taken as the indices of classes, counted from {start}: "
        f"{printable(first.name)} as {classes.shown(used[first])}. {COUNTED_FROM_1}"
    )
    return used, [note]


def _indices(found: dict[Path, Label]) -> Folders:
    return {path: label.value for path, label in found.items()}


def _example(found: dict[Path, Label], classes: Classes) -> str:
    path, label = next(iter(found.items()))
    return f"{printable(path.name)} as {classes.shown(label.value)}"


def _no_class(root: Path, folders: list[Path], classes: Classes) -> str:
    """Why a folder is no data set, and which of its folders is one."""
    if not folders:
        expected = f"{printable(root.name)}/<wnid>/*.jpg"
        return f"no class folders; expected {expected}, or a labels file (--labels)"
    for path in folders[:100]:
        try:
            inner = _class_folders(_subfolders(path), classes)[0]
        except DataError:
            continue
        if inner:
            return f"no class folders, but {_shown(path)} has {len(inner)}; give that one"
    shown = _few([printable(p.name) for p in folders])
    return (
        f"none of its {len(folders)} folders ({shown}) is a class of the model, whose classes are "
        f"wnids such as {classes.example}; rename them or give a labels file (--labels)"
    )


def _labelled(root: Path, labels_file: Path, classes: Classes) -> Dataset:
    listing = list_pictures(root)
    paths = {p.relative_to(root).as_posix(): p for p in _pictures(listing)}
    own = labels_file.suffix.lower()
    if os.path.realpath(labels_file).startswith(os.path.realpath(root) + os.sep):
        others = Counter(listing.others)
        others[own] -= 1  # the labels themselves
        listing = Listing(listing.found, listing.skipped, dict(+others))
    left, skipped = _left_out(root, [listing])
    if not paths:
        raise DataError(
            f"{_shown(root)}: no pictures (JPEG, PNG, WebP or BMP)"
            + "".join(f"; {note}" for note in left)
        )
    labels = read_labels(labels_file, PictureNames(root, paths), classes)
    notes = list(labels.notes)
    if len(labels.classes) < len(paths):
        without = len(paths) - len(labels.classes)
        notes.append(f"{_shown(root)}: {without} pictures without a label were left out")
    samples = tuple(
        Sample(paths[name], name, labels.classes[name]) for name in sorted(labels.classes)
    )
    return Dataset(root, samples, tuple(notes + left), skipped)


def _pictures(listing: Listing) -> list[Path]:
    """Pictures, and what looks like one and is none, without folders."""
    folders = {s.path for s in listing.skipped if s.path.is_dir()}
    return [path for path in pictures_of(listing) if path not in folders]


def _left_out(root: Path, listings: Iterable[Listing]) -> tuple[list[str], tuple[Skipped, ...]]:
    """What the folders hold besides pictures, in notes, and those that could not be looked into."""
    others: Counter[str] = Counter()
    folders: list[Skipped] = []
    for listing in listings:
        others.update(listing.others)
        folders += [s for s in listing.skipped if s.path.is_dir()]
    notes = [f"{_shown(s.path)}: {s.why}" for s in folders[:MOST_NOTES]]
    if len(folders) > MOST_NOTES:
        notes.append(f"{_shown(root)}: {len(folders) - MOST_NOTES} more folders like these")
    if others:
        notes.append(
            f"{_shown(root)}: files that are no pictures (JPEG, PNG, WebP or BMP) were left out: "
            + count_kinds(others)
        )
    return notes, tuple(s for s in folders if s.wanted)


def _few(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")


def _shown(path: Path) -> str:
    return printable(str(path))
