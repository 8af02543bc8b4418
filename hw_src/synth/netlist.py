"""A design's RTLIL, taken apart: each distinct module once, with what it instantiates.

`read_slang --keep-hierarchy` writes a module for every instance. Two are the same when their text
is, but for source lines, Yosys' running numbers and the names of equal modules inside: `distinct`
gives each such text one name. A module is then synthesised by itself, its children as black boxes.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

MODULE = re.compile(
    r"^((?:attribute [^\n]*\n)*)module (\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL
)
NOISE = re.compile(r"^\s*attribute \\(src|hdlname|top) .*\n", re.MULTILINE)
CELL = re.compile(r"^(\s*cell )(\S+)( )", re.MULTILINE)
NUMBER = re.compile(r"(?<=\$)\d+")
PORT = re.compile(r"^  wire(?: width (\d+))?(?: signed)?(?: offset -?\d+)?(?: upto)?"
                  r" (input|output|inout) (\d+)(?: signed)? (\S+)$", re.MULTILINE)  # fmt: skip


@dataclass(frozen=True)
class Module:
    """A distinct module: `plain` is its name in the source, `name` with a hash of its text."""

    name: str
    plain: str
    body: str
    children: Counter[str] = field(compare=False)
    """Names of the modules inside and how many of each it instantiates itself."""

    def header_as(self, name: str) -> str:
        """RTLIL of its ports as a black box of another name."""
        ports = [(int(p[3]), p[2], p[1] or "1", p[4]) for p in PORT.finditer(self.body)]
        wires = "".join(f"  wire width {w} {d} {i} {n}\n" for i, d, w, n in sorted(ports))
        return f"attribute \\blackbox 1\nmodule \\{name}\n{wires}end\n"


def _renumbered(body: str) -> str:
    """The body with Yosys' running numbers counted from its beginning."""
    numbers: dict[str, str] = {}
    return NUMBER.sub(lambda m: numbers.setdefault(m[0], str(len(numbers) + 1)), body)


def distinct(text: str, top: str) -> dict[str, Module]:
    """The distinct modules below `top` by name, children before parents.

    Raises ValueError when the text has no such module.
    """
    bodies = {
        name: NOISE.sub("", body)
        for attributes, name, body in MODULE.findall(text)
        if "\\blackbox" not in attributes  # primitives
    }
    if f"\\{top}" not in bodies:
        raise ValueError(f"the design has no module {top}")
    found: dict[str, Module] = {}
    known: dict[str, str] = {}

    def visit(original: str) -> str:
        if original in known:
            return known[original]
        children: Counter[str] = Counter()

        def instance(match: re.Match[str]) -> str:
            if match[2] not in bodies:
                return match[0]
            child = visit(match[2])
            children[child] += 1
            return f"{match[1]}\\{child}{match[3]}"

        plain = original.lstrip("\\").split("$")[0]
        body = _renumbered(CELL.sub(instance, bodies[original]))
        name = f"{plain}_{hashlib.sha256(body.encode()).hexdigest()[:8]}"
        found.setdefault(name, Module(name, plain, body, children))
        known[original] = name
        return name

    visit(f"\\{top}")
    return found


def instances(modules: dict[str, Module], top: str) -> Counter[str]:
    """How often each module is used in the whole design; the top once.

    `modules` has children before parents, as `distinct` returns them.
    """
    used = Counter({top: 1})
    for name in reversed(modules):
        for child, number in modules[name].children.items():
            used[child] += number * used[name]
    return used


def memories(body: str) -> Iterator[tuple[str, str, int]]:
    """Name, ram_style ("" for none) and bits of each memory declared in a module's RTLIL."""
    style = ""
    for line in body.splitlines():
        words = line.split()
        if words[:2] == ["attribute", "\\ram_style"]:
            style = words[2].strip('"')
        elif words[:1] == ["memory"]:
            sizes = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
            yield words[-1].lstrip("\\"), style, int(sizes.get("width", 1)) * int(sizes["size"])
            style = ""
        elif words[:1] != ["attribute"]:
            style = ""
