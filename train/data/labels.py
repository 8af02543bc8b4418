"""Labels of a data set's classes: a JSON list of {index, wnid, name}; no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quasar_runtime.errors import DataError
from quasar_runtime.files import parse_json, read_text
from quasar_runtime.model.validate import MAX_LABEL, MAX_WNID, shown

from . import LABELS_FILE

Labels = list[tuple[str, str]]
"""(wnid, name) by class number."""


def load_labels(path: Path) -> Labels:
    """(wnid, name) by class number, from JSON: a list of {index, wnid, name}.

    DataError when it is anything else, or holds what a model file may not: an empty, repeated or
    too long wnid or name, or one with control characters.
    """
    said = f"{path} is not a labels file"
    entries = parse_json(read_text(path), said, "expected a JSON list of index, wnid, name")
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"{path} is not a labels file ({shown(entries)}); expected a JSON list of index, wnid, "
            "name"
        )
    labels: dict[int, tuple[str, str]] = {}
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries):
        index, wnid, name = _label(f"{path} entry {number}", entry)
        if index in labels:
            raise DataError(f"{path} entry {number}: class {index} has a label already")
        if wnid in seen:
            raise DataError(
                f"{path} entry {number}: class {index} has the wnid {wnid!r} of class "
                f"{seen[wnid]}; each class needs its own"
            )
        labels[index], seen[wnid] = (wnid, name), index
    if sorted(labels) != list(range(len(labels))):
        raise DataError(f"{path}: the classes are not numbered 0 to {len(entries) - 1}")
    return [labels[i] for i in range(len(labels))]


def _label(where: str, entry: Any) -> tuple[int, str, str]:
    """(index, wnid, name) of an entry. DataError says what is wrong with it."""
    if not isinstance(entry, dict) or not {"index", "wnid", "name"} <= set(entry):
        raise DataError(f"{where} is {shown(entry)}, expected an object of index, wnid, name")
    index = entry["index"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise DataError(f"{where}: index is {shown(index)}, expected a class's number from 0")
    for key, longest in (("wnid", MAX_WNID), ("name", MAX_LABEL)):
        value = entry[key]
        good = isinstance(value, str) and 1 <= len(value) <= longest and value.isprintable()
        if not good:
            raise DataError(
                f"{where}: {key} is {shown(value)}, expected 1 to {longest} printable characters"
            )
    return index, entry["wnid"], entry["name"]


def labels_for(path: Path | None, images: Path, classes: int) -> Labels:
    """The labels of `path`, else of the file imagenet_classes.json beside the pictures.

    DataError when there are none, or their number is not `classes`.
    """
    where = path or images.parent / LABELS_FILE
    if path is None and not where.exists():
        raise DataError(
            f"no labels: there is no {LABELS_FILE} beside {images}; give --labels, a JSON list of "
            "index, wnid, name"
        )
    labels = load_labels(where)
    require_labels(labels, classes)
    return labels


def require_labels(labels: Labels, classes: int) -> None:
    """DataError unless there is a label a class."""
    if len(labels) != classes:
        raise DataError(
            f"{len(labels)} labels for {classes} classes; give the labels of the data that the "
            "checkpoint was trained on"
        )
