"""The rule book of programs: one violation for each rule that `check` enforces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime.errors import ProgramError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Violation, check, digit_groups, region_words, require

OVERLAY = replace(load_overlay("b64"), act_words=2000, res_words=500, logits=100)
"""Words of 2 tokens x 8 channels; 4 digit rows."""
SIZES = {"program": 2**20, "image": 2**20, "output": 2**20}

LEGAL: dict[str, dict[str, int]] = {
    "load_image": {
        "opcode": Opcode.LOAD_IMAGE, "destination": 4, "destination_pitch": 96, "address": 64,
        "image_size": 32,
    },
    "load_residual": {
        "opcode": Opcode.LOAD_RESIDUAL, "tokens": 5, "inputs": 64, "destination_pitch": 8,
        "address": 128,
    },
    "requantise": {
        "opcode": Opcode.LINEAR, "mode": Epilogue.REQUANTISE, "tokens": 5, "inputs": 64,
        "outputs": 40, "rows8": 7, "source": 100, "source_pitch": 8, "destination": 10,
        "destination_pitch": 5, "clamp": 119, "weights": 64, "parameters": 128,
    },
    "table": {
        "opcode": Opcode.LINEAR, "mode": Epilogue.TABLE, "tokens": 5, "inputs": 64,
        "outputs": 40, "rows8": 40, "source": 10, "source_pitch": 8, "destination": 100,
        "destination_pitch": 5, "clamp": 127, "weights": 64, "parameters": 128, "lookup": 65536,
    },
    "residual": {
        "opcode": Opcode.LINEAR, "mode": Epilogue.RESIDUAL, "tokens": 5, "inputs": 64,
        "outputs": 40, "source": 10, "source_pitch": 8, "destination_pitch": 5, "clamp": 127,
        "weights": 65536, "parameters": 128,
    },
    "logits": {
        "opcode": Opcode.LINEAR, "mode": Epilogue.LOGITS, "tokens": 1, "inputs": 64,
        "outputs": 40, "rows8": 40, "source": 10, "source_pitch": 8, "clamp": 127,
        "weights": 64, "parameters": 65536,
    },
    "layernorm": {
        "opcode": Opcode.LAYERNORM, "tokens": 5, "inputs": 64, "source_pitch": 8,
        "destination": 20, "destination_pitch": 8, "shift": 21, "parameters": 64, "epsilon": 1,
    },
    "attention": {
        "opcode": Opcode.ATTENTION, "tokens": 3, "keys": 5, "heads": 2, "source": 10,
        "source_kv": 100, "channel_k": 128, "channel_v": 256, "destination": 500,
        "source_pitch": 48, "kv_pitch": 48, "destination_pitch": 16, "parameters": 64,
    },
    "store_logits": {
        "opcode": Opcode.STORE, "mode": Source.LOGITS, "outputs": 40, "address": 64,
    },
    "store_act": {
        "opcode": Opcode.STORE, "mode": Source.ACT, "tokens": 5, "inputs": 64, "source": 10,
        "source_pitch": 8, "address": 64,
    },
    "store_residual": {
        "opcode": Opcode.STORE, "mode": Source.RESIDUAL, "tokens": 5, "inputs": 64,
        "source_pitch": 8, "address": 64,
    },
    "end": {"opcode": Opcode.END},
}  # fmt: skip


def table(*descriptors: dict[str, int], end: bool = True) -> np.ndarray:
    """A descriptor table, END appended."""
    rows = [*descriptors, {"opcode": Opcode.END}] if end else list(descriptors)
    array = np.zeros(len(rows), hw.DESCRIPTOR_DTYPE)
    for row, values in zip(array, rows, strict=True):
        for name, value in values.items():
            row[name] = value
    return array


def violation(descriptor: dict[str, int], overlay=OVERLAY, **sizes: int) -> Violation | None:
    sizes = {**SIZES, **sizes}
    return check(table(descriptor), overlay, sizes["program"], sizes["image"], sizes["output"])


def refused(descriptor: dict[str, int], cause: Cause, message: str, **sizes: int) -> None:
    found = violation(descriptor, **sizes)
    assert found is not None, descriptor
    assert (found.cause, found.descriptor) == (cause, 0), found
    assert found.message.startswith(message), found


@pytest.mark.parametrize("name", LEGAL)
def test_the_legal_descriptors_are_legal(name):
    assert violation(LEGAL[name]) is None


def field_cases():
    """(descriptor, field, illegal value, cause) for every operation, field and bound."""
    for name, legal in LEGAL.items():
        rules = hw.RULES[Opcode(legal["opcode"])]
        for field in hw.FIELDS[1:]:
            rule, largest = rules.get(field.name), 2 ** (8 * field.size) - 1
            if rule is None:
                yield name, field.name, 1, Cause.BAD_FIELD
                yield name, field.name, largest, Cause.BAD_FIELD
                continue
            if rule.low > 0:
                yield name, field.name, rule.low - 1, Cause.BAD_FIELD
            if rule.high < largest:
                # The next multiple: it is the range that refuses it.
                yield name, field.name, min(rule.high + rule.multiple, largest), Cause.BAD_FIELD
            if rule.multiple > 1:
                cause = Cause.MISALIGNED if rule.multiple == hw.ALIGNMENT else Cause.BAD_FIELD
                yield name, field.name, rule.low + rule.multiple // 2, cause


@pytest.mark.parametrize(("name", "field", "value", "cause"), list(field_cases()))
def test_a_field_outside_its_range_is_refused(name, field, value, cause):
    refused({**LEGAL[name], field: value}, cause, f"{field} is {value}, ")


def test_there_is_a_case_for_every_operation_and_field():
    cases = {(LEGAL[name]["opcode"], field) for name, field, _, _ in field_cases()}
    for opcode, rules in hw.RULES.items():
        free = {f for f, r in rules.items() if r == hw.Rule(0, 2 ** (8 * hw.FIELD[f].size) - 1)}
        assert {f.name for f in hw.FIELDS[1:]} - free == {f for o, f in cases if o == opcode}


@pytest.mark.parametrize("opcode", [0, 8, 255])
def test_an_unknown_operation_is_refused(opcode):
    refused({"opcode": opcode}, Cause.BAD_OPCODE, f"opcode is {opcode}, allowed are 1 to 7")


def test_8_bit_rows_are_at_most_all_rows():
    refused({**LEGAL["requantise"], "rows8": 41}, Cause.BAD_FIELD, "rows8 is 41, above outputs 40")


def test_logits_are_of_one_token():
    refused({**LEGAL["logits"], "tokens": 2}, Cause.BAD_FIELD, "tokens is 2, logits take 1")


ON_CHIP = [
    # descriptor, changes that make a region the farthest, limit of the overlay, end, message
    ("load_image", {}, "act_words", 4 + 3 * 96, "destination region"),
    ("load_residual", {}, "res_words", 3 * 8, "residual"),
    ("requantise", {}, "act_words", 100 + 3 * 8, "source region"),
    ("requantise", {"destination": 400}, "act_words", 400 + 3 * 5, "destination region"),
    ("table", {}, "act_words", 100 + 3 * 5, "destination region"),
    ("residual", {}, "act_words", 10 + 3 * 8, "source region"),
    ("residual", {}, "res_words", 3 * 5, "residual"),
    ("logits", {}, "logits", 40, "logits"),
    ("layernorm", {}, "res_words", 3 * 8, "residual"),
    ("layernorm", {}, "act_words", 20 + 3 * 8, "destination region"),
    ("attention", {"source": 800}, "act_words", 800 + 2 * 48, "Q region"),
    ("attention", {"source_kv": 800}, "act_words", 800 + 3 * 48, "K region"),
    ("attention", {}, "act_words", 500 + 2 * 16, "destination region"),
    ("store_logits", {}, "logits", 40, "logits"),
    ("store_act", {}, "act_words", 10 + 3 * 8, "source region"),
    ("store_residual", {}, "res_words", 3 * 8, "residual"),
]


@pytest.mark.parametrize(("name", "changes", "limit", "end", "message"), ON_CHIP)
def test_an_on_chip_region_ends_inside_its_memory(name, changes, limit, end, message):
    descriptor = {**LEGAL[name], **changes}
    assert violation(descriptor, replace(OVERLAY, **{limit: end})) is None
    refused(
        descriptor,
        Cause.BAD_RANGE,
        f"{message} ends at {end}, past {end - 1}",
        overlay=replace(OVERLAY, **{limit: end - 1}),
    )


MEMORY = [
    # descriptor, changes, area, end, message
    ("load_image", {}, "image", 64 + 32 * 32 * 3, "image"),
    ("load_residual", {}, "program", 128 + 5 * 64 * 2, "position values"),
    # 40 rows of which 7 are 8-bit: 47 digit rows, 12 groups of 4, 8 steps of 16 bytes
    ("requantise", {"weights": 65536}, "program", 65536 + 12 * 8 * 16, "weights"),
    ("requantise", {"parameters": 65536}, "program", 65536 + 40 * 16, "parameters"),
    ("table", {}, "program", 65536 + 256, "lookup table"),
    ("residual", {}, "program", 65536 + 10 * 8 * 16, "weights"),
    ("logits", {}, "program", 65536 + 40 * 16, "parameters"),
    ("layernorm", {}, "program", 64 + 64 * 2, "parameters"),
    ("attention", {}, "program", 64 + 2 * 8, "parameters"),
    ("store_logits", {}, "output", 64 + 4 * 40, "output"),
    ("store_act", {}, "output", 64 + 5 * 64, "output"),
    ("store_residual", {}, "output", 64 + 5 * 64 * 2, "output"),
]


@pytest.mark.parametrize(("name", "changes", "area", "end", "message"), MEMORY)
def test_a_memory_range_ends_inside_its_area(name, changes, area, end, message):
    descriptor = {**LEGAL[name], **changes}
    assert violation(descriptor, **{area: end}) is None
    refused(
        descriptor, Cause.BAD_RANGE, f"{message} ends at {end}, past {end - 1}", **{area: end - 1}
    )


def test_an_offset_at_the_top_of_the_address_space_does_not_wrap():
    descriptor = {**LEGAL["layernorm"], "parameters": 2**32 - 64}
    refused(descriptor, Cause.BAD_RANGE, f"parameters ends at {2**32 + 64}")


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("load_image", "destination_pitch", 96),
        ("load_residual", "destination_pitch", 8),
        ("requantise", "source_pitch", 8),
        ("requantise", "destination_pitch", 5),
        ("table", "destination_pitch", 5),
        ("residual", "destination_pitch", 5),
        ("logits", "source_pitch", 8),
        ("layernorm", "source_pitch", 8),
        ("layernorm", "destination_pitch", 8),
        ("attention", "source_pitch", 16),
        ("attention", "kv_pitch", 48),
        ("attention", "destination_pitch", 16),
        ("store_act", "source_pitch", 8),
        ("store_residual", "source_pitch", 8),
    ],
)
def test_a_pitch_holds_all_channels(name, field, words):
    assert violation({**LEGAL[name], field: words}) is None
    refused(
        {**LEGAL[name], field: words - 1}, Cause.BAD_RANGE, f"{field} is {words - 1} words, too few"
    )


def test_a_table_needs_an_end():
    found = check(table(LEGAL["layernorm"], end=False), OVERLAY, *SIZES.values())
    assert (found.cause, found.descriptor) == (Cause.NO_END, 1)
    assert check(table(end=False), OVERLAY, *SIZES.values()).cause == Cause.NO_END


def test_the_first_violation_is_reported():
    found = check(table(LEGAL["layernorm"], {"opcode": 9}, {"opcode": 0}), OVERLAY, *SIZES.values())
    assert (found.cause, found.descriptor) == (Cause.BAD_OPCODE, 1)


def test_what_follows_end_is_not_looked_at():
    assert check(table({"opcode": Opcode.END}, {"opcode": 9}), OVERLAY, *SIZES.values()) is None


def program(descriptor: dict[str, int], **parameters: int) -> np.ndarray:
    """A program's bytes: the descriptor, END, and parameters of which the last is as given."""
    data = np.zeros(2**17, np.uint8)
    rows = table(descriptor)
    data[: rows.nbytes] = rows.view(np.uint8)
    kinds = {
        Opcode.LINEAR: (hw.ROW_DTYPE, "outputs"),
        Opcode.ATTENTION: (hw.HEAD_DTYPE, "heads"),
        Opcode.LAYERNORM: (np.dtype([("gain", "<u2")]), "inputs"),
    }
    dtype, count = kinds[Opcode(descriptor["opcode"])]
    first = descriptor["parameters"] + (descriptor[count] - 1) * dtype.itemsize
    last = data[first : first + dtype.itemsize].view(dtype)
    for name, value in parameters.items():
        last[name] = value
    return data


