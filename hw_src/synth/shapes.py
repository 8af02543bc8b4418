"""What arrays of other shapes take: totals for a model of resources, in shapes.json.

    python hw_src/synth/shapes.py            synthesise the shapes below, one after the other
    python hw_src/synth/shapes.py 2x8x16     only those

Each shape is written as soon as it is done, with the RTL it was made from; a shape that is already
there for this RTL is left alone. Memories, logits and ports differ from shape to shape, so that
what each of them takes can be told apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yosys
from synth import say, synthesise

SHAPES_FILE = Path(__file__).with_name("shapes.json")
SHAPES = (
    # tokens, rows, depth, act_words, res_words, logits, read_ports
    (2, 4, 16, 2048, 1024, 1024, 1),
    (2, 8, 8, 4096, 1024, 512, 1),
    (2, 8, 16, 8192, 2048, 1024, 2),
    (2, 16, 32, 4096, 1024, 1024, 1),
    (4, 8, 8, 4096, 2048, 1024, 1),
    (4, 8, 16, 2048, 512, 1024, 2),
    (4, 16, 16, 6400, 1280, 1024, 2),
    (4, 16, 32, 4096, 1024, 1024, 2),
    (4, 32, 16, 4096, 1024, 1024, 2),
    (8, 16, 8, 2048, 512, 512, 1),
    (8, 16, 16, 4096, 1024, 1024, 2),
    (4, 32, 32, 4096, 1024, 1024, 2),
)
PARAMETERS = ("tokens", "rows", "depth", "act_words", "res_words", "logits", "read_ports")


def name(shape: tuple[int, ...]) -> str:
    """The shape's name, as TOKENSxROWSxDEPTH."""
    return "x".join(map(str, shape[:3]))


def described(shape: tuple[int, ...]) -> dict[str, Any]:
    """The content of its overlay.json."""
    values = dict(zip(PARAMETERS, shape, strict=True))
    return {"name": name(shape), "description": "a shape", "clock_mhz": 300, **values}


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="shapes, as TOKENSxROWSxDEPTH")
    given = parser.parse_args()
    kept: list[dict[str, Any]] = []
    if SHAPES_FILE.exists():
        kept = json.loads(SHAPES_FILE.read_text())["shapes"]
    for shape in SHAPES:
        overlay = described(shape)
        done = any((k["overlay"], k["rtl"]) == (overlay, yosys.rtl_hash()) for k in kept)
        if done or (given.names and name(shape) not in given.names):
            continue
        say(f"shape {name(shape)}")
        try:
            made = synthesise(overlay)
        except yosys.SynthesisError as error:
            say(f"error: {error}")
            return 1
        say("\n".join(made["problems"]))
        # A path that is too long makes a shape slower, not larger: `levels` says it.
        if any("levels from" not in problem for problem in made["problems"]):
            return 1
        kept = [k for k in kept if k["overlay"]["name"] != overlay["name"]]
        kept.append({k: made[k] for k in ("overlay", "rtl", "tool", "totals", "levels")})
        kept.sort(key=lambda k: [k["overlay"][p] for p in PARAMETERS])
        SHAPES_FILE.write_text(json.dumps({"shapes": kept}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
