"""What the command line says of what it cannot do."""

from __future__ import annotations


def missing_package(e: ImportError) -> str:
    """A package that cannot be imported, and what to do."""
    said = " ".join(str(e).split())
    return f"{said}; pip install quasar-vit (in a checkout: pip install -e .) brings what is needed"