@pytest.mark.parametrize(
    ("name", "parameter", "limit", "cause"),
    [
        ("requantise", "channel", 39, "BAD_RANGE"),
        ("residual", "multiplier", 2**15 - 1, "BAD_FIELD"),
        ("logits", "shift", 40, "BAD_FIELD"),
        ("layernorm", "gain", 2**15 - 1, "BAD_FIELD"),
        ("attention", "score_multiplier", 2**15 - 1, "BAD_FIELD"),
        ("attention", "score_shift", 23, "BAD_FIELD"),
        ("attention", "out_multiplier", 2**15 - 1, "BAD_FIELD"),
        ("attention", "out_shift", 40, "BAD_FIELD"),
    ],
)
def test_parameters_in_memory_are_checked_to_the_last(name, parameter, limit, cause):
    descriptor = {**LEGAL[name], "parameters": 2**16}
    require(program(descriptor, **{parameter: limit}), 2, OVERLAY, 2**20, 2**20)
    message = (
        f"descriptor 0: a parameter's {parameter} is {limit + 1}, allowed up to {limit} .{cause}"
    )
    with pytest.raises(ProgramError, match=message):
        require(program(descriptor, **{parameter: limit + 1}), 2, OVERLAY, 2**20, 2**20)


def test_require_raises_with_descriptor_and_cause():
    data = program({**LEGAL["layernorm"], "shift": 0, "parameters": 2**16})
    with pytest.raises(ProgramError, match=r"descriptor 0: shift is 0, .* \(BAD_FIELD\)"):
        require(data, 2, OVERLAY, 2**20, 2**20)


