"""The supernet: it computes what its exported subnets compute, and its gradients are right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from quasar_runtime.errors import DataError
from tests.train.export_cases import CLASSES, random_checkpoint, random_images
from tests.train.train_cases import MIXED, SPACE, generator, integer_activations, small_start
from train.networks import integer
from train.networks.folded import fold, patches
from train.networks.integer import AttentionTensors, Matrix, MlpTensors
from train.networks.supernet import SuperMatrix
from train.quantise.emit import emit
from train.spaces.space import Space, Subnet
from train.training.initial import InitialState, initial_state
from train.training.ranking import rank, renew

LABELS = [(f"n{i:08d}", f"class {i}") for i in range(CLASSES)]
EPSILON = 4096
PREPROCESSING = random_checkpoint().preprocessing


@pytest.fixture(scope="module")
def begun() -> InitialState:
    return small_start()


@pytest.mark.parametrize("subnet", [SPACE.largest(), SPACE.smallest(), MIXED], ids=str)
def test_an_exported_subnet_computes_what_the_supernet_does(
    begun: InitialState, subnet: Subnet
) -> None:
    model = emit(begun.supernet.extract(subnet), "small", PREPROCESSING, LABELS)
    images = random_images(16, seed=9)
    equal = top1 = 0
    for image in images:
        seen: dict[str, Tensor] = {}
        with torch.no_grad():
            answer = begun.supernet(patches(image[None]), subnet, observe=seen.__setitem__)
        wanted = integer_activations(model, image.numpy())
        top1 += int(np.argmax(wanted.pop("logits") * model.head_scale) == answer.logits.argmax())
        assert sorted(wanted) == sorted(seen)
        for name, values in wanted.items():
            apart = np.abs(seen[name].flatten(0, -2).numpy() - values)
            assert apart.max() == 0, name
            equal += 1
    assert top1 == len(images)
    assert equal == len(images) * (4 * subnet.depth + 1)


def test_the_supernet_extracts_what_it_runs(begun: InitialState) -> None:
    inputs = patches(random_images(4, seed=3))
    with torch.no_grad():
        got = begun.supernet(inputs, MIXED).logits
        wanted = begun.supernet.extract(MIXED)(inputs)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


def test_the_largest_subnet_begins_near_the_checkpoint(begun: InitialState) -> None:
    inputs = patches(random_images(16, seed=3))
    with torch.no_grad():
        error = begun.supernet(inputs, SPACE.largest()).logits - begun.teacher(inputs)
    assert error.square().mean().sqrt() < 0.2 * begun.teacher(inputs).std()


def test_the_order_of_channels_changes_no_answer(begun: InitialState) -> None:
    checkpoint = random_checkpoint(0, depth=3, heads=2)
    inputs = patches(random_images(4, seed=3))
    torch.testing.assert_close(begun.teacher(inputs), fold(checkpoint)(inputs))


def test_both_precisions_of_a_row_come_from_one_master() -> None:
    layer = SuperMatrix(1, 4)
    with torch.no_grad():
        layer.unit.fill_(7.0)
        layer.start.copy_(torch.tensor([[1.0], [1 / 16]]))
        layer.master.copy_(torch.tensor([[3.2, -2.6, 7.4, 0.1]]) / 7)
    wide = torch.tensor([True])
    assert layer.quantise(~wide, slice(None), 4).weight.tolist() == [[3, -3, 7, 0]]
    assert layer.quantise(wide, slice(None), 4).weight.tolist() == [[51, -42, 118, 2]]
    assert layer.quantise(wide, slice(None), 2).weight.tolist() == [[51, -42]]


def test_the_rows_worth_most_are_8_bit() -> None:
    layer = SuperMatrix(4, 2)
    layer.importance.copy_(torch.tensor([1.0, 4.0, 3.0, 2.0]))
    assert layer.rows(0.5, slice(None), 2).bits.tolist() == [4, 8, 8, 4]
    assert layer.rows(0.5, slice(2), 2).bits.tolist() == [4, 8]


def test_the_ranking_finds_the_rows_whose_4_bits_hurt() -> None:
    begun = small_start()
    layer = begun.supernet.blocks[1].fc1
    with torch.no_grad():
        layer.start[0, 5:10] *= 6  # in 4 bits these rows now round to almost nothing
    subnet = Subnet.uniform(64, 3, 2, 96, 1.0)
    found = rank(begun.supernet, subnet, random_images(16, seed=4), 0)
    assert found["blocks.1.fc1"][5:10].mean() > 5 * found["blocks.1.fc1"].median()
    layer.importance.fill_(1.0)
    renew(begun.supernet, found)
    chosen = layer.rows(0.1, slice(None), 64).bits
    assert (chosen[5:10] == 8).sum() >= 4


def test_a_checkpoint_of_another_size_is_refused() -> None:
    wider = Space.parse("wider", {**vars_of(SPACE), "widths": [64, 96]})
    with pytest.raises(DataError, match=r"the width of random is 64, .*'wider' has 96"):
        initial_state(random_checkpoint(0, depth=3, heads=2), wider, random_images(8), 0)


def vars_of(space: Space) -> dict[str, object]:
    """A space's entries as YAML has them."""
    return {
        "image_size": space.image_size,
        "classes": space.classes,
        "widths": list(space.widths),
        "depths": list(space.depths),
        "heads": list(space.heads),
        "mlp": list(space.mlp),
        "shares": list(space.shares),
    }


