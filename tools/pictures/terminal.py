"""Pictures of a terminal: commands are run in one of 80 columns, and drawn as they print."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 80
LETTER, LINE, MARGIN, BAR = 8.2, 19, 18, 34
"""Pixels: a column, a line, the border, the title bar."""
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PAPER, INK, PROMPT = "#1c2129", "#e3e8ef", "#7ec699"


def run(command: str) -> list[str]:
    """Lines that `quasar ...` or `quasar-infer ...` prints on a terminal of 80 columns.

    Raises CalledProcessError when it fails.
    """
    name, *arguments = command.split()
    verb = ["infer"] if name == "quasar-infer" else []
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "quasar_runtime.cli", *verb, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": str(COLUMNS)},
        stdin=side,
        stdout=side,
        stderr=subprocess.DEVNULL,
    )
    os.close(side)
    printed = b""
    try:
        while chunk := os.read(main, 65536):
            printed += chunk
    except OSError:  # EIO: the other side is closed
        pass
    os.close(main)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, printed)
    return [line.rstrip() for line in printed.decode().splitlines()]


def draw(commands: tuple[str, ...]) -> str:
    """The commands one after the other, each with what it prints."""
    lines: list[str] = []
    for command in commands:
        lines += ([""] if lines else []) + [f"$ {command}", *run(command)]
    return svg(lines, f"Terminal: {'; '.join(commands)}")


def svg(lines: list[str], title: str) -> str:
    """A terminal window with these lines; `$ ` begins a command."""
    width = round(2 * MARGIN + LETTER * max([COLUMNS, *map(len, lines)]))
    height = BAR + LINE * len(lines) + MARGIN
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="{MONO}" font-size="13.5">',
        f"<title>{escape(title)}</title>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" '
        f'fill="{PAPER}" stroke="#4a5361"/>',
        *(
            f'<circle cx="{20 + 18 * number}" cy="17" r="5.5" fill="{colour}"/>'
            for number, colour in enumerate(("#e0645c", "#e3b341", "#5fb760"))
        ),
    ]
    for number, line in enumerate(lines):
        if not line:
            continue
        y = BAR + LINE * number + 14
        # The length is stated, so that another font's letters do not shift the columns.
        shapes.append(
            f'<text x="{MARGIN}" y="{y}" fill="{PROMPT if line.startswith("$ ") else INK}" '
            f'textLength="{LETTER * len(line):.1f}" xml:space="preserve">{escape(line)}</text>'
        )
    return "\n".join([*shapes, "</svg>\n"])
