"""Which picture of a folder a list means: names with other folders, slashes, suffixes or case."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from quasar_runtime.errors import DataError, printable
from quasar_runtime.images.prepare import is_picture_name


@dataclass(frozen=True)
class Match:
    """A picture's name in its data set, and what had to be overlooked, '' for nothing."""

    name: str
    how: str = ""


class PictureNames:
    """The pictures in `root`: their names relative to it, with slashes."""

    def __init__(self, root: Path, pictures: Iterable[str]) -> None:
        self.root = root
        self.pictures = frozenset(pictures)
        self._last: tuple[str, tuple[list[str], str]] = "", ([], "")
        self._roots = {_slashes(str(root)), _slashes(os.path.abspath(root)), _real(root)}

    def score(self, written: str) -> int:
        """How well `written` names a picture: 2 as it is, 1 with something overlooked, 0 not."""
        if not written:
            return 0
        if written in self.pictures:
            return 2
        return int(bool(self._candidates(written)[0]))

    def find(self, written: str, where: str) -> Match | None:
        """The picture that a list names; None when there is none. DataError, beginning with
        `where`, when there are several.
        """
        if written in self.pictures:
            return Match(written)
        names, how = self._candidates(written)
        if len(names) > 1:
            shown = " or ".join(printable(name) for name in sorted(names)[:2])
            raise DataError(f"{where}: '{printable(written)}' is {shown}; give the whole name")
        return Match(names[0], how) if names else None

    def _candidates(self, written: str) -> tuple[list[str], str]:
        if self._last[0] != written:  # asked for its score before it is found
            known = not written.isascii() or any(k in self._stems for k in _last_stems(written))
            self._last = written, self._overlooking(written) if known else ([], "")
        return self._last[1]

    def _overlooking(self, written: str) -> tuple[list[str], str]:
        for text in _spellings(written):
            inside = self._inside(text)
            if inside in self.pictures:
                return [inside], ""
            # Lists of some data sets leave the suffix out: nothing that needs a note.
            if names := self._without_suffix.get(inside):
                return names, ""
            stem = inside.rpartition(".")[0] if is_picture_name(inside) else inside
            if names := self._without_suffix.get(stem):
                return names, "with another suffix"
            for table, key, how in (
                (self._alike, _alike(inside), "with letters of another case or form"),
                (self._stems_alike, _alike(stem), "with letters of another case or form"),
            ):
                if names := table.get(key):
                    return names, how
            for rest in _shorter(inside):
                found = [rest] if rest in self.pictures else self._without_suffix.get(rest)
                if found:
                    return found, "without their leading folders"
            if "/" not in inside:
                names = self._by_file.get(inside) or self._by_stem.get(inside)
                if names:
                    return names, "in whichever folder they are"
        return [], ""

    def _inside(self, text: str) -> str:
        """A name relative to the root, as far as it can be told from the text alone."""
        for root in self._roots:
            if text.startswith(root + "/"):
                return text[len(root) + 1 :]
        return text

    def _table(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        for name in self.pictures:
            table.setdefault(key(name), []).append(name)
        return table

    @cached_property
    def _stems(self) -> frozenset[str]:
        """One of these is in every name that means a picture: spares the other looks."""
        return frozenset(stem for name in self.pictures for stem in _last_stems(name)[1:])

    @cached_property
    def _without_suffix(self) -> dict[str, list[str]]:
        return self._table(lambda name: name.rpartition(".")[0])

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        return self._table(_alike)

    @cached_property
    def _stems_alike(self) -> dict[str, list[str]]:
        return self._table(lambda name: _alike(name.rpartition(".")[0]))

    @cached_property
    def _by_file(self) -> dict[str, list[str]]:
        return self._table(posixpath.basename)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._table(lambda name: posixpath.basename(name).rpartition(".")[0])


def _spellings(written: str) -> list[str]:
    """The name with plain slashes; where it is not ASCII, also as bytes that are no UTF-8."""
    text = _slashes(written.strip().strip("\"'"))
    found = [text]
    if not text.isascii():
        with suppress(UnicodeEncodeError):
            found.append(os.fsdecode(text.encode("latin-1")))
    return found


def _last_stems(name: str) -> tuple[str, str]:
    """The last part of a name, whole and without its suffix, in lower case."""
    last = re.split(r"[\\/]", name.strip(" \t\"'"))[-1].casefold()
    return last, last.rpartition(".")[0] or last


def _slashes(text: str) -> str:
    """'.\\\\a//b/../c' as 'a/c', 'C:\\\\data\\\\x' as '/data/x'."""
    text = re.sub(r"^[A-Za-z]:(?=[\\/])", "", text.replace("\\", "/"))
    return posixpath.normpath(text) if text else text


def _real(root: Path) -> str:
    return _slashes(os.path.realpath(root))


def _shorter(name: str) -> list[str]:
    """The name without its first folder, its first two, ...: at most 32."""
    parts = name.split("/")[-33:]
    return ["/".join(parts[i:]) for i in range(1, len(parts))]


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
