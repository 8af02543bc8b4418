"""What every typed error's message must be, whatever the input held."""

from __future__ import annotations

from tools.campaigns.isolated import Wrong

LONGEST = 1000


def check_message(error: Exception) -> None:
    """Raise Wrong unless a message is one printable line of bounded length."""
    text = str(error)
    if len(text) > LONGEST:
        raise Wrong("message", f"a message of {len(text)} characters: {text[:200]!r}...")
    if not text or not text.isprintable():
        raise Wrong("message", f"not one printable line: {text[:300]!r}")
