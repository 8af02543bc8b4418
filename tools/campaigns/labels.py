"""Mutated label files of every format: a DataError, or a data set that is what it says.

python -m tools.campaigns.labels
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import click
import numpy as np

from quasar_runtime.errors import DataError
from quasar_runtime.images.datasets import read_dataset
from tools.campaigns.bytes_mutations import mutate_bytes
from tools.campaigns.campaign import Bounds, Campaign, campaign_options
from tools.campaigns.isolated import Trial, Wrong, run_trial
from tools.campaigns.messages import check_message, check_text

CLASSES = [(f"n{i:08d}", f"class {i}, of {i}") for i in range(12)]
PICTURES = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 9)]
PICTURES += ["n00000003/a b.jpg", "n00000003/deep/c.png", "n00000004/ü.webp", "1.bmp"]
LABELS = [3, 4, 11, 0, 3, 3, 7, 1, 3, 3, 4, 2]
WNIDS = [CLASSES[i][0] for i in LABELS]
NAMES = [CLASSES[i][1] for i in LABELS]
PAIRS = list(zip(PICTURES, LABELS, WNIDS, NAMES, strict=True))
TOKENS = [
    "", "0", "-1", "12", "11.0", "1e3", "9" * 5000, "٣", "²", "n00000003", "n99999999", "class 3",
    '"', "'", ",", ";", "\t", "\0", "\r", "\n", "\x0b", "\u2028", "\\", "/", "../x.jpg", "/etc/x",
    "#", "null", "true", "NaN", "{", "}", "[" * 3000, '{"a":' * 3000, "a" * 200_000, "\ud800",
    "\ufeff", "ImageId,PredictionString", "filename,label", "1.bmp", "//", ".", "é",
]  # fmt: skip


def _lines(rows: list[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


SEEDS = {
    "csv": [
        _lines(["filename,label", *(f"{p},{w}" for p, _, w, _ in PAIRS)]),
        _lines([f'"{p}",{i},"{n}"' for p, i, _, n in PAIRS]),
        _lines(["ImageId,PredictionString", *(f"{p[:-5]},{w} 1 2 3 4" for p, _, w, _ in PAIRS)]),
    ],
    "json": [
        json.dumps({p: w for p, _, w, _ in PAIRS}),
        json.dumps([[p, i] for p, i, _, _ in PAIRS], indent=1),
    ],
    "txt": [
        _lines([f"{p} {i}" for p, i, _, _ in PAIRS]),
        _lines([f"./{p}\t{w}" for p, _, w, _ in PAIRS]),
        _lines(WNIDS),
        _lines([str(i + 1) for i in LABELS]),
    ],
    "lst": [_lines([f"{k}\t{i}\t{p}" for k, (p, i, _, _) in enumerate(PAIRS)])],
    "tsv": [_lines([f"{p}\t{i}\t{n}" for p, i, _, n in PAIRS])],
}
SUFFIXES = list(SEEDS)
LONGEST = 2**22
"""Bytes of a mutated file."""
ENCODINGS = ("utf-16", "latin-1", "utf-8-sig", "utf-32", "cp1252")


def mutated_labels(rng: np.random.Generator) -> bytes:
    """The suffix in four bytes, then a label file's mutated content."""
    suffix = SUFFIXES[int(rng.integers(len(SUFFIXES)))]
    texts = SEEDS[suffix]
    text = texts[int(rng.integers(len(texts)))]
    if rng.random() < 0.05:  # a file of one format under another's name
        suffix = SUFFIXES[int(rng.integers(len(SUFFIXES)))]
    raw = text.encode()
    for _ in range(int(rng.integers(1, 4))):
        match rng.integers(4):
            case 0:
                raw = mutate_bytes(rng, raw, b"\n".join(raw.splitlines()[::-1]))
            case 1:
                raw = _in_lines(rng, raw)
            case 2:
                raw = _foreign(rng, raw)
            case _:
                raw = _in_values(rng, raw) if suffix == "json" else _in_cells(rng, raw)
    if rng.random() < 0.03:
        encoding = ENCODINGS[int(rng.integers(len(ENCODINGS)))]
        raw = raw.decode(errors="ignore").encode(encoding, errors="replace")
    return suffix.encode().ljust(4) + raw[:LONGEST]


