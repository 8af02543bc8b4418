"""The compiler: determined bytes, memory used without hazards, names and work that add up."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.compiler.on_chip import OnChip
from quasar_runtime.devices.reference.executor import run
from quasar_runtime.errors import CompileError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Program, region_words, weight_bytes
from quasar_runtime.model.synthetic import random_model

OVERLAYS = {name: load_overlay(name) for name in ("b64", "b1024", "b8192")}

geometries = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "image_size": st.sampled_from([16, 32, 48]),
        "width": st.sampled_from([32, 96, 128]),
        "blocks": st.lists(
            st.tuples(st.integers(1, 3), st.sampled_from([32, 96, 160])), min_size=1, max_size=3
        ),
        "classes": st.integers(1, 40),
        "share8": st.sampled_from([None, 0.0, 1.0]),
    }
)


def model_of(geometry: dict):
    blocks = geometry["blocks"]
    values = {key: value for key, value in geometry.items() if key != "blocks"}
    return random_model(**values, heads=[h for h, _ in blocks], mlp=[m for _, m in blocks])


def regions(d: np.void) -> tuple[list[tuple], list[tuple]]:
    """ACT regions (base, pitch, tokens, channels) that a descriptor reads and writes."""
    op, mode = Opcode(int(d["opcode"])), int(d["mode"])
    tokens, keys, inputs = int(d["tokens"]), int(d["keys"]), int(d["inputs"])
    source = (int(d["source"]), int(d["source_pitch"]), tokens, inputs)
    target = int(d["destination"]), int(d["destination_pitch"])
    if op == Opcode.LOAD_IMAGE:
        patches = (int(d["image_size"]) // hw.PATCH) ** 2 + 1
        return [], [(*target, patches, hw.PATCH_CHANNELS)]
    if op == Opcode.LINEAR:
        to_act = mode in (Epilogue.REQUANTISE, Epilogue.TABLE)
        return [source], [(*target, tokens, int(d["outputs"]))] if to_act else []
    if op == Opcode.LAYERNORM:
        return [], [(*target, tokens, inputs)]
    if op == Opcode.ATTENTION:
        channels = int(d["heads"]) * hw.HEAD_DIM
        last = max(int(d["channel_k"]), int(d["channel_v"])) + channels
        q = int(d["source"]), int(d["source_pitch"]), tokens, channels
        kv = int(d["source_kv"]), int(d["kv_pitch"]), keys, last
        return [q, kv], [(*target, tokens, channels)]
    if op == Opcode.STORE and mode == Source.ACT:
        return [source], []
    return [], []


def assert_no_hazard(program: Program) -> None:
    """Whatever is read is what one earlier operation wrote there, with the same base and pitch."""
    overlay = program.overlay
    owner = np.full(overlay.act_words, -1)
    written: dict[int, tuple] = {}
    for number, d in enumerate(program.descriptors):
        reads, writes = regions(d)
        for base, pitch, tokens, channels in reads:
            words = slice(base, base + region_words(tokens, pitch, overlay))
            (writer,) = set(owner[words].tolist())
            assert written[writer][:2] == (base, pitch), program.names[number]
            assert tokens <= written[writer][2], program.names[number]
            # A traced store of odd channels also takes the padding of the last word.
            assert -(-channels // overlay.depth) <= pitch
            for other in writes:
                end = other[0] + region_words(other[2], other[1], overlay)
                assert end <= words.start or words.stop <= other[0], program.names[number]
        for region in writes:
            written[number] = region
            owner[region[0] : region[0] + region_words(region[2], region[1], overlay)] = number


def sections(program: Program) -> list[tuple[int, int]]:
    """(offset, end) of everything that descriptors refer to in the program's memory."""
    found = [(0, program.count * hw.DESCRIPTOR_BYTES)]
    for d in program.descriptors:
        op, inputs, outputs = Opcode(int(d["opcode"])), int(d["inputs"]), int(d["outputs"])
        parameters = int(d["parameters"])
        if op == Opcode.LOAD_RESIDUAL:
            found.append((int(d["address"]), int(d["tokens"]) * inputs * 2))
        elif op == Opcode.LAYERNORM:
            found.append((parameters, inputs * 2))
        elif op == Opcode.ATTENTION:
            found.append((parameters, int(d["heads"]) * hw.HEAD_BYTES))
        elif op == Opcode.LINEAR:
            size = weight_bytes(inputs, outputs, int(d["rows8"]), program.overlay)
            found += [(int(d["weights"]), size), (parameters, outputs * hw.ROW_BYTES)]
            if d["mode"] == Epilogue.TABLE:
                found.append((int(d["lookup"]), hw.TABLE_BYTES))
    return sorted((first, first + size) for first, size in found)


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("trace", [False, True])
@settings(max_examples=12, deadline=None)
@given(geometry=geometries)
def test_nothing_is_overwritten_before_it_is_read(name, trace, geometry):
    assert_no_hazard(compile_model(model_of(geometry), OVERLAYS[name], trace=trace))


