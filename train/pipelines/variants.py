"""The variants of a training that an ablation compares; no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A run that differs from the recipe in one thing.

    changes: settings of the recipe; random_rows: 8-bit rows drawn at random; alone: the one
    sentinel that is trained, with weights of its own.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    random_rows: bool = False
    alone: str | None = None


VARIANTS = {
    "as it is": Variant(),
    "no layer scaling": Variant({"layer_scaling": False}),
    "random 8-bit rows": Variant(random_rows=True),
    "classes in place of the teacher": Variant({"teacher": 0.0, "hint": 0.0, "label": 1.0}),
    "weights of its own: 8-bit": Variant(alone="8-bit"),
    "weights of its own: half": Variant(alone="half"),
    "weights of its own: 4-bit": Variant(alone="4-bit"),
}
