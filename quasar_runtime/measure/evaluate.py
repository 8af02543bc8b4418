"""Top-1 and top-5 accuracy of a session on a data set, resumable.

With a state file, the answer for each picture is appended to it as it comes: one JSON object a
line, the first one naming model, program and data. A run that was stopped goes on where it ended.
Names in it are the files' own; bytes that are no text are JSON's \\udcXX, as Python reads them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quasar_runtime.errors import DataError, printable
from quasar_runtime.files import check_output, read_bytes
from quasar_runtime.images.datasets import Dataset, Sample
from quasar_runtime.session.session import Session

STATE_FORMAT = "quasar-eval-1"
TOP = 5
MOST_STATE = 2**30
"""Bytes of the largest state file: ten million pictures."""


@dataclass(frozen=True)
class Outcome:
    """A sample with the indices of its most likely classes, or with the error that left it out."""

    sample: Sample
    top: tuple[int, ...]
    error: str | None = None


class Evaluation:
    """Counts of right answers; `run` fills them.

    `done` pictures come from the state file, `remaining` are still to be run. Pictures that cannot
    be read do not count; they are in `failed`. `problem` is why answers could not be kept any more
    (the disk is full): the evaluation goes on without.

    DataError when the state file belongs to another model or data set, is damaged, is one of the
    pictures or cannot be written.
    """

    def __init__(
        self, session: Session, dataset: Dataset, resume: str | os.PathLike[str] | None = None
    ) -> None:
        self._session = session
        self._dataset = dataset
        self.problem: DataError | None = None
        self._state = None if resume is None else Path(resume)
        self._header = {
            "format": STATE_FORMAT,
            "model": session.name,
            "program": session.program.fingerprint,
            "data": str(dataset.root.resolve()),
        }
        self.failed: list[Outcome] = []
        self._right: dict[int, list[int]] = {}  # class -> [images, top-1, top-5]
        if self._state is not None:
            check_output(self._state, [sample.path for sample in dataset.samples])
        known = self._read_state()
        self.remaining = [s for s in dataset.samples if s.name not in known]
        for sample in dataset.samples:
            if sample.name in known:
                self._count(Outcome(sample, known[sample.name]))
        self.done = self.images

    @property
    def images(self) -> int:
        """Pictures counted so far."""
        return sum(n for n, _, _ in self._right.values())

    @property
    def top1(self) -> float | None:
        """Percent of pictures whose class came first; None before the first one."""
        return _percent(sum(n for _, n, _ in self._right.values()), self.images)

    @property
    def top5(self) -> float | None:
        """Percent of pictures whose class was among the first five; None before the first one."""
        return _percent(sum(n for _, _, n in self._right.values()), self.images)

    def run(self) -> Iterator[Outcome]:
        """Run what remains, in order, one outcome a picture."""
        results = self._session.stream((s.path for s in self.remaining), TOP)
        state = self._open_state()
        try:
            for sample, result in zip(self.remaining, results, strict=True):
                if result.error is not None:
                    outcome = Outcome(sample, (), str(result.error))
                    self.failed.append(outcome)
                else:
                    outcome = Outcome(sample, tuple(p.index for p in result.predictions))
                    self._count(outcome)
                    if state is not None and self.problem is None:
                        self._keep(state, outcome)
                yield outcome
        finally:
            if state is not None:
                with suppress(OSError):  # told by `problem`
                    state.close()

    def as_dict(self, per_class: bool = False) -> dict[str, Any]:
        """What `quasar eval --json` prints; see docs/cli.md."""
        answer: dict[str, Any] = {
            "model": self._session.name,
            "device": self._session.device.name,
            "overlay": self._session.device.overlay.name,
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "failed": [{"file": o.sample.name, "error": o.error} for o in self.failed],
            "skipped": [{"folder": str(s.path), "why": s.why} for s in self._dataset.skipped],
            "notes": list(self._dataset.notes),
        }
        if per_class:
            answer["classes"] = self.per_class()
        return answer

    def per_class(self) -> list[dict[str, Any]]:
        """Counts and percentages of each class that has pictures, by index."""
        return [
            {
                "index": index,
                "wnid": self._session.labels[index][0],
                "label": self._session.labels[index][1],
                "images": images,
                "top1": _percent(first, images),
                "top5": _percent(five, images),
            }
            for index, (images, first, five) in sorted(self._right.items())
        ]

    def _count(self, outcome: Outcome) -> None:
        counts = self._right.setdefault(outcome.sample.index, [0, 0, 0])
        counts[0] += 1
        counts[1] += outcome.top[:1] == (outcome.sample.index,)
        counts[2] += outcome.sample.index in outcome.top

    def _read_state(self) -> dict[str, tuple[int, ...]]:
        """Answers of earlier runs by file name; cuts off a line that was being written."""
        path = self._state
        if path is None or not path.exists():
            return {}
        raw = read_bytes(path, MOST_STATE)
        if not raw:
            return {}
        whole = raw.rfind(b"\n") + 1
        lines = raw[:whole].splitlines() or [raw]
        header = _parse_line(path, 1, lines[0])
        for key, wanted in self._header.items():
            if header.get(key) != wanted:
                raise DataError(
                    f"{_shown(path)}: holds results of {key} {header.get(key)!r}, not of "
                    f"{wanted!r}; "
                    "remove it or give another file"
                )
        if whole < len(raw):  # only now is it certain that the file is ours
            os.truncate(path, whole)
        known = {}
        for number, line in enumerate(lines[1:], 2):
            entry = _parse_line(path, number, line)
            name, top = entry.get("file"), entry.get("top")
            whole_numbers = isinstance(top, list) and all(type(i) is int for i in top)
            if not isinstance(name, str) or not whole_numbers:
                raise _damaged(path, number)
            known[name] = tuple(entry["top"])
        return known

    def _open_state(self) -> IO[str] | None:
        if self._state is None:
            return None
        try:
            state = open(self._state, "a", encoding="utf-8")  # noqa: SIM115 - run closes it
            if state.tell() == 0:
                _write_line(state, self._header)
        except OSError as e:
            raise self._unwritten(e) from None
        return state

    def _keep(self, state: IO[str], outcome: Outcome) -> None:
        try:
            _write_line(state, {"file": outcome.sample.name, "top": outcome.top})
        except OSError as e:
            self.problem = self._unwritten(e)

    def _unwritten(self, e: OSError) -> DataError:
        return DataError(
            f"{_shown(self._state)}: cannot be written ({e.strerror}); answers from here on are "
            "not kept in it"
        )


def _shown(path: Path | None) -> str:
    return printable(str(path))


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 4) if whole else None


def _write_line(state: IO[str], value: object) -> None:
    """A whole line at once, on disk before the next picture runs."""
    state.write(json.dumps(value) + "\n")
    state.flush()


def _parse_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise _damaged(path, number) from None
    if not isinstance(value, dict):
        raise _damaged(path, number)
    return value


def _damaged(path: Path, number: int) -> DataError:
    return DataError(
        f"{_shown(path)} line {number}: not a result of an evaluation; remove the file or give "
        "another one"
    )
