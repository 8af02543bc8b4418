"""A reader of VCD files, for tests: the values of every signal at every time."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Vcd:
    """timescale as written; signals by hierarchical name; changes as (time, value), None for x."""

    timescale: str = ""
    changes: dict[str, list[tuple[int, int | None]]] = field(default_factory=dict)

    def at(self, name: str, time: int) -> int | None:
        """A signal's value at a time."""
        changes = self.changes[name]
        number = bisect_right(changes, time, key=lambda change: change[0])
        return changes[number - 1][1] if number else None

    def find(self, name: str) -> str:
        """The shortest hierarchical name that ends in a signal's own."""
        return min((n for n in self.changes if n.rpartition(".")[2] == name), key=len)


def read_vcd(path: Path) -> Vcd:
    """Signals and their changes. Signals that are one net share a list."""
    vcd, scope, nets = Vcd(), [], {}
    header, _, body = path.read_text().partition("$enddefinitions")
    vcd.timescale = " ".join(re.search(r"\$timescale(.*?)\$end", header, re.S).group(1).split())
    for kind, rest in re.findall(r"\$(scope|upscope|var)\b(.*?)\$end", header, re.S):
        words = rest.split()
        if kind == "scope":
            scope.append(words[1])
        elif kind == "upscope":
            scope.pop()
        else:
            changes = nets.setdefault(words[2], [])
            vcd.changes[".".join([*scope, words[3]])] = changes
    time = 0
    for line in body.splitlines()[1:]:
        if line.startswith("#"):
            time = int(line[1:])
        elif line and line[0] in "01xz":
            nets[line[1:]].append((time, int(line[0]) if line[0] in "01" else None))
        elif line.startswith("b"):
            bits, net = line[1:].split()
            nets[net].append((time, int(bits, 2) if set(bits) <= {"0", "1"} else None))
    return vcd