def _token(rng: np.random.Generator) -> bytes:
    return TOKENS[int(rng.integers(len(TOKENS)))].encode(errors="surrogatepass")


def _foreign(rng: np.random.Generator, raw: bytes) -> bytes:
    """A token that means something, put anywhere."""
    at = int(rng.integers(len(raw) + 1))
    return raw[:at] + _token(rng) + raw[at + int(rng.integers(8)) :]


def _in_lines(rng: np.random.Generator, raw: bytes) -> bytes:
    """Lines left out, repeated, exchanged, joined or ended otherwise."""
    lines = raw.split(b"\n")
    at, other = (int(rng.integers(len(lines))) for _ in range(2))
    match rng.integers(6):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[other]] * int(rng.integers(1, 500))
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at : at + 2] = [b"".join(lines[at : at + 2])]
        case 4:
            return raw.replace(b"\n", (b"\r\n", b"\r", b"\n\n")[int(rng.integers(3))])
        case _:
            lines[at:at] = [_token(rng)]
    return b"\n".join(lines)


def _in_cells(rng: np.random.Generator, raw: bytes) -> bytes:
    """One cell of a line replaced, left out or added."""
    lines = raw.split(b"\n")
    at = int(rng.integers(len(lines)))
    mark = next((m for m in (b",", b"\t", b" ") if m in lines[at]), b" ")
    cells = lines[at].split(mark)
    place = int(rng.integers(len(cells)))
    match rng.integers(3):
        case 0:
            cells[place] = _token(rng)
        case 1:
            del cells[place]
        case _:
            cells.insert(place, _token(rng))
    lines[at] = mark.join(cells)
    return b"\n".join(lines)


def _in_values(rng: np.random.Generator, raw: bytes) -> bytes:
    """Another JSON value for an entry, or the entry somewhere else."""
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        return _foreign(rng, raw)
    others = [None, True, -1, 3, 10**30, 1.5, "", "n00000003", [], {}, [3], ["a", 1], {"a": 1}]
    value = others[int(rng.integers(len(others)))]
    if isinstance(values, dict) and values:
        values[list(values)[int(rng.integers(len(values)))]] = value
    elif isinstance(values, list) and values:
        at = int(rng.integers(len(values)))
        if isinstance(values[at], list) and values[at] and rng.random() < 0.5:
            values[at][int(rng.integers(len(values[at])))] = value
        else:
            values[at] = value
    else:
        values = value
    return json.dumps(values).encode()


class Judge:
    """Reads label files for a small folder of (empty) pictures of its own."""

    def __init__(self, scratch: Path) -> None:
        self.folder = scratch

    def set_up(self) -> None:
        """Make this process's folder in the scratch folder."""
        self.folder /= str(os.getpid())
        for name in PICTURES:
            path = self.folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def __call__(self, raw: bytes) -> str:
        """'accepted' or 'refused'; Wrong for a data set that contradicts itself."""
        labels, root = self.folder / f"labels.{raw[:4].decode().strip()}", self.folder / "data"
        labels.write_bytes(raw[4:])
        try:
            found = read_dataset(root, CLASSES, labels)
        except DataError as e:
            check_message(e)
            return "refused"
        names = [s.name for s in found.samples]
        if not names or names != sorted(set(names)) or not set(names) <= set(PICTURES):
            raise Wrong("samples", f"{names}")
        for s in found.samples:
            if type(s.index) is not int or not 0 <= s.index < len(CLASSES):
                raise Wrong("class", f"{s}")
            if s.path != root / s.name:
                raise Wrong("path", f"{s}")
        for note in found.notes:
            check_text("note", note)
        return "accepted"


@click.command()
@campaign_options(100_000, "files")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
def main(bounds: Bounds, jobs: int) -> int:
    """Read mutated label files: typed errors, or data sets."""
    with tempfile.TemporaryDirectory(prefix="quasar-labels-") as scratch:
        judge = Judge(Path(scratch))
        trial = Trial(mutated_labels, judge, judge.set_up, block=500, memory=2**28)
        return run_trial(Campaign("labels", "files", bounds), trial, jobs)


if __name__ == "__main__":
    main()
