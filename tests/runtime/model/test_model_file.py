"""The model file: what is written is read back, and every unusable file says why it is unusable."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.errors import ModelError, ModelFileError, ModelNotFound, ModelValueError
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model import file as model_file
from quasar_runtime.model.file import (
    model_from_bytes,
    model_to_bytes,
    pack_nibbles,
    read_model,
    unpack_nibbles,
    write_model,
)
from quasar_runtime.model.manifest import FORMAT_VERSION, parse_manifest
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model
from tests.runtime.model import model_bytes as mb

RAW = model_to_bytes(mb.small_model())


def assert_same(a: Model, b: Model) -> None:
    """Every tensor and entry of two models is equal, in value, type and shape."""

    def same(x: np.ndarray, y: np.ndarray) -> None:
        assert x.dtype == y.dtype
        assert np.array_equal(x, y)

    for name, matrix in a.linears().items():
        for part in ("weights", "bits", "bias", "multiplier", "shift"):
            same(getattr(matrix, part), getattr(b.linears()[name], part))
    for name, norm in a.norms().items():
        other = b.norms()[name]
        same(norm.gain, other.gain)
        assert (norm.shift, norm.epsilon) == (other.shift, other.epsilon)
    for block, other_block in zip(a.blocks, b.blocks, strict=True):
        for part in model_file.ATTENTION:
            same(getattr(block.attention, part), getattr(other_block.attention, part))
        same(block.gelu, other_block.gelu)
    same(a.position, b.position)
    same(a.head_scale, b.head_scale)
    for part in ("name", "preprocessing", "labels", "provenance", "target"):
        assert getattr(a, part) == getattr(b, part)


geometries = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "image_size": st.sampled_from([16, 32, 48, 240]),
        "width": st.sampled_from([32, 64, 96]),
        "blocks": st.lists(
            st.tuples(st.integers(1, 3), st.sampled_from([32, 64, 160])), min_size=1, max_size=3
        ),
        "classes": st.integers(1, 40),
        "share8": st.sampled_from([None, 0.0, 0.3, 1.0]),
    }
)


@settings(max_examples=40, deadline=None)
@given(geometries)
def test_any_legal_geometry_is_read_back_as_it_was_written(geometry):
    blocks = geometry.pop("blocks")
    heads, mlp = [h for h, _ in blocks], [m for _, m in blocks]
    model = random_model(**geometry, heads=heads, mlp=mlp)
    assert_same(model, model_from_bytes(model_to_bytes(model)))


def test_the_file_compiles_to_the_same_program(tmp_path):
    model, overlay = random_model(3), load_overlay("b64")
    write_model(model, tmp_path / "m.safetensors")
    read = read_model(tmp_path / "m.safetensors")
    assert np.array_equal(compile_model(read, overlay).data, compile_model(model, overlay).data)


@pytest.mark.parametrize("share8", [0.0, 1.0])
def test_a_matrix_may_have_rows_of_one_kind_only(share8):
    model = mb.small_model(share8=share8)
    header, _ = mb.split(model_to_bytes(model))
    assert header["blocks.0.qkv.weights4"]["shape"] == [0 if share8 else 192, 16]
    assert_same(model, model_from_bytes(model_to_bytes(model)))


def test_text_that_is_not_ascii_is_kept():
    model = mb.small_model()
    model.labels[1] = ("n01", 'Bürste \\ "café" 猫')
    model.provenance = {"weights": "Ünïcode", "accuracy": {"top1": 71.5, "images": 1000}, "x": None}
    model.target = {"overlay": "b1024", "fps": [1, 2.5, True]}
    assert_same(model, model_from_bytes(model_to_bytes(model)))


def test_the_same_model_gives_the_same_bytes():
    a, b = mb.small_model(), mb.small_model()
    a.provenance, b.provenance = {"x": 1, "y": 2}, {"y": 2, "x": 1}
    assert model_to_bytes(a) == model_to_bytes(b)


def test_the_layout_is_the_documented_one():
    model = mb.small_model()
    header, data = mb.split(RAW)
    manifest = mb.manifest_of(RAW)
    assert manifest["format"] == [1, 0] == list(FORMAT_VERSION)
    assert manifest["architecture"] == {
        "image_size": 16,
        "patch": 16,
        "width": 32,
        "classes": 3,
        "blocks": [{"heads": 1, "mlp": 32}],
    }
    begin, end = header["blocks.0.fc1.weights4"]["data_offsets"]
    packed = np.frombuffer(data[begin:end], "u1").reshape(-1, 16)
    first = model.blocks[0].fc1.weights[model.blocks[0].fc1.bits == 4][0]
    assert packed[0, 0] & 15 == first[0] & 15
    assert packed[0, 0] >> 4 == first[1] & 15
    assert "head.multiplier" not in header
    assert "head.shift" not in header


def test_every_nibble_is_packed_and_unpacked():
    rows = np.array([[a, b] for a in range(-8, 8) for b in range(-8, 8)], np.int8)
    assert len(np.unique(pack_nibbles(rows))) == 256
    assert np.array_equal(unpack_nibbles(pack_nibbles(rows)), rows)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    write_model(mb.small_model(), path)
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ModelFileError, match=r"cannot be written \(No space left on device\)"):
        write_model(mb.small_model(seed=2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_missing_folder_is_named_when_writing(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be written"):
        write_model(mb.small_model(), tmp_path / "absent" / "m.safetensors")


def test_an_illegal_model_is_not_written(tmp_path):
    model = mb.small_model()
    model.blocks[0].fc1.shift[3] = 41
    with pytest.raises(ModelValueError, match=r"blocks\.0\.fc1\.shift\[3\] is 41"):
        write_model(model, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_model_beyond_the_size_limit_is_not_written(monkeypatch):
    monkeypatch.setattr(model_file, "MAX_FILE_BYTES", 1000)
    with pytest.raises(ModelFileError, match=r"takes \d+ bytes .* allowed are 1000"):
        model_to_bytes(mb.small_model())


# The file as a whole


def read(tmp_path, raw: bytes, **options):
    path = tmp_path / "m.safetensors"
    path.write_bytes(raw)
    return read_model(path, **options)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelNotFound, match=r"absent\.safetensors: no such file; `quasar models"):
        read_model(tmp_path / "absent.safetensors")


def test_a_name_that_no_file_can_have_is_not_found():
    with pytest.raises(ModelNotFound, match="no such file"):
        read_model("a\0b")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="this is a folder"):
        read_model(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_model(tmp_path / "pipe")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(RAW)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(ModelFileError, match=r"cannot be read \(Permission denied\)"):
        read_model(path)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="the file is empty"):
        read(tmp_path, b"")


def test_a_file_of_a_few_bytes_is_truncated(tmp_path):
    with pytest.raises(ModelFileError, match="truncated: 5 bytes, a model has at least 8"):
        read(tmp_path, RAW[:5])


def test_a_file_that_ends_in_its_header_is_truncated(tmp_path):
    with pytest.raises(ModelFileError, match="truncated: 900 bytes, its header alone ends"):
        read(tmp_path, RAW[:900])


def test_a_file_that_ends_in_its_tensors_is_truncated(tmp_path):
    size = len(mb.split(RAW)[1])
    with pytest.raises(ModelFileError, match=f"tensors need {size} bytes, {size - 1} are there"):
        read(tmp_path, RAW[:-1])


def test_bytes_after_the_last_tensor_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="2 bytes follow the last tensor"):
        read(tmp_path, RAW + b"xy")


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.truncate(model_file.MAX_FILE_BYTES + 1)
    with pytest.raises(ModelFileError, match=f"at most {model_file.MAX_FILE_BYTES} are allowed"):
        read_model(path)


def test_an_oversized_header_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(ModelFileError, match=r"header would have \d+ bytes, at most 16777216"):
        read(tmp_path, b"\x89PNG\r\n\x1a\n" + bytes(1000))


def test_a_header_that_is_not_utf8_is_refused():
    with pytest.raises(ModelFileError, match=r"header is not UTF-8 \(byte 2\)"):
        model_from_bytes(mb.frame(b'{"\xff": 1}', b""))


def test_a_header_that_is_not_an_object_is_refused():
    with pytest.raises(ModelFileError, match=r"header is \[1\], not a JSON object"):
        model_from_bytes(mb.frame("[1]", b""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "'1e999' is not finite"),
        ('{"a": 1, "b": 2, "b": 3}', "key 'b' occurs more than once"),
        ('{"a": ' + "9" * 5000 + "}", "an integer of 5000 digits"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("place", ["header", "manifest"])
def test_malformed_json_is_refused(place, text, message):
    header, data = mb.split(RAW)
    raw = mb.frame(text, data) if place == "header" else mb.with_manifest(header, text, data)
    with pytest.raises(ModelFileError, match=f"the {place} is .*{re.escape(message)}"):
        model_from_bytes(raw)


def test_a_float_checkpoint_is_told_from_a_model(tmp_path):
    save = pytest.importorskip("safetensors.numpy").save
    with pytest.raises(ModelFileError, match="without a Quasar manifest; a float checkpoint must"):
        read(tmp_path, save({"blocks.0.attn.qkv.weight": np.zeros((3, 4), np.float32)}))


def test_the_header_must_be_safetensors():
    raw = mb.edit_header(RAW, lambda h: h["position"].update(data_offsets=[0, 1]))
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        model_from_bytes(raw)


@pytest.mark.parametrize("offsets", [None, [0], [0, -1], [0, 1.5], [True, 2], "0,1"])
def test_tensor_offsets_are_checked(offsets):
    raw = mb.edit_header(RAW, lambda h: h["position"].update(data_offsets=offsets))
    with pytest.raises(ModelFileError, match="data_offsets of position are"):
        model_from_bytes(raw)


def test_a_newer_major_version_says_which_version_this_software_reads():
    raw = mb.edit_manifest(RAW, lambda m: m.update(format=[2, 3]))
    with pytest.raises(ModelFileError, match=r"version 2\.3, this software reads 1\.x; update"):
        model_from_bytes(raw)


def test_an_older_major_version_is_to_be_exported_again():
    raw = mb.edit_manifest(RAW, lambda m: m.update(format=[0, 9]))
    with pytest.raises(ModelFileError, match=r"version 0\.9, this software reads 1\.x; export"):
        model_from_bytes(raw)


def test_a_newer_minor_version_may_have_entries_that_are_not_known():
    raw = mb.edit_manifest(RAW, lambda m: m.update(format=[1, 1], extra={"a": 1}))
    assert_same(model_from_bytes(raw), mb.small_model())


@pytest.mark.parametrize("version", [None, 1, "1.0", [1], [1, 0, 0], [True, 0], [1, -1], [1.0, 0]])
def test_a_malformed_version_is_refused(version):
    raw = mb.edit_manifest(RAW, lambda m: m.update(format=version))
    with pytest.raises(ModelValueError, match=r"format is .*, allowed: \[major, minor\]"):
        model_from_bytes(raw)


def test_flipped_tensor_bytes_are_told_by_the_checksum():
    raw = bytearray(RAW)
    raw[-1] ^= 1
    with pytest.raises(ModelFileError, match=r"damaged: their sha256 is \w{64}, the manifest says"):
        model_from_bytes(bytes(raw))


def test_another_file_than_expected_is_told_by_the_checksum(tmp_path):
    with pytest.raises(ModelFileError, match=f"sha256 is .{{64}}, expected {'0' * 64}; .* again"):
        read(tmp_path, RAW, sha256="0" * 64)


def test_the_expected_checksum_may_be_in_capitals(tmp_path):
    digest = hashlib.sha256(RAW).hexdigest().upper()
    assert_same(read(tmp_path, RAW, sha256=digest), mb.small_model())


# Tensors and manifest entries that only a file can get wrong; ranges are in test_validate.py


def remove(name):
    return lambda values: values.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("blocks.0.gelu"), r"the tensor blocks\.0\.gelu is missing"),
        (remove("head.weights8"), r"the tensor head\.weights8 is missing"),
        (
            lambda h: h.update(extra={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}),
            "the tensor 'extra' is unknown",
        ),
        (
            lambda h: h["position"].update(dtype="F16"),
            r"position is 'F16' of shape \[2, 32\], allowed: I16",
        ),
        (
            lambda h: h["norm.gain"].update(shape=[16, 2]),
            r"norm\.gain is 'U16' of shape \[16, 2\], allowed: U16 of shape \[32\]",
        ),
        (
            lambda h: h["head.weights8"].update(shape=[-1, 32]),
            r"head\.weights8 has shape \[-1, 32\], allowed: \(0 to 3, 32\)",
        ),
        (lambda h: h["head.weights8"].update(shape=None), r"head\.weights8 has shape None"),
        (
            lambda h: h["blocks.0.qkv.weights8"].update(shape=[1, 32]),
            r"qkv\.weights4 is 'U8' of shape \[96, 16\], allowed: U8 of shape \[191, 16\]",
        ),
    ],
)
def test_the_tensor_table_is_checked(change, message):
    with pytest.raises(ModelValueError, match=message):
        model_from_bytes(mb.edit_header(RAW, change))


def test_a_table_entry_must_be_an_object():
    with pytest.raises(ModelFileError, match="entry of position is not an object"):
        model_from_bytes(mb.edit_header(RAW, lambda h: h.update(position=[1])))


def test_bits_must_agree_with_the_rows_that_are_there():
    model = mb.small_model()
    row = int(np.flatnonzero(model.blocks[0].qkv.bits == 4)[0])
    raw = mb.edit_tensor(RAW, "blocks.0.qkv.bits", row, 8)
    with pytest.raises(ModelValueError, match=r"says that 97 rows are 8-bit, .*weights8 has 96"):
        model_from_bytes(raw)


def test_a_nibble_of_minus_8_is_refused_with_its_place():
    model = mb.small_model()
    row = int(np.flatnonzero(model.blocks[0].fc2.bits == 4)[2])
    raw = mb.edit_tensor(RAW, "blocks.0.fc2.weights4", (2, 5), 0x80)
    with pytest.raises(ModelValueError, match=rf"fc2\.weights\[{row}, 11\] is -8, allowed: -7 to"):
        model_from_bytes(raw)


def test_an_error_in_a_file_begins_with_its_path(tmp_path):
    raw = mb.edit_tensor(RAW, "norm.gain", 4, 40000)
    with pytest.raises(ModelValueError, match=r"^.*m\.safetensors: norm\.gain\[4\] is 40000"):
        read(tmp_path, raw)


def architecture(**values):
    return lambda m: m["architecture"].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("labels"), "the manifest lacks 'labels'"),
        (lambda m: m.update(labelz=[]), "the manifest has the unknown key 'labelz'"),
        (lambda m: m.update(name=5), "name is 5, allowed: strings"),
        (lambda m: m.update(architecture=[]), r"architecture is \[\], allowed: JSON objects"),
        (lambda m: m["architecture"].pop("width"), "architecture lacks 'width'"),
        (architecture(depth=2), "architecture has the unknown key 'depth'"),
        (architecture(patch=14), r"architecture\.patch is 14, allowed: integers from 16 to 16"),
        (architecture(width="32"), r"architecture\.width is '32', allowed: integers from 32"),
        (architecture(width=True), r"architecture\.width is True"),
        (architecture(width=32.0), r"architecture\.width is 32\.0"),
        (architecture(width=2**63), r"architecture\.width is 9223372036854775808"),
        (architecture(blocks=3), r"architecture\.blocks is 3, allowed: JSON arrays"),
        (architecture(blocks=[7]), r"architecture\.blocks\[0\] is 7, allowed: JSON objects"),
        (architecture(blocks=[{"heads": 1}]), r"architecture\.blocks\[0\] lacks 'mlp'"),
        (lambda m: m.update(preprocessing=None), "preprocessing is None, allowed: JSON objects"),
        (lambda m: m["preprocessing"].update(mean=0), "preprocessing has the unknown key 'mean'"),
        (lambda m: m["preprocessing"].update(crop=32), r"preprocessing\.crop is 32, allowed: .*16"),
        (lambda m: m.update(norms=[]), r"norms is \[\], allowed: JSON objects"),
        (lambda m: m["norms"].pop("norm"), "norms lacks 'norm'"),
        (lambda m: m["norms"].update(x={}), "norms has the unknown key 'x'"),
        (lambda m: m["norms"]["norm"].pop("shift"), r"norms\['norm'\] lacks 'shift'"),
        (lambda m: m.update(labels={}), "labels is {}, allowed: JSON arrays"),
        (lambda m: m["labels"].__setitem__(1, "cat"), r"labels\[1\] is 'cat', allowed: pairs"),
        (lambda m: m.update(provenance=[]), r"provenance is \[\], allowed: JSON objects"),
        (lambda m: m.update(target="b64"), "target is 'b64', allowed: JSON objects"),
        (lambda m: m.update(data_sha256=1), "data_sha256 is 1, allowed: strings"),
    ],
)
def test_manifest_types_and_keys_are_checked(change, message):
    with pytest.raises(ModelValueError, match=message):
        model_from_bytes(mb.edit_manifest(RAW, change))


def test_a_manifest_that_is_not_an_object_is_refused():
    header, data = mb.split(RAW)
    with pytest.raises(ModelValueError, match="the manifest is 7, allowed: JSON objects"):
        model_from_bytes(mb.with_manifest(header, json.dumps(7), data))


def test_the_reader_that_the_format_page_gives_reads_every_weight(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "model-file.md"
    code = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    scope: dict = {}
    exec(code, scope)
    model = mb.small_model(share8=0.3)
    write_model(model, tmp_path / "m.safetensors")
    manifest, tensors, weights = scope["read"](tmp_path / "m.safetensors")
    assert manifest["name"] == model.name
    assert np.array_equal(tensors["position"], model.position)
    assert set(weights) == set(model.linears())
    for name, matrix in model.linears().items():
        assert np.array_equal(weights[name], matrix.weights)


def test_no_depth_of_nesting_escapes_the_error_tree():
    """Around the interpreter's own limit parsing may succeed where printing the value does not."""
    for depth in range(1, 1200):
        with pytest.raises(ModelError):
            parse_manifest('{"format": ' + "[" * depth + "]" * depth + "}")


@pytest.mark.parametrize("share8", [0.0, 0.5, 1.0])
def test_reading_holds_the_file_and_one_copy_at_most_beside_what_is_returned(tmp_path, share8):
    model = random_model(1, width=192, heads=[3] * 6, mlp=[768] * 6, share8=share8)
    path = tmp_path / "m.safetensors"
    write_model(model, path)
    tracemalloc.start()
    read_model(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * path.stat().st_size
