"""The steps of export one by one: reading, folding, calibrating, choosing, rounding, emitting."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from quasar_runtime.errors import DataError, ModelValueError
from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa.interface import PATCH
from tests.train.export_cases import (
    CLASSES,
    SIZE,
    random_checkpoint,
    random_images,
    random_tensors,
    write_tar,
)
from train.data.labels import load_labels
from train.data.pictures import classes_apart, in_turn, pictures
from train.data.source import Source, list_pictures
from train.networks.checkpoint import (
    PRESETS,
    check_tensors,
    detect_preset,
    float_logits,
    load_checkpoint,
)
from train.networks.folded import Affine, fold, fold_norm, fold_patch, patches
from train.networks.quantised import QuantBlock, QuantLinear, gelu_table
from train.quantise.calibrate import (
    attention_steps,
    build,
    mean_square,
    observe,
    set_ranges,
    weight_step,
)
from train.quantise.emit import emit, emit_linear, emit_norm, requantisation
from train.quantise.outlier_units import switch, tame
from train.quantise.rounding import descend, round_columns, round_freely, round_matrix
from train.quantise.rows import choose_rows, row_effects

# --- reading a checkpoint ---


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda t: t.pop("norm.bias"), r"norm\.bias is missing, expected with shape \(64,\)"),
        (lambda t: t.pop("cls_token"), r"cls_token is missing"),
        (lambda t: t.update({"norm.bias": torch.zeros(63)}), r"shape \(63,\), expected \(64,\)"),
        (lambda t: t.update(dist_token=torch.zeros(1)), r"dist_token.*not supported; give a plain"),
        (lambda t: t["head.bias"].fill_(torch.nan), r"head\.bias is not all finite"),
        (lambda t: t.update({"pos_embed": torch.zeros(1, 8, 64)}), r"8 tokens, expected a square"),
        (
            lambda t: t.update({"cls_token": torch.zeros(1, 1, 65)}),
            r"width is 65, .*multiple of 32",
        ),
        (
            lambda t: t.update({"blocks.1.attn.proj.weight": torch.zeros(64, 96)}),
            r"96 inputs, expected a multiple of 64",
        ),
        (
            lambda t: t.update({"blocks.0.mlp.fc1.weight": torch.zeros(90, 64)}),
            r"90 rows, expected a multiple of 32",
        ),
        (
            lambda t: [t.pop(n) for n in list(t) if n.startswith("blocks.0")],
            r"blocks are numbered \[1\]",
        ),
    ],
)
def test_an_odd_checkpoint_is_refused_with_what_was_found(break_it, message) -> None:
    tensors = random_tensors()
    break_it(tensors)
    with pytest.raises(DataError, match=message):
        check_tensors(tensors, PRESETS["deit"], "file")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deit.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(DataError, match="not a safetensors file"):
        load_checkpoint(path)


def test_the_preset_is_told_by_the_name_or_asked_for(tmp_path: Path) -> None:
    assert detect_preset("vit_tiny_AugReg.safetensors") == "augreg"
    with pytest.raises(DataError, match="give --preset"):
        detect_preset("model.safetensors")
    save_file(random_tensors(), tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="did you mean 'deit'"):
        load_checkpoint(tmp_path / "model.safetensors", "deitt")
    assert load_checkpoint(tmp_path / "model.safetensors", "deit").preset.resize == 256


def test_a_checkpoint_serves_pictures_of_another_size() -> None:
    checkpoint = random_checkpoint(preset="augreg")
    larger = checkpoint.resized(SIZE + 2 * PATCH)
    side = SIZE // PATCH
    assert larger.image_size == SIZE + 2 * PATCH
    assert larger.tokens == (side + 2) ** 2 + 1
    assert larger.preprocessing.crop == SIZE + 2 * PATCH
    cls = checkpoint.tensors["pos_embed"][:, 0]
    assert torch.equal(larger.tensors["pos_embed"][:, 0], cls)
    # what is constant stays so, and what rises along an axis still does
    tensors = dict(checkpoint.tensors)
    ramp = torch.arange(side).float().repeat(side)
    tensors["pos_embed"] = torch.stack([torch.ones(side * side), ramp], 1).repeat(1, 32)[None]
    tensors["pos_embed"] = torch.cat([cls[None], tensors["pos_embed"]], 1)
    grid = check_tensors(tensors, PRESETS["deit"]).resized(larger.image_size)
    found = grid.tensors["pos_embed"][0, 1:].reshape(side + 2, side + 2, -1)
    torch.testing.assert_close(found[..., 0], torch.ones(side + 2, side + 2))
    assert (found[:, 1:, 1] > found[:, :-1, 1]).all()
    torch.testing.assert_close(found[0], found[-1])
    assert checkpoint.resized(SIZE) is checkpoint
    for size in (SIZE + 1, 0, 256):
        with pytest.raises(DataError, match=r"expected a multiple of 16 from 16 to 240"):
            checkpoint.resized(size)


# --- folding ---


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("layer_scale", [False, True])
def test_the_folded_network_equals_the_checkpoint(preset: str, layer_scale: bool) -> None:
    checkpoint = random_checkpoint(preset=preset, layer_scale=layer_scale)
    images = random_images(4).clamp(min=1)  # a byte of 0 is read as 1
    torch.testing.assert_close(
        fold(checkpoint)(patches(images)), float_logits(checkpoint, images), atol=2e-4, rtol=1e-3
    )


def test_patches_are_those_of_the_arithmetic() -> None:
    image = random_images(1)
    np.testing.assert_array_equal(patches(image)[0].numpy(), ar.patches(image[0].numpy()))


def test_cls_takes_nothing_from_the_patch_bias() -> None:
    checkpoint = random_checkpoint()
    _, position = fold_patch(checkpoint)
    t = checkpoint.tensors
    torch.testing.assert_close(position[0], t["cls_token"][0, 0] + t["pos_embed"][0, 0])


def test_gamma_and_beta_fold_into_the_next_matrix() -> None:
    g = torch.Generator().manual_seed(0)
    z, w, b = (torch.randn(*s, generator=g) for s in ((5, 8), (3, 8), (3,)))
    gamma, beta = torch.randn(8, generator=g), torch.randn(8, generator=g)
    torch.testing.assert_close(
        fold_norm(w, b, gamma, beta)(z), F.linear(z * gamma + beta, w, b), atol=1e-5, rtol=1e-5
    )


# --- calibrating ---


@pytest.fixture(scope="module")
def observed():
    folded = fold(random_checkpoint())
    return folded, observe(folded, random_images(16, seed=1), seed=0)


def test_q_and_k_steps_multiply_to_one_value_a_head(observed) -> None:
    _, found = observed
    steps, _ = attention_steps(found, "blocks.0", 1)
    q, k, v = steps.reshape(3, 64)
    torch.testing.assert_close(q * k, (q * k).mean().expand(64))
    reach_q, reach_k, reach_v = found.reach("blocks.0.qkv").reshape(3, 64)
    assert (reach_q / q).max() < 119.01
    torch.testing.assert_close(reach_q / q, reach_k / k)
    torch.testing.assert_close(reach_v / v, torch.full((64,), 119.0))


def test_no_activation_is_clipped_on_the_calibration_images(observed) -> None:
    folded, found = observed
    network = build(folded, found, 1.0)
    for i, block in enumerate(network.blocks):
        for norm in ("norm1", "norm2"):
            assert (found.reach(f"blocks.{i}.{norm}") / getattr(block, norm)).max() < 127.01
        assert (found.reach(f"blocks.{i}.attention") / block.mixed_step).max() < 127.01


def test_evening_gives_small_channels_a_finer_step(observed) -> None:
    folded, found = observed
    network = build(folded, found, 1.0)
    assert network.blocks[0].norm1.max() > 1.2 * network.blocks[0].norm1.min()


def test_the_gelu_table_with_its_zero_point_is_gelu() -> None:
    block = QuantBlock(1)
    set_ranges(block, -20.0, 6.0)
    i = np.arange(-127, 128)
    h = torch.tensor(i * block.hidden_step + block.hidden_offset)
    table = gelu_table(block)[0].numpy()
    got = (table[i + 128] - block.gelu_zero) * block.gelu_step
    assert np.abs(got - F.gelu(h).numpy()).max() <= 0.51 * block.gelu_step
    assert h.min() == pytest.approx(-4.0)
    assert h.max() == pytest.approx(6.0)


def test_a_step_clips_an_outlier_that_no_input_uses() -> None:
    real = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    real[0, 0] = 8.0
    limit, importance = torch.tensor([7.0]), torch.ones(16)
    kept = weight_step(real, limit, importance)
    importance[0] = 1e-6
    assert weight_step(real, limit, importance) < 0.6 * kept


# --- outlier units ---


def test_an_outlier_unit_becomes_a_switch_of_ordinary_range() -> None:
    g = torch.Generator().manual_seed(0)
    off, on = torch.randn(1000, generator=g) * 8 - 40, torch.randn(30, generator=g) * 20 + 180
    h = torch.cat([off, on])
    threshold, slope, gain, _ = switch(h, reach=8.0, floor=0.5)
    result = gain * F.gelu(slope * (h - threshold))
    assert F.gelu(slope * (h.max() - threshold)) == pytest.approx(8.0, abs=0.01)
    assert result[:1000].abs().max() < 0.5
    assert (result[1000:] / h[1000:] - 1).abs().max() < 0.3


def test_only_outlier_units_are_tamed() -> None:
    folded, images = fold(random_checkpoint()), random_images(16, seed=1)
    assert tame(folded, observe(folded, images, 0), images) == []
    folded.blocks[1].fc1.bias[5] = 200.0
    done = tame(folded, observe(folded, images, 0), images)
    assert [(t.block, t.unit) for t in done] == [(1, 5)]
    after = observe(folded, images, 0).high["blocks.1.gelu"]
    assert after[5] < 0.15 * 200


# --- choosing rows ---


def test_the_rows_with_the_greatest_effects_are_8_bit() -> None:
    effects = {"a": torch.tensor([5.0, 1.0, 4.0]), "b": torch.tensor([3.0, 2.0])}
    bits = choose_rows(effects, {"a": 1, "b": 1}, 0.4)
    assert bits["a"].tolist() == [8, 4, 8]
    assert bits["b"].tolist() == [4, 4]
    costly = choose_rows(effects, {"a": 4, "b": 1}, 0.4)
    assert costly["b"].tolist() == [8, 8]
    for share in (0.0, 1.0):
        chosen = torch.cat(list(choose_rows(effects, {"a": 1, "b": 1}, share).values()))
        assert int((chosen == 8).sum()) == round(5 * share)


def test_rows_change_precision_in_groups() -> None:
    effects = {"a": torch.tensor([5.0, 1.0, 4.0, 0.5]), "b": torch.tensor([3.0, 3.5])}
    bits = choose_rows(effects, {"a": 1, "b": 1}, 0.5, 2)
    assert bits["a"].tolist() == [8, 4, 8, 4]
    assert bits["b"].tolist() == [8, 8]
    assert choose_rows(effects, {"a": 1, "b": 1}, 0.3, 2)["b"].tolist() == [4, 4]


def test_a_row_that_the_output_does_not_hear_has_no_effect() -> None:
    checkpoint = random_checkpoint()
    checkpoint.tensors["blocks.0.mlp.fc2.weight"][:, 7] = 0.0
    folded = fold(checkpoint)
    found = observe(folded, random_images(16, seed=1), 0)
    effects = row_effects(build(folded, found, 0.5), folded, found)
    assert effects["blocks.0.fc1"][7] == 0
    assert (effects["blocks.0.fc1"] > 0).sum() == 95


# --- rounding ---


def correlated(seed: int, count: int, inputs: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=g)
    return (torch.randn(count, inputs, generator=g) @ mixing).mul(4).round().clamp(-127, 127)


def test_rounding_by_the_outputs_error_beats_rounding_to_nearest() -> None:
    a = correlated(0, 2000, 48)
    real = torch.randn(32, 48, generator=torch.Generator().manual_seed(1))
    limit = torch.full((32,), 7.0)
    covariance = (a.t() @ a / len(a)).double()
    step = weight_step(real, limit, covariance.diagonal().float())
    nearest = (real / step[:, None]).round().clamp(-7, 7)
    integers = round_columns(real.double(), covariance, step, -limit[:, None], limit[:, None])

    def error(q: torch.Tensor) -> float:
        return float(((a @ (q * step[:, None] - real).t()) ** 2).mean())

    assert integers.abs().max() <= 7
    assert torch.equal(integers, integers.round())
    assert error(integers) < 0.6 * error(nearest)
    best, chosen = round_freely(real.double(), covariance, limit)
    assert best.abs().max() <= 7
    assert torch.equal(best, best.round())
    own = mean_square(best * chosen[:, None] - real.double(), covariance)
    before = mean_square(integers * step[:, None] - real.double(), covariance)
    assert own.mean() < 0.9 * before.mean()


def test_going_through_the_integers_again_keeps_to_the_bounds_and_errs_less() -> None:
    a = correlated(0, 2000, 48)
    real = torch.randn(32, 48, generator=torch.Generator().manual_seed(1)).double()
    covariance, step = (a.t() @ a / len(a)).double(), torch.full((32,), 0.4)
    low, high = torch.full((32, 48), -3.0), torch.full((32, 48), 5.0)
    first = (real / step[:, None]).round().clamp(-3, 5).float()
    again = descend(first, real, covariance, step, low, high)
    assert again.min() >= -3
    assert again.max() <= 5

    def error(q: torch.Tensor) -> torch.Tensor:
        return mean_square(q * step[:, None] - real, covariance)

    assert (error(again) <= error(first)).all()
    assert error(again).mean() < 0.8 * error(first).mean()


def test_fitting_makes_the_mean_error_zero_and_repairs_earlier_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("train.quantise.rounding.PULL", 0.01)
    a = correlated(0, 2000, 16) + 20
    a = a.round().clamp(-127, 127)
    real = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    layer = QuantLinear(Affine(real, torch.zeros(8)), torch.full((8,), 8), torch.full((8,), 0.05))
    wanted = a @ (real * 1.1).t() + 3  # what float inputs would have given
    with torch.no_grad():
        round_matrix(layer, a[None], wanted[None], torch.full((8,), 8))
    error = layer.step * (a @ layer.integers().t()) + layer.bias - wanted
    assert error.mean(0).abs().max() < 0.05
    assert error.std() < 0.02 * wanted.std()


# --- emitting ---


def test_a_requantisation_is_normalised_and_near() -> None:
    factor = np.exp(np.random.default_rng(0).uniform(np.log(1e-6), np.log(100), 1000))
    m, n = requantisation(factor, "x")
    assert (m >= 2**14).all()
    assert (m < 2**15).all()
    np.testing.assert_allclose(m * 2.0 ** -n.astype(float), factor, rtol=2**-15)
    m, n = requantisation(np.array([1e-5]), "x", shift_max=23)
    assert n[0] == 23
    assert m[0] == round(1e-5 * 2**23)


@pytest.mark.parametrize("factor", [0.0, -1.0, 4e4, np.nan])
def test_a_factor_that_fits_no_field_is_refused(factor: float) -> None:
    with pytest.raises(ModelValueError, match="qkv: a requantisation factor is"):
        requantisation(np.array([factor]), "qkv")


def test_gains_span_at_most_15_bits() -> None:
    with pytest.raises(ModelValueError, match="norm1: the channels' steps span"):
        emit_norm(torch.tensor([1e-4, 10.0]), 2.0**-8, "norm1")


def test_a_bias_takes_the_zero_point_and_the_offset() -> None:
    layer = QuantLinear(Affine(torch.ones(1, 4), torch.tensor([2.5])), torch.tensor([8]),
                        torch.tensor([0.5]), zero=-100)  # fmt: skip
    linear = emit_linear(layer, 0.25, "x", offset=1.0)
    assert linear.weights.tolist() == [[2, 2, 2, 2]]
    assert linear.bias.tolist() == [(2.5 - 1.0) / 0.5 + 100 * 8]
    assert float(linear.multiplier[0]) * 2.0 ** -int(linear.shift[0]) == 2.0


def test_the_network_rounds_its_positions_as_the_file_does(observed) -> None:
    folded, found = observed
    network = build(folded, found, 1.0)
    g = torch.Generator().manual_seed(0)
    halves = torch.randint(-3000, 3000, network.position.shape, generator=g) + 0.5
    network.position.copy_(halves * network.residual_step)  # the halves, but for float32
    network.patch.bias.zero_()
    labels = [(f"n{i:08d}", str(i)) for i in range(CLASSES)]
    model = emit(network, "m", random_checkpoint().preprocessing, labels)
    got = network.integers(network.embed(patches(torch.full((1, SIZE, SIZE, 3), 128).byte())))
    patch = model.patch
    a = ar.patches(np.full((SIZE, SIZE, 3), 128, np.uint8))
    acc = ar.matmul(a, patch.weights) + patch.bias
    wanted = ar.add_residual(model.position.astype(np.int64), acc, patch.multiplier, patch.shift)
    np.testing.assert_array_equal(got[0].numpy(), wanted)


# --- pictures ---


def test_pictures_come_from_a_tar_as_from_a_folder(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", random_images(6))
    with tarfile.open(tmp_path / "a.tar") as tar:
        tar.extractall(tmp_path / "a", filter="data")
    how = random_checkpoint().preprocessing
    one, two = (Source(tmp_path / n) for n in ("a.tar", "a"))
    assert one.names == two.names
    names = one.names[1:5]
    of_one, of_two = (pictures(source, names, how) for source in (one, two))
    assert len(of_one) == 4
    np.testing.assert_array_equal(of_one, of_two)


def test_pictures_are_taken_from_all_classes_in_turn() -> None:
    names = [f"a/{i}.png" for i in range(50)] + [f"{c}/0.png" for c in "bcdefg"]
    order = in_turn(names, 3)
    assert sorted(order) == sorted(names)
    assert {n[0] for n in order[:7]} == set("abcdefg")
    assert order == in_turn(reversed(names), 3)
    assert order != in_turn(names, 4)


def test_classes_go_apart_whole() -> None:
    names = [f"{c}/{i}.png" for c in "abcdefgh" for i in range(5)]
    used, apart = classes_apart(names, 0.25, 0)
    assert len({n[0] for n in apart}) == 2
    assert len(apart) == 10
    assert sorted(used + apart) == names
    assert all(classes_apart(["a/0.png", "b/0.png"], 0.9, 0))
    assert classes_apart(["a/0.png", "a/1.png"], 0.1, 0)[1] == []


def test_a_source_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures at"):
        list_pictures(tmp_path / "none.tar")
    with pytest.raises(DataError, match="holds no <class>/<picture>"):
        list_pictures(tmp_path)


def test_labels_must_be_numbered_without_gaps(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([{"index": 1, "wnid": "n1", "name": "one"}]))
    with pytest.raises(DataError, match="not numbered 0 to 0"):
        load_labels(path)
    path.write_text("{}}")
    with pytest.raises(DataError, match="not a labels file"):
        load_labels(path)
