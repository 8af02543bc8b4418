"""Pruning a checkpoint to a subnet, and fine-tuning what is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from quasar_runtime.errors import DataError
from quasar_runtime.model.file import read_model
from tests.train.export_cases import (
    CLASSES,
    random_checkpoint,
    random_images,
    random_tensors,
    write_tar,
)
from tests.train.train_cases import generator
from train.commands.finetune import finetune
from train.data.recipe import TrainingRecipe
from train.networks.folded import Affine, fold, patches
from train.quantise.calibrate import observe
from train.quantise.prune import make_up, prune
from train.quantise.quantise import quantise_on
from train.spaces.space import BlockConfig, Subnet
from train.training.finetune import from_rounding, subnet_of
from train.training.run_folder import load_run

SLIM = Subnet(64, (BlockConfig(2, 64, 0.5, 0, 1, 0.5), BlockConfig(1, 96, 0, 0.5, 0.5, 1)))


def test_inputs_that_others_tell_are_made_up_for_exactly() -> None:
    x = torch.randn(500, 4, generator=generator(0)) + 3
    everything = torch.cat([x, x @ torch.randn(4, 2, generator=generator(1)) + 5], 1)
    matrix = Affine(torch.randn(3, 6, generator=generator(2)), torch.zeros(3))
    moment = everything.t() @ everything / 500
    less = make_up(matrix, moment, everything.mean(0), torch.arange(4))
    lost = matrix(everything) - less(x)
    assert lost.square().mean() < 1e-2 * matrix(everything).var(0).mean()


def test_a_pruned_network_is_nearer_than_one_with_a_hole_in_it() -> None:
    folded = fold(random_checkpoint(0, heads=2))
    images = random_images(32, seed=1)
    found = observe(folded, images, 0)
    slim = prune(folded, found, SLIM)
    assert [b.heads for b in slim.blocks] == [2, 1]
    assert [len(b.fc1.bias) for b in slim.blocks] == [64, 96]
    inputs = patches(random_images(16, seed=5))
    wanted = folded(inputs)
    holes = prune(folded, found, SLIM)
    for i, (hole, block) in enumerate(zip(holes.blocks, folded.blocks, strict=True)):
        hole.proj.bias, hole.fc2.bias = block.proj.bias, block.fc2.bias
        moment = found.moment[f"blocks.{i}.gelu"]
        assert len(moment) == 96
        for part in ("proj", "fc2"):
            slimmed, whole = getattr(hole, part), getattr(block, part)
            columns = columns_of(whole, getattr(slim.blocks[i], part), block, slim.blocks[i], part)
            slimmed.weight = whole.weight[:, columns]
    assert (slim(inputs) - wanted).square().mean() < 0.7 * (holes(inputs) - wanted).square().mean()


def columns_of(whole, slimmed, block, slim_block, part) -> torch.Tensor:
    """Which of a matrix's inputs a pruned network kept, told by the rows that make them."""
    maker, slim_maker = (
        (b.fc1.weight if part == "fc2" else b.qkv.weight[-b.heads * 64 :])
        for b in (block, slim_block)
    )
    assert len(slim_maker) == slimmed.weight.shape[1]
    assert len(maker) == whole.weight.shape[1]
    return (slim_maker[:, None] == maker[None]).all(2).nonzero()[:, 1]


def test_another_depth_is_refused() -> None:
    folded = fold(random_checkpoint(0, heads=2))
    with pytest.raises(DataError, match=r"width and depth are 64 and 1, the checkpoint's 64 and 2"):
        prune(folded, observe(folded, random_images(4), 0), Subnet(64, SLIM.blocks[:1]))
    wide = Subnet(64, (BlockConfig(3, 64, 0, 0, 0, 0), SLIM.blocks[1]))
    with pytest.raises(DataError, match=r"block 0 of the subnet has 3 heads"):
        prune(folded, observe(folded, random_images(4), 0), wide)


def test_fine_tuning_begins_with_what_rounding_found() -> None:
    checkpoint = random_checkpoint(0, heads=2)
    images = random_images(24, seed=1)
    quantised = quantise_on(checkpoint, images, SLIM, 0)
    network = quantised.network
    assert subnet_of(network) == SLIM
    recipe = TrainingRecipe(views=8)
    begun = from_rounding(quantised, checkpoint, images, recipe)
    inputs = patches(random_images(4, seed=3))
    with torch.no_grad():
        got = begun.supernet(inputs, SLIM).logits
        torch.testing.assert_close(got, network(inputs), rtol=0, atol=1e-4)
    fc2, bits = begun.supernet.blocks[0].fc2, network.blocks[0].fc2.bits
    steps = fc2.master.detach() * 7  # in 4-bit steps where the row has 4 bits
    off = (steps - steps.round()).abs()
    assert off[bits == 4].max() < 0.5
    assert off[bits == 4].mean() > 0.05  # not the middles of the cells
    assert off[bits == 8].max() < 1e-4  # their own integers


def test_a_subnet_is_fine_tuned_without_a_supernet(tmp_path: Path) -> None:
    save_file(random_tensors(0, heads=2), tmp_path / "deit_small.safetensors")
    write_tar(tmp_path / "mix.tar", random_images(32, seed=1, size=64))
    labels = [{"index": i, "wnid": f"n{i:08d}", "name": str(i)} for i in range(CLASSES)]
    (tmp_path / "imagenet_classes.json").write_text(json.dumps(labels))
    (tmp_path / "subnet.json").write_text(json.dumps(SLIM.to_dict()))
    (tmp_path / "recipe.yaml").write_text(
        "views: 16\nbatch: 8\nheld_out: 8\ncalibration: 16\nevaluate: 2\nsave: 1\nworkers: 0\n"
    )
    out = tmp_path / "m.safetensors"
    arguments = ["--checkpoint", str(tmp_path / "deit_small.safetensors"), "--no-fuse"]
    arguments += ["--images", str(tmp_path / "mix.tar"), "--name", "m", "--out", str(out)]
    arguments += ["--recipe", str(tmp_path / "recipe.yaml")]
    subnet = ["--subnet", str(tmp_path / "subnet.json")]
    result = CliRunner().invoke(finetune, [*arguments, *subnet])
    assert result.exit_code == 0, result.output
    model = read_model(out)
    assert [(b.heads, b.mlp) for b in model.blocks] == [(2, 64), (1, 96)]
    assert [b.fc1.rows8 for b in model.blocks] == [64, 48]
    again = CliRunner().invoke(finetune, [*arguments, *subnet])
    assert again.exit_code == 0, again.output
    first, second = tmp_path / "m.run", tmp_path / "second"
    more = [*arguments, *subnet, "--run", str(first), "--work", str(second)]
    result = CliRunner().invoke(finetune, more)
    assert result.exit_code == 0, result.output
    trained = read_model(out).provenance["training"]
    assert trained["after"]["views"] == 16
    one, two = load_run(first), load_run(second)
    assert not torch.equal(one.supernet.head.master, two.supernet.head.master)
    assert one.supernet.space.contains(SLIM)
    result = CliRunner().invoke(finetune, [*more, "--image-size", "64"])
    assert result.exit_code == 2
    assert "either --run or --image-size" in result.output
    result = CliRunner().invoke(finetune, arguments)
    assert result.exit_code == 2
    assert "give --subnet" in result.output
