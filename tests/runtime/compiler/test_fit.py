"""Which overlays have room for a model, and what is advised where one has none."""

from dataclasses import replace

import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.compiler.fit import Geometry, misfit, overlays_that_take
from quasar_runtime.errors import CompileError
from quasar_runtime.isa.overlay import load_overlay, overlay_names
from quasar_runtime.model.synthetic import random_model

WIDE = {"image_size": 224, "width": 384, "heads": [6], "mlp": [1536]}
"""A block of ViT-Small."""


def geometry_of(model) -> Geometry:
    heads, mlp = tuple(b.heads for b in model.blocks), tuple(b.mlp for b in model.blocks)
    return Geometry(model.image_size, model.width, heads, mlp, model.classes)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, ["b64", "b1024", "b8192"]),
        (WIDE, ["b8192"]),
        ({"classes": 1025}, []),
        ({"image_size": 240, "width": 192, "heads": [3], "mlp": [768]}, ["b1024", "b8192"]),
    ],
)
def test_the_overlays_that_take_a_model_are_those_that_it_compiles_for(values, names):
    model = random_model(0, **values)
    assert overlays_that_take(model) == names
    assert overlays_that_take(geometry_of(model)) == names
    for name in overlay_names():
        overlay = load_overlay(name)
        assert (misfit(model, overlay) is None) == (name in names)
        if name in names:
            compile_model(model, overlay)
        else:
            with pytest.raises(CompileError):
                compile_model(model, overlay)


def test_a_geometry_is_judged_without_its_weights():
    """A gigabyte of weights would be needed for the model itself."""
    deep = Geometry(224, 1024, (16,) * 80, (4096,) * 80, 1000)
    assert "residual" in misfit(deep, load_overlay("b1024"))


def test_an_overlay_that_is_too_small_names_one_that_is_not():
    with pytest.raises(CompileError, match="overlay 'b1024' has 1024; --overlay b8192 takes it"):
        compile_model(random_model(0, **WIDE), load_overlay("b1024"))


def test_where_no_overlay_is_large_enough_the_error_says_so():
    model = random_model(0, classes=2000)
    with pytest.raises(CompileError, match=r"2000 classes, .*; no other overlay takes it"):
        compile_model(model, load_overlay("b8192"))


def test_the_overlay_that_does_not_take_it_is_not_advised():
    """A search's own overlay may bear the name of a built one."""
    small = replace(load_overlay("b64"), act_words=64)
    with pytest.raises(CompileError, match="--overlay b1024 takes it"):
        compile_model(random_model(0), small)
