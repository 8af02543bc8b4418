"""Nested facts of a model file, as lines for people: no key in quotes, no brackets, no None."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quasar_runtime.cli.tables import table
from quasar_runtime.cli.terminal import wrap

INDENT = "  "


def number(value: float) -> str:
    """A number with separators of thousands; a fraction with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def scalar(value: Any) -> str:
    """A value that holds no others; '-' for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) else str(value)


def _name(key: str) -> str:
    return key.replace("_", " ")


def lines(facts: Mapping[str, Any], columns: int | None, indent: str = "") -> Iterator[str]:
    """Keys and values, one per line; what a value holds is indented under its key."""
    for key, value in facts.items():
        name = _name(key)
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}"
            yield from lines(value, columns, indent + INDENT)
        elif _is_table(value):
            yield f"{indent}{name}"
            room = None if columns is None else columns - len(indent + INDENT)
            for line in _table(value, room):
                yield (indent + INDENT + line).rstrip()
        else:
            yield from _wrapped(f"{name}: {_flat(value)}", columns, indent)


def _wrapped(text: str, columns: int | None, indent: str) -> Iterator[str]:
    if columns is None:
        yield indent + text
        return
    hang = indent + INDENT
    for i, line in enumerate(wrap(text, columns - len(hang))):
        yield (hang if i else indent) + line


def _is_table(value: Any) -> bool:
    """Whether a value is a list of objects that hold the same scalars."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    first = value[0]
    return isinstance(first, Mapping) and all(
        isinstance(entry, Mapping)
        and entry.keys() == first.keys()
        and not any(isinstance(v, Mapping | list | tuple) for v in entry.values())
        for entry in value
    )


def _table(entries: Sequence[Mapping[str, Any]], columns: int | None) -> Iterator[str]:
    """Objects as rows, numbered from 0."""
    headers = ["", *map(_name, entries[0])]
    rows = [[str(i), *map(scalar, entry.values())] for i, entry in enumerate(entries)]
    yield from table(headers, rows, columns)


def _flat(value: Any) -> str:
    """A value in one line; a list whose values are all the same says it once."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_name(k)} {_flat(v)}" for k, v in value.items()) or "-"
    if not isinstance(value, list | tuple):
        return scalar(value)
    # Separators of thousands would read as further entries.
    shown = [str(v) if type(v) is int else _flat(v) for v in value]
    if len(shown) > 2 and len(set(shown)) == 1:
        return f"{shown[0]} ({len(shown)} times)"
    return ", ".join(shown) or "-"