QKV = {**LEGAL["requantise"], "tokens": 5, "outputs": 384, "destination_pitch": 48}
QKV |= {"destination": 0, "weights": 2**15, "parameters": 2**16}
"""Q, K and V of two heads for five tokens, in ACT words 0 to 143 of an overlay of 2 x 8."""


def attend(*writers: dict[str, int], channels=None, **changes: int) -> str | None:
    """What is wrong with attention on a region behind some operations that write it."""
    attention = {**LEGAL["attention"], "tokens": 5, "keys": 5, "source": 0, "source_kv": 0}
    attention |= {"destination": 1000, "parameters": 2**14, **changes}
    data = np.zeros(2**18, np.uint8)
    rows = data[2**16 :][: 384 * hw.ROW_BYTES].view(hw.ROW_DTYPE)
    rows["channel"] = np.arange(384) if channels is None else channels
    descriptors = table(*writers, attention)
    data[: descriptors.nbytes] = descriptors.view(np.uint8)
    try:
        require(data, len(descriptors), OVERLAY, 2**20, 2**20)
    except ProgramError as e:
        return str(e)
    return None


def test_k_and_v_must_fit_the_arrays_digits():
    assert attend(QKV) is None
    found = attend({**QKV, "clamp": 120})
    assert found.startswith("descriptor 1: K may hold values up to 120, allowed up to 119")
    assert found.endswith("(BAD_FIELD)")
    table_mode = {**QKV, "mode": Epilogue.TABLE, "lookup": 2**17}
    assert "up to 127" in attend(table_mode)  # a table's values are not limited


