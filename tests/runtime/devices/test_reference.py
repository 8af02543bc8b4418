"""The reference device against a second, independent reading of the arithmetic.

`forward` below goes from a model's tensors to logits without compiler, packing, descriptors or
`quasar_runtime.isa.arithmetic`: Python integers and NumPy, one formula of docs/architecture.md
after another. Both must give the same logits, bit for bit, whatever the geometry and overlay.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.reference.executor import run
from quasar_runtime.errors import ProgramError
from quasar_runtime.isa.interface import Opcode
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.isa.tables import EXP, RECIPROCAL, RSQRT
from quasar_runtime.model.network import Linear, Model, Norm
from quasar_runtime.model.synthetic import random_model

OVERLAYS = [load_overlay(name) for name in ("b64", "b1024", "b8192")]


def shift_round(x, n):
    """floor(x / 2^n + 1/2), exactly, on Python integers in an object array."""
    x, n = np.asarray(x, object), np.asarray(n, object)
    return (2 * x + 2**n) // 2 ** (n + 1)


def limited(x, limit: int):
    return np.clip(np.asarray(x, object), -limit, limit)


def tokens_of(image: np.ndarray) -> np.ndarray:
    """Patches by plain loops, CLS first."""
    side = image.shape[0] // 16
    rows = [np.zeros(768, np.int64)]
    for y in range(side):
        for x in range(side):
            patch = image[16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
            rows.append(np.maximum(patch.reshape(-1).astype(np.int64), 1) - 128)
    return np.stack(rows)


def accumulate(matrix: Linear, x: np.ndarray) -> np.ndarray:
    weights = matrix.weights.astype(np.int64)
    return np.asarray(x, np.int64) @ weights.T + matrix.bias.astype(np.int64)


def requantised(matrix: Linear, x: np.ndarray):
    """rs(acc * m, n) of every row, before any clamp."""
    acc = accumulate(matrix, x).astype(object)
    return shift_round(acc * matrix.multiplier.astype(object), matrix.shift.astype(object))


def added(residual, matrix: Linear, x: np.ndarray) -> np.ndarray:
    delta = np.clip(requantised(matrix, x), -(2**15), 2**15 - 1)
    return np.clip(residual + delta, -(2**15), 2**15 - 1).astype(np.int64)


def normalised(norm: Norm, x: np.ndarray) -> np.ndarray:
    """LayerNorm of each token, in Python integers."""
    width, out = x.shape[1], []
    for token in x.tolist():
        total = sum(token)
        v = width * sum(value * value for value in token) - total * total + norm.epsilon
        # The even shift that brings v to 17 or 18 bits; negative for a small v.
        k = (v.bit_length() - 17) // 2
        z = v >> 2 * k if k >= 0 else v << -2 * k
        y0 = int(RSQRT[(z >> 10) - 64])
        y = (y0 * ((3 * 2**33 - z * (y0 * y0 >> 13)) >> 16)) >> 17
        t = shift_round([(width * value - total) * y for value in token], k + 12)
        t = np.clip(t, -(2**17), 2**17 - 1)
        out.append(limited(shift_round(t * norm.gain.astype(object), norm.shift), 127))
    return np.array(out, np.int64)


def mixed(q, k, v, score: tuple[int, int], out: tuple[int, int]) -> np.ndarray:
    """One head, one query at a time."""
    results = []
    for query in q:
        scores = (k @ query).tolist()
        top = max(scores)
        e = [int(EXP[min(255, (top - s) * score[0] >> score[1])]) for s in scores]
        total = sum(e)
        length = total.bit_length()
        z = total << (16 - length)
        y0 = int(RECIPROCAL[(z >> 7) & 255])
        y = (y0 * ((2**31 - z * y0) >> 14)) >> 15
        acc = (np.array(e) @ v).astype(object)
        mean = shift_round(acc * y, length + 15 - 8)
        results.append(limited(shift_round(mean * out[0], out[1]), 127))
    return np.array(results, np.int64)


def forward(model: Model, image: np.ndarray) -> np.ndarray:
    """int32 accumulators of the classifier."""
    x = added(model.position.astype(np.int64), model.patch, tokens_of(image))
    for block in model.blocks:
        channels = 64 * block.heads
        qkv = limited(requantised(block.qkv, normalised(block.norm1, x)), 119).astype(np.int64)
        heads, a = [], block.attention
        for h in range(block.heads):
            q, k, v = (qkv[:, i * channels + 64 * h :][:, :64] for i in range(3))
            score = int(a.score_multiplier[h]), int(a.score_shift[h])
            out = int(a.out_multiplier[h]), int(a.out_shift[h])
            heads.append(mixed(q, k, v, score, out))
        x = added(x, block.proj, np.concatenate(heads, axis=1))
        hidden = limited(requantised(block.fc1, normalised(block.norm2, x)), 127).astype(np.int64)
        x = added(x, block.fc2, block.gelu[hidden + 128])
    return accumulate(model.head, normalised(model.norm, x[:1]))[0]


def logits(program: Program, image: np.ndarray) -> np.ndarray:
    return run(program, image)[: 4 * program.classes].view("<i4")


def image_of(seed: int, side: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.sampled_from([16, 32, 48]),
    width=st.sampled_from([32, 64, 96]),
    blocks=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([32, 64, 96])), min_size=1, max_size=3
    ),
    share8=st.sampled_from([None, 0.0, 0.5, 1.0]),
)
def test_every_overlay_gives_the_logits_of_the_independent_forward(
    seed, side, width, blocks, share8
):
    heads, mlp = [h for h, _ in blocks], [m for _, m in blocks]
    model = random_model(
        seed, image_size=side, width=width, heads=heads, mlp=mlp, share8=share8, classes=7
    )
    image = image_of(seed, side)
    wanted = forward(model, image)
    for overlay in OVERLAYS:
        assert np.array_equal(logits(compile_model(model, overlay), image), wanted), overlay.name


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda o: o.name)
def test_saturated_and_vanishing_values_agree_too(overlay):
    """Requantisations at both ends: residual overflow, clamped activations, zeros."""
    for seed in range(4):
        model = random_model(seed, heads=[1, 2], mlp=[32, 64], classes=5)
        rng = np.random.default_rng(seed)
        for matrix in list(model.linears().values())[:-1]:
            matrix.shift[:] = rng.choice([0, 10, 20, 40], matrix.rows)
        for norm in model.norms().values():
            norm.shift, norm.epsilon = int(rng.integers(1, 41)), int(rng.choice([1, 2**32 - 1]))
        for block in model.blocks:
            block.attention.score_shift[:] = rng.choice([0, 12, 23], block.heads)
            block.attention.score_multiplier[:] = rng.choice([1, 2**15 - 1], block.heads)
            block.attention.out_shift[:] = rng.choice([0, 40], block.heads)
        image = image_of(seed, 32)
        assert np.array_equal(logits(compile_model(model, overlay), image), forward(model, image))


def test_a_constant_residual_is_normalised_to_zero_and_leaves_the_classifiers_bias():
    model = random_model(1, heads=[1], mlp=[32])
    for matrix in (model.patch, model.blocks[0].proj, model.blocks[0].fc2):
        matrix.multiplier[:] = 0
    model.position[:] = 321
    program = compile_model(model, OVERLAYS[0])
    assert np.array_equal(logits(program, image_of(1, 32)), model.head.bias)


def test_logits_depend_on_every_part_of_the_image():
    model = random_model(3)
    program = compile_model(model, OVERLAYS[1])
    image = image_of(3, 32)
    before = logits(program, image).copy()
    for y, x in ((0, 0), (0, 31), (31, 0), (31, 31)):
        changed = image.copy()
        changed[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 0
        assert not np.array_equal(logits(program, changed), before)


@pytest.mark.parametrize("shape", [(16, 16, 3), (32, 32), (32, 32, 4)])
def test_another_image_shape_is_refused(shape):
    program = compile_model(random_model(1), OVERLAYS[0])
    with pytest.raises(ProgramError, match=r"the image is uint8 .*, expected uint8 \(32, 32, 3\)"):
        run(program, np.zeros(shape, np.uint8))


def test_another_pixel_type_is_refused():
    program = compile_model(random_model(1), OVERLAYS[0])
    with pytest.raises(ProgramError, match="the image is float32"):
        run(program, np.zeros((32, 32, 3), np.float32))


def test_a_broken_program_is_refused_before_it_runs():
    program = compile_model(random_model(1), OVERLAYS[0])
    number = int(np.flatnonzero(program.descriptors["opcode"] == Opcode.LAYERNORM)[0])
    program.descriptors["shift"][number] = 0
    with pytest.raises(ProgramError, match=rf"descriptor {number}: shift is 0.*BAD_FIELD"):
        run(program, image_of(1, 32))