def test_the_hazard_check_sees_an_overlap():
    program = compile_model(random_model(1), OVERLAYS["b64"])
    fc1 = program.names.index("blocks.0.fc1")
    program.descriptors["destination"][fc1] = program.descriptors["source"][fc1]
    with pytest.raises(AssertionError):
        assert_no_hazard(program)


@settings(max_examples=12, deadline=None)
@given(geometry=geometries, name=st.sampled_from(sorted(OVERLAYS)))
def test_sections_are_aligned_disjoint_and_cover_the_program(geometry, name):
    program = compile_model(model_of(geometry), OVERLAYS[name])
    end = 0
    for first, stop in sections(program):
        assert first % hw.ALIGNMENT == 0
        assert 0 <= first - end < hw.ALIGNMENT
        end = stop
    assert 0 <= program.data.size - end < hw.ALIGNMENT


@settings(max_examples=10, deadline=None)
@given(geometry=geometries, trace=st.booleans())
def test_the_same_model_gives_the_same_bytes(geometry, trace):
    a, b = (compile_model(model_of(geometry), OVERLAYS["b1024"], trace=trace) for _ in range(2))
    assert a.fingerprint == b.fingerprint
    assert np.array_equal(a.data, b.data)
    assert (a.names, a.macs, a.output_bytes, a.traces) == (
        b.names,
        b.macs,
        b.output_bytes,
        b.traces,
    )


def test_a_program_does_not_change_its_model():
    model, same = random_model(4), random_model(4)
    compile_model(model, OVERLAYS["b64"])
    for name, matrix in model.linears().items():
        assert np.array_equal(matrix.weights, same.linears()[name].weights)
        assert np.array_equal(matrix.bits, same.linears()[name].bits)


def test_names_follow_the_network():
    model = random_model(1, heads=[1, 2], mlp=[64, 32])
    first = ["norm1", "qkv", "attention", "proj", "norm2", "fc1", "fc2"]
    last = ["norm1", "kv", "q", "attention", "proj", "norm2", "fc1", "fc2"]
    assert list(compile_model(model, OVERLAYS["b64"]).names) == [
        "position",
        "image",
        "patch",
        *(f"blocks.0.{part}" for part in first),
        *(f"blocks.1.{part}" for part in last),
        "norm",
        "head",
        "store",
        "end",
    ]


def test_layers_are_numbered_in_order():
    program = compile_model(random_model(1), OVERLAYS["b64"], trace=True)
    assert program.descriptors["layer"].tolist() == list(range(program.count))
    assert program.profile_bytes == 16 * program.count


def test_the_last_block_computes_only_what_cls_needs():
    model = random_model(1, image_size=48, heads=[2, 2], mlp=[64, 64])
    program = compile_model(model, OVERLAYS["b64"])
    tokens = dict(zip(program.names, program.descriptors["tokens"].tolist(), strict=True))
    all_tokens, one = 10, 1
    for part in ("norm1", "qkv", "attention", "proj", "norm2", "fc1", "fc2"):
        assert tokens[f"blocks.0.{part}"] == all_tokens
    assert tokens["blocks.1.norm1"] == tokens["blocks.1.kv"] == all_tokens
    for part in ("q", "attention", "proj", "norm2", "fc1", "fc2"):
        assert tokens[f"blocks.1.{part}"] == one
    keys = dict(zip(program.names, program.descriptors["keys"].tolist(), strict=True))
    assert keys["blocks.1.attention"] == all_tokens
    assert tokens["norm"] == tokens["head"] == one


def test_work_is_counted_in_4_bit_macs():
    model = random_model(1, image_size=32, width=64, heads=[2], mlp=[96], classes=10, share8=0.5)
    program = compile_model(model, OVERLAYS["b1024"])
    macs = dict(zip(program.names, program.macs, strict=True))
    block = model.blocks[0]
    assert macs["patch"] == 5 * 768 * 64 * 2
    assert macs["blocks.0.fc1"] == 1 * 64 * (96 + block.fc1.rows8)
    kv8 = int(np.count_nonzero(block.qkv.bits[128:] == 8))
    assert macs["blocks.0.kv"] == 5 * 64 * (256 + kv8)
    # Scores and value product of one query against five keys, both of 8 bits.
    assert macs["blocks.0.attention"] == 2 * 2 * 5 * 128
    assert macs["head"] == 64 * 10 * 2
    assert macs["blocks.0.norm1"] == macs["store"] == macs["end"] == 0


