"""Damaged and forged model files: never a crash, never a model that breaks a stated range.

24,000 seeded cases of the six kinds in tools/campaigns/model_mutations.py; ten million are a
campaign (docs/robustness.md). Whatever is accepted is checked by an oracle that shares nothing with
the validator, and now and then compiled.
"""

from __future__ import annotations

from random import Random

import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.errors import ModelError
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.file import model_from_bytes
from tests.runtime.model import model_bytes as mb
from tools.campaigns.model_mutations import KINDS, broken_range, unlike_safetensors

CASES = 4000
OVERLAY = load_overlay("b64")


@pytest.mark.parametrize("kind", KINDS)
def test_no_mutation_crashes_or_passes_with_a_broken_range(kind):
    rng = Random(sorted(KINDS).index(kind))
    accepted = refused = 0
    messages = set()
    for case in range(CASES):
        raw = KINDS[kind](rng)
        try:
            model = model_from_bytes(raw)
        except ModelError as e:
            refused += 1
            messages.add(str(e))
            continue
        accepted += 1
        assert broken_range(model) is None, (case, broken_range(model))
        assert unlike_safetensors(model, raw) is None, (case, unlike_safetensors(model, raw))
        if accepted % 50 == 0:
            compile_model(model, OVERLAY)
    assert [m for m in messages if not m.isprintable() or len(m) > 1000] == []
    assert refused > CASES // 20
    # Where a legal change is easy to hit, the oracle must have had something to judge.
    assert accepted > CASES // 20 or kind not in ("in_tensors", "in_manifest")


@pytest.mark.parametrize(
    ("part", "value"),
    [("weights", 120), ("bits", 6), ("shift", 41), ("multiplier", 2**15), ("bias", 2**31 - 1)],
)
def test_the_oracle_sees_what_a_matrix_breaks(part, value):
    model = mb.small_model()
    assert broken_range(model) is None
    getattr(model.blocks[0].fc2, part).flat[40 if part == "weights" else 3] = value
    assert broken_range(model) is not None
