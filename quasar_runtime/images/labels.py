"""Labels files as the public data sets have them: which picture has which class.

Lines, CSV, TSV or JSON; names with or without folder and suffix; wnids, indices or class names;
columns in any order; or a label a line without names. What the file leaves open is decided from
the pictures and classes that there are, and told in a note; what stays ambiguous is an error.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from quasar_runtime.errors import DataError, printable
from quasar_runtime.files import read_bytes
from quasar_runtime.images.classes import COUNTED_FROM_1, Classes, Label
from quasar_runtime.images.names import Match, PictureNames

MOST_BYTES = 2**28
"""Largest labels file; a list of ImageNet's 1.28 million training pictures has 60 to 120 MB."""
SAMPLE = 1000
"""Rows from which the meaning of the columns is decided."""
MOST_GAPS = 64
"""Gaps between words of a line at which the name may end."""
NAME_KEYS = ("filename", "file_name", "file", "image", "image_id", "imageid", "path", "name", "img")
SUFFIX = re.compile(r"\.\w{3,4}$")
LABEL_KEYS = ("wnid", "synset", "label", "class", "class_id", "target", "category", "index")


@dataclass(frozen=True)
class Row:
    """A line's cells, and where it stands."""

    where: str
    cells: list[str]


@dataclass(frozen=True)
class Labelled:
    """What a labels file says: the index of each picture's class by name, and notes for people."""

    classes: dict[str, int]
    notes: list[str]


@dataclass
class _Notes:
    """What was assumed, and how often."""

    texts: list[str] = field(default_factory=list)
    loose: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    absent: int = 0

    def count(self, match: Match, written: str) -> None:
        if match.how:
            self.loose[match.how] += 1
            if len(written) > 80:
                written = f"...{written[-80:]}"  # its end is what matched
            self.example.setdefault(match.how, f"'{printable(written)}' is {printable(match.name)}")

    def all(self, path: str) -> list[str]:
        found = [
            f"{path}: {n} names were matched {how}, so {self.example[how]}"
            for how, n in sorted(self.loose.items())
        ]
        return self.texts + found


def read_labels(path: Path, names: PictureNames, classes: Classes) -> Labelled:
    """The classes of the pictures that the file names.

    DataError when it is malformed, contradicts itself, names an unknown class, or names none of the
    pictures.
    """
    shown = printable(str(path))
    text, notes = _read_text(path, shown)
    found = _Notes(notes)
    rows = _json_rows(shown, text) if _is_json(path, text) else _rows(path, text, names, classes)
    sample = list(islice(rows, SAMPLE))
    pairs: list[tuple[str, str, Label]] = []  # where, picture, label
    if sample and all(len(row.cells) == 1 for row in sample):
        pairs = _one_a_line(shown, chain(sample, rows), names, classes, found)
    else:
        heading, name_at, label_at = _columns(path, sample, names, classes)
        for row in islice(chain(sample, rows), int(heading), None):
            written, label = _name_and_label(row, name_at, label_at)
            match = names.find(written, row.where)
            known = classes.require(label, row.where)
            if match is None:
                found.absent += 1
                continue
            found.count(match, written)
            pairs.append((row.where, match.name, known))
    if not pairs:
        raise DataError(
            f"{shown}: none of the {found.absent} files it names is in {printable(str(names.root))}"
            "; names are relative to that folder"
            if found.absent
            else f"{shown}: holds no labels; expected lines of a file name and a label"
        )
    base = _base(shown, [label for _, _, label in pairs], classes, found)
    labelled = _without_contradiction(pairs, base)
    if found.absent:
        found.texts.append(
            f"{shown}: {found.absent} of the files it names are not in {printable(str(names.root))}"
        )
    return Labelled(labelled, found.all(shown))


def _without_contradiction(pairs: list[tuple[str, str, Label]], base: int) -> dict[str, int]:
    labelled: dict[str, int] = {}
    said: dict[str, str] = {}
    for where, name, label in pairs:
        index = label.value - base * label.is_index
        if labelled.setdefault(name, index) != index:
            raise DataError(
                f"{where}: {printable(name)} is labelled {label.text}, above {said[name]}; keep "
                "one of them"
            )
        said.setdefault(name, label.text)
    return labelled


