"""Labelled pictures on disk: an ImageFolder, or a flat folder with a labels file.

- ImageFolder: `DIR/<wnid>/...`, one folder a class.
- Labels file, each entry a file name and a label; the file name is relative to DIR, its suffix may
  be missing, and a label is a wnid or a class index:

      .csv    filename,label[,...]     a heading is recognised
      .json   {"filename": label, ...} or [["filename", label], ...]
      other   filename label           separated by white space
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quasar_runtime.errors import DataError, did_you_mean
from quasar_runtime.images import folder_images

Labels = list[tuple[str, str]]


@dataclass(frozen=True)
class Sample:
    """A picture and its class: name is its path relative to the data set, with slashes."""

    path: Path
    name: str
    index: int


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures, sorted by name; `notes` says what was left out."""

    root: Path
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A line of a labels file: where it stands, the file it names, its label as written."""

    where: str
    name: str
    label: str


def read_dataset(
    folder: str | os.PathLike[str],
    classes: Labels,
    labels_file: str | os.PathLike[str] | None = None,
) -> Dataset:
    """The data set in `folder` for a model whose classes are (wnid, name) each.

    DataError when there are no pictures, when no folder is a class, or when the labels file is
    malformed, names an unknown class or contradicts itself.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; give a folder of pictures")
    index = {wnid: i for i, (wnid, _) in enumerate(classes)}
    if labels_file is not None:
        return _labelled(root, Path(labels_file), index)
    return _image_folder(root, index)


def _image_folder(root: Path, index: dict[str, int]) -> Dataset:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    known = [p for p in folders if p.name in index]
    if not known:
        if not folders:
            raise DataError(
                f"{root}: no class folders; expected {root.name}/<wnid>/*.jpg, or a labels file "
                "(--labels)"
            )
        shown = ", ".join(p.name for p in folders[:3]) + (", ..." if len(folders) > 3 else "")
        raise DataError(
            f"{root}: none of its {len(folders)} folders ({shown}) is a class of the model, whose "
            f"classes are wnids such as {next(iter(index))}; rename them or give a labels file "
            "(--labels)"
        )
    samples = [
        Sample(path, path.relative_to(root).as_posix(), index[class_folder.name])
        for class_folder in known
        for path in folder_images(class_folder)
    ]
    if not samples:
        raise DataError(f"{root}: its class folders hold no pictures (JPEG, PNG, WebP or BMP)")
    unknown = [p.name for p in folders if p.name not in index]
    notes = [f"{root}: folders that are no class were left out: {', '.join(unknown)}"]
    return Dataset(root, tuple(samples), tuple(notes if unknown else ()))


def _labelled(root: Path, labels_file: Path, index: dict[str, int]) -> Dataset:
    paths = {p.relative_to(root).as_posix(): p for p in folder_images(root)}
    if not paths:
        raise DataError(f"{root}: no pictures (JPEG, PNG, WebP or BMP)")
    # Lists of some data sets leave the suffix out.
    full = {name.rpartition(".")[0]: name for name in paths}
    found: dict[str, int] = {}
    absent = 0
    for entry in _entries(labels_file, index):
        label = _class_index(entry, index)
        name = entry.name.removeprefix("./")
        name = name if name in paths else full.get(name, "")
        if not name:
            absent += 1
        elif found.setdefault(name, label) != label:
            raise DataError(
                f"{entry.where}: {name} is labelled {label}, above {found[name]}; keep one of them"
            )
    if not found:
        raise DataError(
            f"{labels_file}: none of the {absent} files it names is in {root}; names are relative "
            "to that folder"
        )
    notes = []
    if absent:
        notes.append(f"{labels_file}: {absent} of the files it names are not in {root}")
    if len(found) < len(paths):
        notes.append(f"{root}: {len(paths) - len(found)} pictures without a label were left out")
    samples = tuple(Sample(paths[name], name, found[name]) for name in sorted(found))
    return Dataset(root, samples, tuple(notes))


def _entries(path: Path, index: dict[str, int]) -> Iterator[Entry]:
    """The entries of a labels file, without its heading."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e.strerror}); give a labels file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not text; expected .csv, .json or .txt in UTF-8") from None
    if path.suffix.lower() == ".json":
        yield from _json_entries(path, text)
        return
    is_csv = path.suffix.lower() == ".csv"
    rows = csv.reader(text.splitlines()) if is_csv else map(_words, text.splitlines())
    first = True
    for number, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path} line {number}"
        if len(row) < 2 or not row[1].strip():
            raise DataError(f"{where}: {' '.join(row)!r}, expected a file name and a label")
        # A label may be followed by other words, such as bounding boxes.
        entry = Entry(where, row[0].strip(), row[1].split()[0])
        heading = first and is_csv and not entry.label.isdigit() and entry.label not in index
        first = False
        if not (heading and "." not in entry.name):
            yield entry


def _words(line: str) -> list[str]:
    """A file name, which may hold spaces, and the last word of a line."""
    return line.strip().rsplit(maxsplit=1)


def _json_entries(path: Path, text: str) -> Iterator[Entry]:
    try:
        data = json.loads(text)
    except ValueError as e:
        raise DataError(f"{path}: not JSON ({e})") from None
    pairs = list(data.items()) if isinstance(data, dict) else data
    if not isinstance(pairs, list):
        raise DataError(f"{path}: holds a {type(data).__name__}, expected an object or a list")
    for number, pair in enumerate(pairs, 1):
        where = f"{path} entry {number}"
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise DataError(f"{where}: {pair!r}, expected a file name and a label")
        name, label = pair
        if isinstance(label, bool) or not isinstance(label, (str, int)):
            raise DataError(f"{where}: the label is {label!r}, expected a wnid or an index")
        yield Entry(where, name, str(label))


def _class_index(entry: Entry, index: dict[str, int]) -> int:
    label = entry.label
    if label in index:
        return index[label]
    if label.isascii() and label.isdigit() and int(label) < len(index):
        return int(label)
    hint = did_you_mean(label, index)
    raise DataError(
        f"{entry.where}: the label {label!r} is neither a wnid of the model nor an index from 0 to "
        f"{len(index) - 1}{hint}"
    )
