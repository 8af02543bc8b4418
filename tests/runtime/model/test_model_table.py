"""The header's table of tensors: what the safetensors library refuses, the reader refuses too."""

from __future__ import annotations

import json

import pytest

from quasar_runtime.errors import ModelError, ModelFileError
from quasar_runtime.model.file import model_from_bytes, model_to_bytes
from tests.runtime.model import model_bytes as mb
from tests.runtime.model.test_model_file import assert_same

RAW = model_to_bytes(mb.small_model())


@pytest.mark.parametrize("shape", [[True, 32], [1.0, 32], [-0.0, 32]], ids=repr)
def test_a_dimension_is_an_integer(shape):
    raw = model_to_bytes(mb.small_model(classes=1))
    changed = mb.edit_header(raw, lambda h: h["head.weights8"].update(shape=shape))
    with pytest.raises(ModelError, match=r"head\.weights8 (has|is)"):
        model_from_bytes(changed)


def test_minus_zero_is_no_integer_of_the_table():
    """safetensors reads it as a float, Python's reader of JSON as 0."""
    header, data = mb.split(RAW)
    text = json.dumps(header)
    changed = text.replace('"data_offsets": [0, ', '"data_offsets": [-0, ')
    assert changed != text
    with pytest.raises(ModelFileError, match=r"data_offsets of .* are \[-0\.0, "):
        model_from_bytes(mb.frame(changed, data))


def test_an_entry_has_the_keys_that_safetensors_knows():
    raw = mb.edit_header(RAW, lambda h: h["position"].update(order="C"))
    with pytest.raises(ModelFileError, match="entry of position has the unknown key 'order'"):
        model_from_bytes(raw)


def test_an_entry_has_offsets():
    raw = mb.edit_header(RAW, lambda h: h["position"].pop("data_offsets"))
    with pytest.raises(ModelFileError, match="entry of position has no data_offsets"):
        model_from_bytes(raw)


@pytest.mark.parametrize("extra", [{"pages": 3}, {"note": "\ud800"}, {"\ud800": ""}], ids=ascii)
def test_metadata_are_text(extra):
    raw = mb.edit_header(RAW, lambda h: h["__metadata__"].update(extra))
    with pytest.raises(ModelFileError, match="its metadata holds what is not text"):
        model_from_bytes(raw)


def test_tensors_must_not_share_bytes_or_leave_gaps():
    def swap_ends(header):
        a, b = header["blocks.0.norm1.gain"], header["position"]
        a["data_offsets"], b["data_offsets"] = b["data_offsets"], a["data_offsets"]

    def shift(header):
        header["blocks.0.gelu"]["data_offsets"] = [0, 256]

    for change in (swap_ends, shift):
        with pytest.raises(ModelFileError, match=r"not a safetensors file \(.* lies at bytes"):
            model_from_bytes(mb.edit_header(RAW, change))


def test_tensors_may_lie_in_any_order_and_at_any_address():
    header, data = mb.split(RAW)
    parts, at = [], 0
    for entry in [e for n, e in sorted(header.items()) if n != "__metadata__"]:
        begin, end = entry["data_offsets"]
        parts.append(data[begin:end])
        entry["data_offsets"] = [at, at + end - begin]
        at += end - begin
    model = model_from_bytes(mb.join(header, b"".join(parts)))
    assert_same(model, mb.small_model())
    assert all(m.bias.flags.aligned and m.bias.flags.writeable for m in model.linears().values())