def _base(shown: str, labels: Iterable[Label], classes: Classes, notes: _Notes) -> int:
    """Whether indices count from 0 or from 1, told where it is not certain."""
    indices = [label.value for label in labels if label.is_index]
    if not indices:
        return 0
    low, high, last = min(indices), max(indices), len(classes) - 1
    if high > last:
        if low == 0:
            raise DataError(
                f"{shown}: has labels from 0 to {high}, the model's classes are 0 to {last}; "
                "is it another model's?"
            )
        notes.texts.append(
            f"{shown}: do its labels count from 1? They go from {low} to {high} and none is 0: "
            f"taken so, {high} as {classes.shown(high - 1)}. {COUNTED_FROM_1}"
        )
        return 1
    if low > 0 and len(set(indices)) * 2 > len(classes):
        notes.texts.append(
            f"{shown}: no label is 0, they go from {low} to {high}: taken as the model's indices "
            f"from 0, {low} as {classes.shown(low)}; if they count from 1, subtract 1"
        )
    if len(indices) >= 3 and indices == list(range(1, len(indices) + 1)):
        notes.texts.append(
            f"{shown}: its labels run 1, 2, 3, ... line by line: are they line numbers? Taken as "
            "indices"
        )
    return 0


def _one_a_line(
    shown: str, rows: Iterable[Row], names: PictureNames, classes: Classes, notes: _Notes
) -> list[tuple[str, str, Label]]:
    """Labels without names: those of the pictures in the order of their names."""
    labels: list[tuple[str, Label]] = []
    for number, row in enumerate(rows):
        known = classes.find(row.cells[0]) if len(row.cells) == 1 else None
        if known is None and number == 0 and _is_heading(row, names, classes):
            continue
        if known is None:
            raise DataError(
                f"{row.where}: {_short(' '.join(row.cells))}, expected a file name and a label"
            )
        labels.append((row.where, known))
    pictures = sorted(names.pictures)
    if len(labels) != len(pictures):
        raise DataError(
            f"{shown}: {len(labels)} labels and no file names, for {len(pictures)} pictures in "
            f"{printable(str(names.root))}; expected one label per picture in the order of their "
            "names, or lines of a file name and a label"
        )
    first = labels[0][1]
    notes.texts.append(
        f"{shown}: holds labels and no file names: taken in the order of the pictures' names, "
        f"{printable(pictures[0])} first, as {first.text}, {printable(pictures[-1])} last"
        + (f". {COUNTED_FROM_1}" if first.is_index else "")
    )
    return [(w, name, label) for (w, label), name in zip(labels, pictures, strict=True)]


# --- which column is what


def _columns(
    path: Path, sample: list[Row], names: PictureNames, classes: Classes
) -> tuple[bool, int, int]:
    """Whether the first row is a heading, and the columns of name and label."""
    if not sample:
        return False, 0, 1
    heading = len(sample) > 1 and _is_heading(sample[0], names, classes)
    titles = [cell.strip().casefold() for cell in sample[0].cells] if heading else []
    rows = sample[heading:]
    width = max(len(row.cells) for row in rows)
    columns = [[row.cells[i] if i < len(row.cells) else "" for row in rows] for i in range(width)]
    hits = [sum(names.score(cell) for cell in column) for column in columns]
    name_at = hits.index(max(hits))
    if max(hits) == 0:  # none is there: by the titles, MXNet's lists end with the name
        by_title = [i for i, title in enumerate(titles) if title in NAME_KEYS and i < width]
        name_at = by_title[0] if by_title else (width - 1 if path.suffix.lower() == ".lst" else 0)
    others = [i for i in range(width) if i != name_at]
    if not others:
        return heading, 0, 1
    found = {i: [classes.find(cell) for cell in columns[i]] for i in others}
    ranks = {
        i: (_rank(found[i]), i < len(titles) and titles[i] in LABEL_KEYS, _nearness(i, name_at))
        for i in others
    }
    label_at = max(others, key=lambda i: ranks[i])
    if ranks[label_at][0] == NAMED:  # numbers that say the same are never ambiguous
        same = [label.value for label in found[label_at] if label]
        numbers = (i for i in others if [x.value for x in found[i] if x] == same)
        label_at = next((i for i in numbers if ranks[i][0] == NUMBERED), label_at)
    return heading, name_at, label_at


NUMBERED, NAMED, WNIDS = 1, 2, 3


def _rank(labels: list[Label | None]) -> int:
    """How much a column looks like labels. wnids are unmistakable; others have to fit in all."""
    kinds = Counter(label.kind for label in labels if label)
    if kinds["wnid"] * 2 >= len(labels):
        return WNIDS
    if kinds.total() < len(labels):
        return 0
    return NAMED if kinds["name"] > kinds["index"] else NUMBERED


def _nearness(column: int, name_at: int) -> int:
    """Labels stand beside the name, rather after it than before."""
    return (column > name_at) - 2 * abs(column - name_at)


def _is_heading(row: Row, names: PictureNames, classes: Classes) -> bool:
    """A row of titles: no picture, no label, nothing that looks like a file's name."""
    titles = {cell.casefold() for cell in row.cells}
    if titles.intersection(NAME_KEYS) and titles.intersection(LABEL_KEYS):
        return True
    return not any(
        names.score(cell) or classes.find(cell) or "." in cell or "/" in cell or "\\" in cell
        for cell in row.cells
    )


