"""Every range that the validator proves, with the message for what lies just outside it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.errors import ModelValueError
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.model.validate import MAX_DEPTH, MAX_FACTS_BYTES, MAX_SIDE, Geometry, validate
from tests.runtime.model import model_bytes as mb


def refused(model: Model, message: str) -> None:
    with pytest.raises(ModelValueError, match=message):
        validate(model)


def row_of(matrix, bits: int) -> int:
    """The first row of this precision."""
    return int(np.flatnonzero(matrix.bits == bits)[0])


def test_synthetic_models_are_valid():
    for seed in range(5):
        validate(random_model(seed))


def test_a_message_says_what_was_found_what_is_allowed_and_what_to_do():
    model = mb.small_model()
    model.blocks[0].proj.multiplier[7] = 2**15
    refused(
        model,
        r"^blocks\.0\.proj\.multiplier\[7\] is 32768, allowed: 0 to 32767; "
        "export the model again with values in that range$",
    )


# Weights and row parameters


@pytest.mark.parametrize(("bits", "limit"), [(8, 119), (4, 7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_weights_are_symmetric_and_in_range(bits, limit, sign):
    model = mb.small_model()
    matrix = model.blocks[0].fc1
    row = row_of(matrix, bits)
    matrix.weights[row, 9] = sign * limit
    validate(model)
    matrix.weights[row, 9] = sign * (limit + 1)
    refused(
        model,
        rf"fc1\.weights\[{row}, 9\] is {sign * (limit + 1)}, allowed: -{limit} to {limit} in a "
        rf"row of {bits} bits",
    )


def test_the_weight_of_minus_128_does_not_hide_behind_its_own_absolute_value():
    model = mb.small_model()
    model.patch.weights[2, 3] = -128
    refused(model, r"patch\.weights\[2, 3\] is -128")


def test_bits_are_4_or_8():
    model = mb.small_model()
    model.blocks[0].fc1.bits[4] = 5
    refused(model, r"blocks\.0\.fc1\.bits\[4\] is 5, allowed: 4 or 8")


@pytest.mark.parametrize("name", ["patch", "head"])
def test_patch_embedding_and_classifier_are_8_bit(name):
    model = mb.small_model()
    matrix = getattr(model, name)
    matrix.bits[1] = 4
    matrix.weights[1] = 0
    refused(model, rf"{name}\.bits\[1\] is 4, allowed: 8 throughout {name}")


def test_shifts_are_at_most_40():
    model = mb.small_model()
    model.patch.shift[0] = 40
    validate(model)
    model.patch.shift[0] = 41
    refused(model, r"patch\.shift\[0\] is 41, allowed: 0 to 40")


def test_the_classifier_is_not_requantised():
    model = mb.small_model()
    model.head.multiplier[2] = 2
    refused(model, r"head\.multiplier\[2\] is 2, allowed: 1 to 1")
    model = mb.small_model()
    model.head.shift[2] = 1
    refused(model, r"head\.shift\[2\] is 1, allowed: 0 to 0")


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_the_classifier_scale_is_finite_and_positive(value):
    model = mb.small_model()
    model.head_scale[1] = value
    refused(model, rf"head\.scale\[1\] is {value}, allowed: finite numbers above 0")


@pytest.mark.parametrize("sign", [1, -1])
def test_no_accumulator_can_overflow(sign):
    model = mb.small_model()
    matrix = model.blocks[0].qkv
    worst = 127 * int(np.abs(matrix.weights[5].astype(int)).sum())
    matrix.bias[5] = sign * (2**31 - 1 - worst)
    validate(model)
    matrix.bias[5] += sign
    refused(
        model,
        rf"largest accumulator of blocks\.0\.qkv, row 5 \(bias .*\) is {2**31}, allowed: 127 \* "
        r"sum \|w\| \+ \|bias\| below 2\^31; make the bias",
    )


def test_the_most_negative_bias_is_refused():
    model = mb.small_model()
    model.head.bias[0] = -(2**31)
    refused(model, "largest accumulator of head, row 0")


# LayerNorm, attention, GELU


@pytest.mark.parametrize(("field", "low", "high"), [("shift", 1, 40), ("epsilon", 1, 2**32 - 1)])
def test_layernorm_constants(field, low, high):
    model = mb.small_model()
    for value in (low, high):
        setattr(model.blocks[0].norm2, field, value)
        validate(model)
    for value in (low - 1, high + 1, 2.0, True, np.int64(5), 10**5000):
        setattr(model.blocks[0].norm2, field, value)
        refused(model, rf"blocks\.0\.norm2\.{field} is .*, allowed: integers from {low} to {high}")


def test_gains_have_15_bits():
    model = mb.small_model()
    model.norm.gain[3] = 2**15
    refused(model, r"norm\.gain\[3\] is 32768, allowed: 0 to 32767")


@pytest.mark.parametrize(
    ("part", "low", "high"),
    [
        ("score_multiplier", 1, 2**15 - 1),
        ("score_shift", 0, 23),
        ("out_multiplier", 0, 2**15 - 1),
        ("out_shift", 0, 40),
    ],
)
def test_attention_requantisations(part, low, high):
    model = mb.small_model(heads=[2])
    values = getattr(model.blocks[0].attention, part)
    for legal in (low, high):
        values[1] = legal
        validate(model)
    for illegal in {max(low - 1, 0), high + 1} - {low}:
        values[1] = illegal
        refused(model, rf"attention\.{part}\[1\] is {illegal}, allowed: {low} to {high}")


def test_gelu_never_gives_minus_128():
    model = mb.small_model()
    model.blocks[0].gelu[200] = -128
    refused(model, r"blocks\.0\.gelu\[200\] is -128, allowed: -127 to 127")


# Types and shapes of tensors


@pytest.mark.parametrize("part", ["weights", "bits", "bias", "multiplier", "shift"])
def test_the_parts_of_a_matrix_have_one_type_and_shape(part):
    model = mb.small_model()
    matrix = model.blocks[0].fc2
    right = getattr(matrix, part)
    setattr(matrix, part, right.astype(np.int64))
    refused(model, rf"blocks\.0\.fc2\.{part} is int64 of shape .*, allowed: {right.dtype} arrays")
    setattr(matrix, part, right[:-1])
    refused(model, r"blocks\.0\.fc2\.\w+ is \w+ of shape \(31")
    setattr(matrix, part, right.tolist())
    refused(model, r"blocks\.0\.fc2.* is \[?")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "position", m.position[:1]), r"position is int16 of shape \(1, 32\)"),
        (lambda m: setattr(m, "position", m.position[0]), r"position is \(32,\), allowed: arrays"),
        (lambda m: setattr(m, "position", None), "position is None, allowed: arrays of two"),
        (lambda m: setattr(m.norm, "gain", m.norm.gain[1:]), r"norm\.gain is uint16 of shape \(31"),
        (lambda m: setattr(m.blocks[0], "gelu", np.zeros(255, np.int8)), r"gelu is int8 of shape"),
        (lambda m: setattr(m, "head_scale", m.head_scale.astype(float)), r"head\.scale is float64"),
        (
            lambda m: setattr(m.blocks[0].attention, "out_shift", np.zeros(2, np.uint8)),
            r"attention\.out_shift is uint8 of shape \(2,\), allowed: uint8 arrays of shape \(1,\)",
        ),
        (
            lambda m: setattr(m.blocks[0].qkv, "weights", m.blocks[0].qkv.weights[:191]),
            r"rows of blocks\.0\.qkv is 191, allowed: multiples of 192",
        ),
    ],
)
def test_other_tensors_have_one_type_and_shape(change, message):
    model = mb.small_model()
    change(model)
    refused(model, message)


# Geometry


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": MAX_SIDE + 16}, r"image_size is 256|crop is 256, allowed: .* 16 to 240"),
        ({"width": 48}, r"width is 48, allowed: integers from 32 to 1024 that are multiples of 32"),
        ({"width": 1056}, r"width is 1056"),
        ({"mlp": [40]}, r"blocks\[0\]\.mlp is 40, .* multiples of 32"),
        ({"mlp": [4128]}, r"blocks\[0\]\.mlp is 4128"),
        ({"heads": [17]}, r"blocks\[0\]\.heads is 17, allowed: integers from 1 to 16"),
        ({"classes": 4097}, r"classes is 4097, allowed: integers from 1 to 4096"),
        (
            {"heads": [1] * (MAX_DEPTH + 1), "mlp": [32] * (MAX_DEPTH + 1)},
            rf"number of architecture\.blocks is {MAX_DEPTH + 1}, allowed: integers from 1 to",
        ),
    ],
)
def test_geometry_limits(changes, message):
    refused(mb.small_model(**changes), message)


def test_a_model_without_blocks_is_refused():
    model = mb.small_model()
    model.blocks = []
    refused(model, r"number of architecture\.blocks is 0")


def test_the_deepest_model_compiles_even_when_traced():
    model = mb.small_model(heads=[1] * MAX_DEPTH, mlp=[32] * MAX_DEPTH)
    validate(model)
    assert compile_model(model, load_overlay("b64"), trace=True).count <= hw.MAX_DESCRIPTORS


def test_the_largest_image_has_as_many_tokens_as_a_device_takes():
    assert Geometry(MAX_SIDE, 32, 1, ()).tokens <= hw.MAX_TOKENS
    assert Geometry(MAX_SIDE + 16, 32, 1, ()).tokens > hw.MAX_TOKENS
    assert hw.RULES[hw.Opcode.LOAD_IMAGE]["image_size"].high == MAX_SIDE


# Manifest entries


@pytest.mark.parametrize(
    "name", ["", "Q", "-a", ".a", "a b", "a/b", "a_b", "a\n", "ä", "a" * 65, None, 3]
)
def test_names_are_plain(name):
    model = mb.small_model()
    model.name = name
    refused(model, r"name is .*, allowed: at most 64 lower-case letters")


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        (Preprocessing(15, 16), r"preprocessing\.resize is 15, allowed: integers from 16 to 4096"),
        (Preprocessing(5000, 16), r"preprocessing\.resize is 5000"),
        (Preprocessing(16.0, 16), r"preprocessing\.resize is 16\.0"),  # type: ignore[arg-type]
        (Preprocessing(16, 24), r"preprocessing\.crop is 24, .* multiples of 16"),
        (Preprocessing(16, "16"), r"preprocessing\.crop is '16'"),  # type: ignore[arg-type]
        (Preprocessing(16, 16, "lanczos"), "resampling is 'lanczos', allowed: bicubic or bilinear"),
    ],
)
def test_preprocessing_is_sane(preprocessing, message):
    refused(replace(mb.small_model(), preprocessing=preprocessing), message)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([("n0", "a")] * 2, "number of labels is 2, allowed: 3, one per class"),
        (None, "number of labels is None"),
        ([("n0", "a"), ("n1", "b"), "cat"], r"labels\[2\] is 'cat', allowed: pairs"),
        ([("n0", "a"), ("n1", 5), ("n2", "c")], r"labels\[1\] \(name\) is 5"),
        ([("", "a"), ("n1", "b"), ("n2", "c")], r"labels\[0\] \(wnid\) is ''"),
        ([("n0", "a"), ("n1", "b" * 257), ("n2", "c")], r"labels\[1\] \(name\) is 'bbb.*\.\.\."),
        ([("n0", "a"), ("n1", "\x1b[2J"), ("n2", "c")], r"labels\[1\] .* printable characters"),
        ([("n0", "a"), ("n1", "\ud800"), ("n2", "c")], r"labels\[1\] \(name\) is '\\ud800'"),
    ],
)
def test_labels(labels, message):
    refused(replace(mb.small_model(), labels=labels), message)


def nested(depth: int) -> dict:
    facts: dict = {}
    for _ in range(depth - 1):
        facts = {"a": facts}
    return facts


@pytest.mark.parametrize("what", ["provenance", "target"])
@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ([], r" is \[\], allowed: JSON objects"),
        ({"a": math.nan}, r"\['a'\] is nan, allowed: finite numbers"),
        ({"a": 2**63}, r"\['a'\] is 9223372036854775808"),
        ({"a": [1, {2}]}, r"\['a'\]\[1\] is \{2\}, allowed: JSON values"),
        ({"a": np.float32(1)}, r"\['a'\] is .*, allowed: JSON values"),
        ({1: 2}, r"a key of \w+ is 1, allowed: strings"),
        ({"a": "line\nline"}, r"\['a'\] is 'line\\nline', allowed: printable characters"),
        ({"a": "\ud800"}, r"\['a'\] is '\\ud800', allowed: printable"),
        (nested(9), r"allowed: values nested at most 8 deep; flatten it"),
        ({"a": "x" * MAX_FACTS_BYTES}, r"size of \w+ is 655\d\d, allowed: up to 65536 bytes"),
    ],
)
def test_facts_are_limited_json(what, facts, message):
    model = mb.small_model()
    setattr(model, what, facts)
    refused(model, message)


def test_facts_may_fill_their_limits():
    model = mb.small_model()
    model.provenance = {"a": "x" * (MAX_FACTS_BYTES - 9)}
    assert len(json.dumps(model.provenance)) == MAX_FACTS_BYTES
    model.target = nested(8)
    validate(model)
