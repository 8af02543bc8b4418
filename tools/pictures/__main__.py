"""Write the pictures again: python -m tools.pictures [NAME...]"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.pictures import accelerator, architecture, front, notebook, system, terminal
from tools.pictures.drawing import write

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
COMMANDS = {
    "terminal_infer": ("quasar-infer examples/chelsea.jpg", "quasar models list"),
}
PICTURES: dict[str, Callable[[], str]] = {
    "system": system.draw,
    "architecture": architecture.draw,
    "accelerator": accelerator.draw,
    "front": front.draw,
    "notebook_profile": notebook.draw,
    **{name: partial(terminal.draw, commands) for name, commands in COMMANDS.items()},
}


def main() -> int:
    for name in sys.argv[1:] or PICTURES:
        if name not in PICTURES:
            print(f"Error: no picture '{name}'; there are {', '.join(PICTURES)}", file=sys.stderr)
            return 1
        write(FOLDER / f"{name}.svg", PICTURES[name]())
        print(f"docs/pictures/{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