def test_k_and_v_are_clamped_to_what_enters_the_array_as_weights():
    program = compile_model(random_model(1), OVERLAYS["b64"])
    clamp = dict(zip(program.names, program.descriptors["clamp"].tolist(), strict=True))
    assert clamp["blocks.0.qkv"] == clamp["blocks.1.kv"] == clamp["blocks.1.q"] == 119
    assert clamp["blocks.0.fc1"] == clamp["patch"] == 127


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_trace_holds_every_result_and_changes_no_logit(name):
    model = random_model(7, classes=13)
    plain = compile_model(model, OVERLAYS[name])
    traced = compile_model(model, OVERLAYS[name], trace=True)
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    output = run(traced, image)
    assert np.array_equal(output[: 13 * 4], run(plain, image)[: 13 * 4])
    wanted = set(plain.names) - {"position", "head", "store", "end"}
    assert set(traced.traces) == wanted
    sizes = {"<i1": 1, "<i2": 2}
    ends = sorted(
        (t.offset, t.offset + t.shape[0] * t.shape[1] * sizes[t.dtype])
        for t in traced.traces.values()
    )
    assert ends[0][0] >= 13 * 4
    assert ends[-1][1] <= traced.output_bytes
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))
    assert traced.traces["blocks.0.fc2"].dtype == "<i2"
    assert traced.traces["blocks.1.q"].shape == (1, 128)


# What does not fit


def test_an_activation_memory_that_is_too_small_says_what_would_be_needed():
    overlay = replace(OVERLAYS["b64"], act_words=200)
    with pytest.raises(
        CompileError,
        match=r"image \(5 tokens x 768 channels\) needs the activation memory up to word 288, "
        r"overlay 'b64' has 200; --overlay b1024 takes it",
    ):
        compile_model(random_model(1), overlay)


def test_a_residual_memory_that_is_too_small_says_what_would_be_needed():
    overlay = replace(OVERLAYS["b64"], res_words=23)
    with pytest.raises(
        CompileError, match=r"residual \(5 tokens x 64 channels\) needs 24 words, .* has 23; --over"
    ):
        compile_model(random_model(1), overlay)


def test_too_many_classes_say_how_many_there_may_be():
    overlay = replace(OVERLAYS["b64"], logits=9)
    with pytest.raises(CompileError, match="10 classes, overlay 'b64' holds 9 logits"):
        compile_model(random_model(1), overlay)


def test_a_model_that_is_too_deep_says_how_deep_it_may_be():
    model = random_model(1, image_size=16, width=32, heads=[1] * 146, mlp=[32] * 146)
    with pytest.raises(CompileError, match=r"the program has 1030 descriptors, allowed are 1024"):
        compile_model(model, OVERLAYS["b64"])


def words_used(model, words: int) -> int:
    """Words of activation memory that a model's regions reach on an overlay with so many."""
    overlay = replace(OVERLAYS["b64"], act_words=words)
    return max(
        region[0] + region_words(region[2], region[1], overlay)
        for d in compile_model(model, overlay).descriptors
        for region in regions(d)[1]
    )


def words_less(model, words: int) -> int | None:
    """The same with a word less, or None if that is too little."""
    try:
        return words_used(model, words - 1)
    except CompileError:
        return None


def test_an_exact_fit_compiles():
    """Regions keep apart from the one freed last only where there is room."""
    model = random_model(1)
    roomy = words = words_used(model, OVERLAYS["b64"].act_words)
    while (less := words_less(model, words)) is not None:
        words = less
    assert words < roomy
    assert words_used(model, words) == words
    with pytest.raises(CompileError, match=f"up to word {words}, overlay 'b64' has {words - 1}"):
        words_used(model, words - 1)


def test_a_layernorm_does_not_write_where_the_matrix_before_it_reads():
    overlay = OVERLAYS["b64"]
    pairs = list(pairwise(compile_model(random_model(1), overlay).descriptors))
    found = [(a, b) for a, b in pairs if (a["opcode"], b["opcode"]) == (3, 4)]
    assert found
    for matrix, norm in found:
        read, written = int(matrix["source"]), int(norm["destination"])
        read_end = read + region_words(int(matrix["tokens"]), int(matrix["source_pitch"]), overlay)
        pitch = int(norm["destination_pitch"])
        written_end = written + region_words(int(norm["tokens"]), pitch, overlay)
        assert written >= read_end or read >= written_end


@given(
    st.booleans(),
    st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(1, 200)), max_size=40),
)
def test_the_allocator_never_hands_out_a_word_twice(apart, steps):
    memory, live = OnChip(OVERLAYS["b64"], apart), []
    for free, tokens, channels in steps:
        if free and live:
            memory.free(live.pop(0))
            continue
        try:
            region = memory.allocate("x", tokens, channels)
        except CompileError:
            continue
        assert region.pitch * memory.overlay.depth >= channels
        live.append(region)
        spans = sorted(
            (r.base, r.base + region_words(r.tokens, r.pitch, memory.overlay)) for r in live
        )
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert spans[-1][1] <= memory.high_water <= memory.overlay.act_words
