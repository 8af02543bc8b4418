"""Overlay parameters are read from overlay.json, and refused where nothing can be built of them."""

import json
from dataclasses import asdict, replace

import pytest

from quasar_runtime.errors import OverlayError
from quasar_runtime.isa.overlay import FIELDS, load_overlay, overlay_names, parse_overlay

B64 = load_overlay("b64")


def parse(**changes):
    return parse_overlay(json.dumps({**asdict(B64), **changes}), "overlay.json")


def test_overlays_are_listed_by_size():
    names = overlay_names()
    assert names[0] == "b64"
    assert [load_overlay(n).macs for n in names] == sorted(load_overlay(n).macs for n in names)


def test_what_was_written_is_read():
    assert parse() == B64
    assert B64.macs == B64.tokens * B64.rows * B64.depth == 64


@pytest.mark.parametrize("key", FIELDS)
def test_every_parameter_has_a_range(key):
    low, high = FIELDS[key]
    for value in (low - 1, high + 1, None, "4", True, 1.5):
        with pytest.raises(
            OverlayError, match=rf"overlay\.json: {key} is .*integer {low} to {high}"
        ):
            parse(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [("tokens", 3, "2 or 4"), ("rows", 24, "16 or 32"), ("depth", 12, "8 or 16")],
)
def test_the_array_has_powers_of_two(key, value, near):
    message = f"{key} is {value}, expected a power of two, such as {near}"
    with pytest.raises(OverlayError, match=rf"overlay\.json: overlay 'b64': {message}"):
        parse(**{key: value})
    with pytest.raises(OverlayError, match=f"^overlay 'b64': {message}"):
        replace(B64, **{key: value})


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "3", "[" * 10**5], ids=["empty", "array", "open", "number", "deep"]
)
def test_a_file_that_is_no_object_is_refused(text):
    with pytest.raises(OverlayError, match=r"overlay\.json"):
        parse_overlay(text, "overlay.json")


def test_a_name_that_is_close_is_offered():
    with pytest.raises(OverlayError, match="did you mean 'b1024'"):
        load_overlay("b1023")
    with pytest.raises(OverlayError, match=r"no overlay named '\.\./b64'"):
        load_overlay("../b64")