# --- gradients: those written out against those of the same arithmetic without roundings ---


def random_matrix(rows: int, inputs: int, factor: float, seed: int) -> Matrix:
    g = generator(seed)
    weight = torch.randint(-119, 120, (rows, inputs), generator=g).float()
    bias = torch.randint(-500, 500, (rows,), generator=g).float()
    factors = factor * (1 + 0.2 * torch.rand(rows, generator=g))
    return Matrix(*(t.requires_grad_() for t in (weight, bias, factors)))


def smooth_norm(x: Tensor, gain: Tensor, epsilon: int) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=epsilon / x.shape[-1] ** 2) * gain


def smooth(a: Tensor, m: Matrix) -> Tensor:
    return (a @ m.weight.t() + m.bias) * m.factor


def smooth_attention(x: Tensor, b: AttentionTensors, epsilon: int, count: int) -> Tensor:
    n, t, _ = x.shape
    qkv = smooth(smooth_norm(x, b.gain, epsilon), b.qkv)
    q, k, v = qkv.view(n, t, 3, -1, 64).permute(2, 0, 3, 1, 4)
    p = (q[:, :, :count] @ k.mT * b.score / 45).softmax(-1)
    mixed = (p @ v * b.mean).transpose(1, 2).flatten(2)
    return x[:, :count] + smooth(mixed, b.proj)


def smooth_mlp(x: Tensor, b: MlpTensors, epsilon: int) -> Tensor:
    hidden = smooth(smooth_norm(x, b.gain, epsilon), b.fc1)
    return x + smooth(hidden * 0.5, b.fc2)


def attention_case() -> tuple[AttentionTensors, list[Tensor]]:
    gain = torch.full((64,), 30.0)
    score, mean = torch.full((2, 1, 1), 0.01), torch.full((2, 1, 1), 1.4)
    qkv, proj = random_matrix(384, 64, 5e-4, 1), random_matrix(64, 128, 0.05, 2)
    return AttentionTensors(gain, score, mean, qkv, proj), [*qkv, *proj]


def mlp_case() -> tuple[MlpTensors, list[Tensor]]:
    gain = torch.full((64,), 30.0)
    table = (torch.arange(-128, 128) * 0.5).round().clamp(-127, 127).to(torch.int8)
    fc1, fc2 = random_matrix(96, 64, 1e-3, 3), random_matrix(64, 96, 0.05, 4)
    return MlpTensors(gain, table, torch.full((256,), 0.5), fc1, fc2), [*fc1, *fc2]