@pytest.mark.parametrize(("first", "allowed"), [(0, True), (128, False), (256, False)])
def test_only_k_and_v_are_limited_and_each_is(first, allowed):
    """128 of the 384 channels are written again with a larger clamp: Q, K or V."""
    wide = {**QKV, "clamp": 127, "outputs": 128, "destination": first // 8}
    found = attend(QKV, wide)
    assert (found is None) == allowed
    if found:
        assert f": {' KV'[first // 128]} may hold values up to 127" in found


def test_the_last_writer_of_a_token_counts():
    wide, narrow = {**QKV, "clamp": 127}, QKV
    assert attend(wide, narrow) is None
    assert attend(narrow, wide) is not None
    four = {**narrow, "tokens": 4}  # the fifth token shares its words with a sixth
    assert attend(wide, four) is not None
    assert attend(wide, four, keys=4) is None


def test_a_channel_that_no_row_writes_may_hold_anything():
    twice = np.arange(384)
    twice[300] = 301
    found = attend(QKV, channels=twice)
    assert "K may hold values up to 127" in found
    assert attend(QKV, channels=np.random.default_rng(0).permutation(384)) is None


def test_sizes_are_rounded_up_to_whole_tiles():
    assert [digit_groups(outputs, 3, 4) for outputs in (1, 5, 6)] == [1, 2, 3]
    assert region_words(5, 8, OVERLAY) == 24
