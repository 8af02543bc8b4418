"""A docstring as the help of a click command, with its own line breaks."""

from __future__ import annotations


def kept(text: str | None) -> str:
    """Paragraphs behind a backspace, whose lines click leaves as they are."""
    return "\n\n".join(f"\b\n{part}" for part in (text or "").split("\n\n"))
