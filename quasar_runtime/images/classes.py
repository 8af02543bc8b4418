"""What a data set calls a class: its wnid, its index or its name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quasar_runtime.errors import DataError, did_you_mean, printable

COUNTED_FROM_1 = (
    "Numbers are the model's classes in its order (the wnids sorted); ImageNet's development kit "
    "numbers them in another one: give wnids for its"
)
MOST_SEEN = 10_000
"""Labels whose meaning is remembered: they come again and again."""
INDEX = re.compile(r"\d{1,9}(\.0{1,9})?", re.ASCII)
"""MXNet writes 285.000000."""
WNID_FIRST = re.compile(r"(n\d{8})[-_. ,:]")
"""Names such as 'n02085620-Chihuahua', as in Stanford Dogs."""


@dataclass(frozen=True)
class Label:
    """A label as it is written. kind is 'wnid', 'name' or 'index'; value, for an index, is the
    number itself, which may count from 1, else the class's index.
    """

    text: str
    kind: str
    value: int

    @property
    def is_index(self) -> bool:
        """Whether it is a class index, not a name."""
        return self.kind == "index"


class Classes:
    """The classes of a model, (wnid, name) each in the order of its outputs."""

    def __init__(self, classes: list[tuple[str, str]]) -> None:
        self._classes = classes
        self._wnids = {wnid: i for i, (wnid, _) in enumerate(classes)}
        self._seen: dict[str, Label | None] = {}
        self._names: dict[str, list[int]] = {}
        for i, (_, name) in enumerate(classes):
            for key in {_plain(name), _plain(name.split(",")[0])}:
                self._names.setdefault(key, []).append(i)

    def __len__(self) -> int:
        return len(self._classes)

    @property
    def example(self) -> str:
        """The first class, for messages."""
        return self._classes[0][0]

    def shown(self, index: int) -> str:
        """A class for people."""
        return f"{index} ('{self._classes[index][1]}')"

    def find(self, text: str) -> Label | None:
        """What a label means; its first word, where the whole means nothing (boxes, explanations).

        An index may be as large as the number of classes, where they count from 1.
        """
        text = text.strip().strip("\"'").strip()
        return self.whole(text) or (self.whole(text.split(None, 1)[0]) if " " in text else None)

    def require(self, text: str, where: str) -> Label:
        """What a label means; DataError when nothing or too much."""
        found = self.find(text)
        if found is not None:
            return found
        label = text.strip()
        same = self._names.get(_plain(label), [])
        if len(same) > 1:
            wnids = " or ".join(self._classes[i][0] for i in same)
            raise DataError(f"{where}: {label!r} names several classes; give {wnids}")
        hint = did_you_mean(label, [*self._wnids, *self._names])
        raise DataError(
            f"{where}: the label {printable(label[:80])!r} is neither a wnid of the model, nor an "
            f"index from 0 to {len(self) - 1}, nor the name of a class"
            + ("" if label.isdigit() else hint)
        )

    def whole(self, text: str) -> Label | None:
        """What a label means that nothing follows."""
        if text not in self._seen:
            if len(self._seen) > MOST_SEEN:
                self._seen.clear()
            self._seen[text] = self._read(text)
        return self._seen[text]

    def _read(self, text: str) -> Label | None:
        if text in self._wnids:
            return Label(text, "wnid", self._wnids[text])
        if INDEX.fullmatch(text):
            number = int(text.partition(".")[0])
            return Label(text, "index", number) if number <= len(self) else None
        if text.lower() in self._wnids:
            return Label(text, "wnid", self._wnids[text.lower()])
        if (first := WNID_FIRST.match(text)) and first[1] in self._wnids:
            return Label(text, "wnid", self._wnids[first[1]])
        same = self._names.get(_plain(text), [])
        return Label(text, "name", same[0]) if len(same) == 1 else None


def _plain(name: str) -> str:
    """A class's name without case, underscores and doubled spaces."""
    return " ".join(name.casefold().replace("_", " ").split())