def _name_and_label(row: Row, name_at: int, label_at: int) -> tuple[str, str]:
    cells = row.cells
    if max(name_at, label_at) >= len(cells) or not cells[name_at] or not cells[label_at]:
        raise DataError(f"{row.where}: {_short(' '.join(cells))}, expected a file name and a label")
    return cells[name_at], cells[label_at]


# --- rows of text


def _read_text(path: Path, shown: str) -> tuple[str, list[str]]:
    """The file's text with plain line ends, and a note where its encoding was guessed."""
    data = read_bytes(path, MOST_BYTES)
    notes = []
    try:
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        notes.append(f"{shown}: not UTF-8, taken as Latin-1")
    if "\0" in text:
        raise DataError(f"{shown}: not text; expected .csv, .json or .txt in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _rows(path: Path, text: str, names: PictureNames, classes: Classes) -> Iterator[Row]:
    """The rows of a text file that are not empty, their cells without surrounding space."""
    shown, suffix = printable(str(path)), path.suffix.lower()
    head = text[: 2**16]
    if suffix == ".csv":
        marks = {mark: head.count(mark) for mark in ",;\t"}
        mark = "," if marks[","] else max(marks, key=lambda m: marks[m])
        parsed: Iterator[list[str]] = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    elif "\t" in head:
        parsed = (line.rstrip("\n").split("\t") for line in io.StringIO(text))
    else:
        parsed = (_split(line.strip(), names, classes) for line in io.StringIO(text))
    number = 0
    while True:
        number += 1
        try:
            cells = [cell.strip() for cell in next(parsed)]
        except StopIteration:
            return
        except csv.Error as e:
            raise DataError(f"{shown} line {number}: not CSV ({e}); check its quotes") from None
        while cells and not cells[-1]:
            cells.pop()
        comment = bool(cells) and cells[0].startswith("#") and not names.score(cells[0])
        if cells and not comment:
            yield Row(f"{shown} line {number}", cells)


def _split(line: str, names: PictureNames, classes: Classes) -> list[str]:
    """A line's name and label, whichever comes first; either may hold spaces."""
    if quoted := re.match(r'"([^"]+)"\s+(.+)', line):
        return [quoted[1], quoted[2]]
    gaps = list(islice(re.finditer(r"\s+", line), MOST_GAPS))
    parts = [(line[: gap.start()], line[gap.end() :]) for gap in gaps]
    for left, right in parts:
        if names.score(left) and classes.find(right):
            return [left, right]
        if names.score(right) and classes.find(left):
            return [left, right]
    if not parts or classes.whole(line):
        return [line]
    left, right = parts[0]  # a picture that is not there, or no picture at all
    if classes.whole(left) and not SUFFIX.search(right):
        return [line]  # a label and what it means
    if classes.whole(left) or classes.find(right) or SUFFIX.search(left):
        return [left, right]
    return line.rsplit(maxsplit=1)


# --- JSON


def _is_json(path: Path, text: str) -> bool:
    return path.suffix.lower() in (".json", ".jsonl") or text.lstrip()[:1] in ("{", "[")


def _json_rows(shown: str, text: str) -> Iterator[Row]:
    data = _parse_json(shown, text)
    if isinstance(data, dict):
        pairs: list[Any] = []
        for key, value in data.items():
            many = isinstance(value, list) and all(isinstance(v, str) for v in value)
            pairs += [[name, key] for name in value] if many else [[key, value]]
    elif isinstance(data, list):
        pairs = data
    else:
        raise DataError(f"{shown}: holds a {type(data).__name__}, expected an object or a list")
    alone = bool(pairs) and all(_is_label(pair) for pair in pairs)
    for number, pair in enumerate(pairs, 1):
        where = f"{shown} entry {number}"
        yield Row(where, [str(pair)] if alone else _json_pair(where, pair))


def _parse_json(shown: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        try:  # JSON lines
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise DataError(f"{shown}: not JSON ({e})") from None
        return lines


def _json_pair(where: str, pair: Any) -> list[str]:
    if isinstance(pair, dict):
        keys = {key.casefold(): value for key, value in pair.items()}
        name = next((keys[k] for k in NAME_KEYS if isinstance(keys.get(k), str)), None)
        label = next((keys[k] for k in LABEL_KEYS if k in keys), None)
        pair = [name, label]
    if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
        raise DataError(f"{where}: {_short(pair)}, expected a file name and a label")
    name, label = pair
    if not _is_label(label):
        raise DataError(f"{where}: the label is {_short(label)}, expected a wnid or an index")
    return [name, str(label)]


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