@pytest.mark.parametrize("count", [5, 1])
def test_an_attention_branch_has_the_gradient_of_its_smooth_twin(count: int) -> None:
    tensors, leaves = attention_case()
    compare_gradients(
        lambda x: integer.attention_branch(x, tensors, EPSILON, count),
        lambda x: smooth_attention(x, tensors, EPSILON, count),
        leaves,
    )


def test_an_mlp_branch_has_the_gradient_of_its_smooth_twin() -> None:
    tensors, leaves = mlp_case()
    compare_gradients(
        lambda x: integer.mlp_branch(x, tensors, EPSILON),
        lambda x: smooth_mlp(x, tensors, EPSILON),
        leaves,
    )


def compare_gradients(
    got: Callable[[Tensor], Tensor], wanted: Callable[[Tensor], Tensor], leaves: list[Tensor]
) -> None:
    """Within what roundings and bfloat16 change: 10 % of each gradient's norm."""
    x = (1000 * torch.randn(2, 5, 64, generator=generator(0))).round().requires_grad_()
    for one in (got, wanted):
        y = one(x)
        y.backward(torch.randn(y.shape, generator=generator(5)))
    pairs = []
    for run in (got, wanted):
        for leaf in (x, *leaves):
            leaf.grad = None
        y = run(x)
        y.backward(torch.randn(y.shape, generator=generator(5)))
        pairs.append([leaf.grad.clone() for leaf in (x, *leaves) if leaf.grad is not None])
    assert len(pairs[0]) == len(pairs[1]) == 1 + len(leaves)
    for i, (g, w) in enumerate(zip(*pairs, strict=True)):
        assert float((g - w).norm() / w.norm()) < 0.1, i


@pytest.mark.parametrize(("count", "inputs", "rows"), [(1, 64, 32), (197, 192, 576), (3, 4096, 64)])
@pytest.mark.parametrize("product", [integer.product, integer.float_product])
def test_integer_products_are_exact_on_every_processor(
    product: Callable[[Tensor, Tensor], Tensor], count: int, inputs: int, rows: int
) -> None:
    g = generator(inputs)
    a8 = torch.randint(-127, 128, (count, inputs), generator=g).to(torch.int8)
    w8 = torch.randint(-119, 120, (rows, inputs), generator=g).to(torch.int8)
    a8[0], w8[0] = 127, -119  # no sum is larger
    right = w8 if product is integer.product else w8.t()
    wanted = a8.numpy().astype(np.int64) @ w8.numpy().astype(np.int64).T
    np.testing.assert_array_equal(product(a8, right).numpy(), wanted)


def test_compiled_loops_compute_the_same() -> None:
    tensors, _ = mlp_case()
    x = (1000 * torch.randn(2, 5, 64, generator=generator(0))).round()
    plain = integer.mlp_branch(x, tensors, EPSILON)
    integer.Fusion.on = True
    try:
        fused = integer.mlp_branch(x, tensors, EPSILON)
        # PyTorch 2.13 cannot compile them for a processor whose vectors it is told not to use.
        assert integer.Fusion.on or torch.backends.cpu.get_cpu_capability() == "DEFAULT"
    finally:
        integer.Fusion.on = False
    torch.testing.assert_close(fused, plain, rtol=0, atol=60)
    assert (fused == plain).float().mean() > 0.9


def test_loops_that_cannot_be_compiled_run_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As without a compiler: one warning, and no further attempts."""

    def fails(*_: object) -> None:
        raise torch._dynamo.exc.TorchDynamoException("InvalidCxxCompiler: none found\nmore")

    monkeypatch.setattr(torch, "compile", lambda function, **_: fails)
    monkeypatch.setattr(integer.Fusion, "on", True)
    double = integer.fused(lambda x: 2 * x)
    assert [double(1), double(2)] == [2, 4]
    assert not integer.Fusion.on
    said = capsys.readouterr().err
    assert said.count("Warning: ") == 1
    assert "(InvalidCxxCompiler: none found); going on without" in said
