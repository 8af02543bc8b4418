"""What messages and notes for people must be, whatever the input held."""

from __future__ import annotations

from quasar_runtime.errors import printable
from tools.campaigns.isolated import Wrong

LONGEST = 1000


def check_text(kind: str, text: str) -> None:
    """Raise Wrong unless a text is one line of bounded length without control characters."""
    if len(text) > LONGEST:
        raise Wrong(kind, f"{len(text)} characters: {text[:200]!r}...")
    if not text or printable(text) != text:
        raise Wrong(kind, f"not one printable line: {text[:300]!r}")


def check_message(error: Exception) -> None:
    """Raise Wrong unless an error's message is fit for people."""
    check_text("message", str(error))
