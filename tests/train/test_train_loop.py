"""The training loop: what a step does, and that a run goes on as if it had never been stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from quasar_runtime.errors import DataError
from quasar_runtime.model.file import read_model
from tests.train.export_cases import CLASSES, SIZE, random_images, random_tensors, write_tar
from tests.train.train_cases import MIXED, SPACE, small_start
from train.commands.finetune import finetune
from train.commands.plot import plot
from train.commands.supernet import supernet
from train.data.recipe import RECIPES, TrainingRecipe
from train.data.source import Source
from train.data.views import Augmentation, Batches, Views, split, view
from train.networks.folded import patches
from train.networks.supernet import Answer
from train.networks.teacher import (
    divergence,
    subnet_agreement,
    teacher_forward,
    teacher_log_probabilities,
)
from train.spaces.space import Subnet
from train.training.run_folder import check_same, folded_from, load_run, save_state
from train.training.trainer import (
    Process,
    Trainer,
    kept_tokens,
    learning_rate,
    loss_of,
    mixed,
    sandwich,
)

RECIPE = TrainingRecipe(views=64, batch=8, random=1, rate=1e-3, held_out=8, calibration=24)


def trained(trainer: Trainer, steps: int) -> Trainer:
    """`steps` steps on pictures that follow from the step's number."""
    for _ in range(steps):
        trainer.train_step(random_images(8, seed=trainer.step))
    return trainer


def same_weights(one: Trainer, two: Trainer) -> bool:
    """Whether weights, averages and optimisers are equal to the last bit."""
    states = [{**t.supernet.state_dict(), **{f"~{n}": v for n, v in t.average.items()}}
              for t in (one, two)]  # fmt: skip
    moments = [t.optimiser.state_dict()["state"] for t in (one, two)]
    return all(torch.equal(states[0][n], states[1][n]) for n in states[0]) and all(
        torch.equal(moments[0][i][k], moments[1][i][k]) for i in moments[0] for k in moments[0][i]
    )


# --- a step ---


def test_a_few_steps_bring_a_4_bit_subnet_nearer_to_the_teacher() -> None:
    begun = small_start()
    subnet = Subnet.uniform(64, 3, 2, 96, 0.0)
    images = random_images(64, seed=2)
    targets = teacher_log_probabilities(begun.teacher, images)
    before = subnet_agreement(begun.supernet, subnet, targets, images).divergence
    recipe = replace(RECIPE, views=200 * 8, ema=0.9)
    trainer = Trainer(begun.supernet, begun.teacher, recipe, fixed=[subnet])
    trained(trainer, 200)
    after = subnet_agreement(trainer.averaged(), subnet, targets, images).divergence
    assert after < 0.8 * before


def test_a_step_trains_the_largest_the_smallest_and_some_more() -> None:
    subnets = sandwich(SPACE, replace(RECIPE, random=2), 5)
    assert subnets[:2] == [SPACE.largest(), SPACE.smallest()]
    assert len(subnets) == 4
    assert all(SPACE.contains(s) for s in subnets)
    assert subnets == sandwich(SPACE, replace(RECIPE, random=2), 5)
    assert subnets != sandwich(SPACE, replace(RECIPE, random=2), 6)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    recipe = replace(RECIPE, views=8000, warmup=0.1)
    assert learning_rate(recipe, 0) == pytest.approx(recipe.rate / 100)
    assert learning_rate(recipe, 99) == learning_rate(recipe, 100) == pytest.approx(recipe.rate)
    assert learning_rate(recipe, 550) == pytest.approx(recipe.rate / 2)
    assert learning_rate(recipe, 999) < 1e-5 * recipe.rate


def test_the_loss_is_what_the_recipe_asks_for() -> None:
    begun = small_start()
    inputs = patches(random_images(4, seed=0))
    targets = teacher_forward(begun.teacher, inputs, (1,))
    answer = Answer(torch.zeros(4, CLASSES), {1: torch.zeros(4, 10, 32)})
    plain = replace(RECIPE, hint=0.0)
    far = divergence(answer.logits, targets.log_probabilities)
    assert loss_of(answer, targets, None, None, plain) == far
    hinted = loss_of(answer, targets, None, None, replace(RECIPE, hint=2.0))
    assert hinted == far + 2 * targets.residuals[1][..., :32].square().mean()
    largest = torch.full((4, CLASSES), 0.1).log()
    assert loss_of(answer, None, largest, None, replace(RECIPE, inplace=1.0)) == pytest.approx(0)
    classes = torch.zeros(4, dtype=torch.int64)
    labelled = loss_of(answer, None, None, classes, replace(RECIPE, label=1.0))
    assert labelled == pytest.approx(torch.tensor(10.0).log().item())


def test_a_temperature_compares_all_classes() -> None:
    generator = torch.Generator().manual_seed(1)
    wanted = torch.randn(4, 50, dtype=torch.float64, generator=generator).log_softmax(1)
    answer = wanted.clone()
    least = wanted.argmin(1)
    answer[torch.arange(4), least] -= 3.0
    warm = [float(divergence(answer, wanted, t)) for t in (1.0, 4.0, 1000.0)]
    assert warm[0] < warm[1] < warm[2]
    difference = answer - wanted
    half_variance = 0.5 * difference.var(1, unbiased=False).mean()
    assert warm[2] == pytest.approx(float(half_variance), rel=0.01)
    assert float(divergence(wanted + 5.0, wanted, 4.0)) == pytest.approx(0.0, abs=1e-5)


def test_a_mixture_has_a_share_of_another_picture_of_the_batch() -> None:
    images = random_images(8, seed=1)
    assert mixed(images, RECIPE, 0) is images
    half = replace(RECIPE, mixup=0.5)
    shares = set()
    for step in range(20):
        got = mixed(images, half, step)
        assert got.dtype == torch.uint8
        assert torch.equal(got, mixed(images, half, step))
        a, b = images[0].double(), images.double()
        # The other picture and its share: what explains the first mixture but for rounding.
        fits = []
        for other in range(1, 8):
            d = b[other] - a
            share = float(((got[0].double() - a) * d).sum() / (d * d).sum())
            if float((a + share * d - got[0].double()).abs().max()) < 1.0:
                fits.append(share)
        assert len(fits) == 1
        assert -0.01 <= fits[0] <= 0.5
        shares.add(round(fits[0], 3))
    assert len(shares) > 10
    with pytest.raises(DataError, match=r"mixup is 1, allowed is a share below 1"):
        TrainingRecipe.parse("mine.yaml", {"views": 64, "mixup": 1})
    with pytest.raises(DataError, match=r"a mixture of pictures has no class"):
        TrainingRecipe.parse("mine.yaml", {"views": 64, "mixup": 0.5, "label": 1.0})


def test_a_step_keeps_a_share_of_the_patches_and_always_cls() -> None:
    assert kept_tokens(9, RECIPE, 0) is None
    half = replace(RECIPE, tokens=0.5)
    kept = [kept_tokens(9, half, step) for step in range(20)]
    for tokens in kept:
        assert tokens is not None
        assert tokens[0] == 0
        assert len(tokens.unique()) == 1 + round(0.5 * 9)
        assert torch.equal(tokens, tokens.sort().values)
    assert len({tuple(t.tolist()) for t in kept if t is not None}) > 10
    again = kept_tokens(9, half, 7)
    assert again is not None
    assert kept[7] is not None
    assert torch.equal(again, kept[7])
    with pytest.raises(DataError, match=r"tokens is 1\.5, allowed is a share up to 1"):
        TrainingRecipe.parse("mine.yaml", {"views": 64, "tokens": 1.5})


def test_kept_patches_have_their_own_positions_in_network_and_teacher() -> None:
    begun = small_start()
    inputs, every = patches(random_images(4, seed=3)), torch.arange(10)
    subnet = SPACE.largest()
    whole = begun.supernet(inputs, subnet).logits
    assert torch.equal(begun.supernet(inputs, subnet, tokens=every).logits, whole)
    tokens = torch.tensor([0, 2, 3, 7, 9])
    kept = begun.supernet(inputs[:, tokens], subnet, tokens=tokens).logits
    other = torch.tensor([0, 1, 3, 7, 9])
    assert not torch.equal(begun.supernet(inputs[:, tokens], subnet, tokens=other).logits, kept)
    targets = teacher_forward(begun.teacher, inputs[:, tokens], (1,), tokens)
    # attention that cannot see a token is a network without it
    assert divergence(kept, targets.log_probabilities) < divergence(
        kept, teacher_forward(begun.teacher, inputs, ()).log_probabilities
    )
    assert targets.residuals[1].shape == (4, 5, 64)


def test_a_run_that_drops_patches_learns_too() -> None:
    begun = small_start()
    subnet = Subnet.uniform(64, 3, 2, 96, 0.0)
    images = random_images(64, seed=2)
    targets = teacher_log_probabilities(begun.teacher, images)
    before = subnet_agreement(begun.supernet, subnet, targets, images).divergence
    recipe = replace(RECIPE, views=160 * 8, ema=0.9, tokens=0.6)
    trainer = trained(Trainer(begun.supernet, begun.teacher, recipe, fixed=[subnet]), 160)
    after = subnet_agreement(trainer.averaged(), subnet, targets, images).divergence
    assert after < 0.8 * before  # 0.5 to 0.6, by how the processor rounds


def test_layer_scaling_can_be_left_out() -> None:
    names = [n for n, _ in small_start().supernet.named_parameters() if n.endswith("gamma")]
    assert len(names) == 6
    supernet = type(small_start().supernet)(SPACE, layer_scaling=False)
    assert not [n for n, _ in supernet.named_parameters() if n.endswith("gamma")]


# --- stopping and going on ---


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    begun = small_start()
    whole = trained(Trainer(begun.supernet, begun.teacher, RECIPE), 4)
    begun = small_start()
    half = trained(Trainer(begun.supernet, begun.teacher, RECIPE), 2)
    save_state(tmp_path, half)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    resumed = Trainer(small_start().supernet, folded_from(saved["teacher"]), RECIPE)
    resumed.restore(saved)
    assert not same_weights(whole, resumed)
    assert same_weights(whole, trained(resumed, 2))


def test_a_run_goes_on_with_the_same_recipe_only(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    facts = {"recipe": RECIPE.to_dict(), "images": "mix.tar"}
    path.write_text(json.dumps(facts))
    check_same(path, facts)
    changed = {"recipe": replace(RECIPE, batch=16).to_dict(), "images": "mix.tar"}
    with pytest.raises(DataError, match="begun with batch = 8, now it is 16; go on with the same"):
        check_same(path, changed)


def test_a_state_from_before_a_buffer_was_renamed_goes_on(tmp_path: Path) -> None:
    """Until December 2026 `importance` was called `worth`."""
    trainer = trained(Trainer(small_start().supernet, small_start().teacher, RECIPE), 1)
    state = trainer.state()
    new = state["supernet"]
    state["supernet"] = {n.replace(".importance", ".worth"): v for n, v in new.items()}
    assert set(state["supernet"]) != set(new)
    resumed = Trainer(small_start().supernet, small_start().teacher, RECIPE)
    for matrix in resumed.supernet.matrices().values():
        matrix.importance.fill_(-1.0)
    resumed.restore(state)
    for name, value in resumed.supernet.state_dict().items():
        assert torch.equal(value, new[name]), name


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no training run"):
        load_run(tmp_path)


# --- several processes ---

PROCESS = """
import sys
import torch
import torch.distributed as dist
sys.path.insert(0, sys.argv[2])
from tests.train.train_cases import small_start
from tests.train.export_cases import random_images
from tests.train.test_train_loop import RECIPE
from train.training.trainer import Process, Trainer
process = Process.join()
torch.set_num_threads(1)
begun = small_start()
trainer = Trainer(begun.supernet, begun.teacher, RECIPE, process=process)
images = random_images(8, seed=3)[process.rank :: process.world]
trainer.train_step(images)
if process.rank == 0:
    gradients = {n: p.grad for n, p in trainer.supernet.named_parameters()}
    torch.save(gradients, sys.argv[1])
dist.destroy_process_group()
"""


def test_two_processes_have_the_gradients_of_one_with_their_pictures_together(
    tmp_path: Path,
) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [sys.executable, str(script), str(tmp_path / "gradients.pt")]
    arguments += [str(Path(__file__).parents[2])]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(arguments, env={**common, "RANK": str(rank), "WORLD_SIZE": "2"})
        for rank in range(2)
    ]
    try:
        assert [p.wait(timeout=300) for p in processes] == [0, 0]
    finally:
        for p in processes:
            p.kill()
    together: dict[str, Tensor] = torch.load(tmp_path / "gradients.pt", weights_only=True)
    begun = small_start()
    alone = Trainer(begun.supernet, begun.teacher, RECIPE)
    alone.train_step(random_images(8, seed=3))
    for name, parameter in alone.supernet.named_parameters():
        assert parameter.grad is not None
        near = 0.05 * float(parameter.grad.norm()) + 1e-7  # sums in bfloat16, in another order
        assert float((together[name] - parameter.grad).norm()) < near, name


def test_processes_share_out_a_batch() -> None:
    whole = list(Batches(20, 8, 0, 0, 5))
    parts = [list(Batches(20, 8, 0, 0, 5, rank, 2)) for rank in range(2)]
    for step, keys in enumerate(whole):
        assert sorted(parts[0][step] + parts[1][step]) == sorted(keys)
        assert len(set(keys)) == 8
    assert list(Batches(20, 8, 0, 3, 5)) == whole[3:]
    assert [keys[0][0] for keys in whole] == [0, 0, 1, 1, 2]


# --- pictures ---


def test_a_view_follows_from_seed_epoch_and_picture(tmp_path: Path) -> None:
    write_tar(tmp_path / "mix.tar", random_images(4, size=64))
    source = Source(tmp_path / "mix.tar")
    views = Views(source, source.names, SIZE, Augmentation(), 7)
    first, folder, left_out = views[(0, 1)]
    assert left_out == ()
    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == torch.uint8
    assert folder == source.names[1].split("/")[0]
    assert torch.equal(first, Views(source, source.names, SIZE, Augmentation(), 7)[(0, 1)][0])
    assert not torch.equal(first, views[(1, 1)][0])
    assert not torch.equal(first, Views(source, source.names, SIZE, Augmentation(), 8)[(0, 1)][0])


def test_a_view_without_change_is_the_picture() -> None:
    import random

    picture = Image.fromarray(random_images(1)[0].numpy())
    rng = random.Random(1)
    seen = {
        bytes(view(picture, SIZE, Augmentation(1.0, 1.0, 0.0), rng).tobytes()) for _ in range(8)
    }
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert seen == {picture.tobytes(), mirrored.tobytes()}


def test_pictures_held_out_are_never_trained_on() -> None:
    names = [f"n{i % 3}/{part}_{i}.png" for i in range(20) for part in ("a", "b", "c")]
    recipe = TrainingRecipe(views=1, parts={"a": 1, "b": 3, "c": 0}, held_out=10)
    parts = split(names, recipe)
    assert len(parts.held_out) == 10
    assert not set(parts.held_out) & set(parts.train)
    often = {n: parts.train.count(n) for n in parts.train}
    assert {n: c for n, c in often.items() if n.split("/")[1].startswith("b")} == {
        n: 3 for n in often if n.split("/")[1].startswith("b")
    }
    assert not [n for n in parts.train if "/c_" in n]
    with pytest.raises(DataError, match="no picture's name begins with x"):
        split(names, replace(recipe, parts={"x": 1}))
    with pytest.raises(DataError, match="40 of 40 pictures are to be held out"):
        split(names, replace(recipe, parts={"a": 1, "b": 1}, held_out=40))


def test_whole_classes_are_held_out_and_the_others_seen_alike() -> None:
    names = [f"n{c}/{i}.png" for c in range(10) for i in range(3 + 4 * c)]
    parts = split(names, TrainingRecipe(views=1, held_out=8, unseen=0.2, per_class=20))
    held, seen = ({n.split("/")[0] for n in names} for names in (parts.held_out, parts.train))
    assert len(held) == 2
    assert not held & seen
    assert len(seen) == 8
    assert all(sum(n.startswith(f"{c}/") for n in parts.train) == 20 for c in seen)
    often = [parts.train.count(f"{min(seen)}/{i}.png") for i in range(3)]
    assert max(often) - min(often) <= 1
    with pytest.raises(DataError, match="all pictures are of one class"):
        split(["n0/0.png", "n0/1.png"], TrainingRecipe(views=1, held_out=1, unseen=0.2))
    with pytest.raises(DataError, match="unseen is 1, allowed is a share below 1"):
        TrainingRecipe.parse("mine.yaml", {"views": 64, "unseen": 1})


# --- recipes ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": 64, "bach": 8}, r"unknown setting 'bach'; did you mean 'batch'"),
        ({"batch": 8}, r"lacks the setting 'views'"),
        ({"views": 64, "rate": "fast"}, r"rate is 'fast', expected float"),
        ({"views": 64, "rate": -1.0}, r"rate is -1\.0, expected float, not negative"),
        ({"views": 64, "parts": ["a"]}, r"parts is \['a'\]"),
        ({"views": 4, "batch": 8}, r"4 views in batches of 8 is no step"),
        ({"views": 64, "teacher": 0, "label": 0}, r"nothing to learn"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TrainingRecipe.parse("mine.yaml", settings)


def test_every_recipe_can_be_read() -> None:
    recipes = sorted(p.stem for p in RECIPES.glob("*.yaml"))
    assert recipes
    for name in recipes:
        assert TrainingRecipe.load(name).steps > 0
    with pytest.raises(DataError, match="no recipe 'vit_tyni'; did you mean 'vit_tiny'"):
        TrainingRecipe.load("vit_tyni")


# --- the commands ---


def test_a_run_and_a_fine_tuned_model_from_the_commands(tmp_path: Path) -> None:
    save_file(random_tensors(0, depth=3, heads=2), tmp_path / "deit_small.safetensors")
    write_tar(tmp_path / "mix.tar", random_images(40, seed=1, size=64))
    labels = [{"index": i, "wnid": f"n{i:08d}", "name": str(i)} for i in range(CLASSES)]
    (tmp_path / "imagenet_classes.json").write_text(json.dumps(labels))
    (tmp_path / "space.yaml").write_text(
        f"image_size: {SIZE}\nclasses: {CLASSES}\nwidths: [32, 64]\ndepths: [2, 3]\n"
        "heads: [1, 2]\nmlp: [64, 96]\nshares: [0, 0.5, 1]\n"
    )
    (tmp_path / "recipe.yaml").write_text(
        f"space: {tmp_path / 'space.yaml'}\nviews: 16\nbatch: 8\nheld_out: 8\ncalibration: 16\n"
        "evaluate: 2\nsave: 1\nworkers: 0\n"
    )
    (tmp_path / "subnet.json").write_text(json.dumps(MIXED.to_dict()))
    common = ["--checkpoint", str(tmp_path / "deit_small.safetensors"), "--no-fuse"]
    common += ["--images", str(tmp_path / "mix.tar"), "--recipe", str(tmp_path / "recipe.yaml")]
    folder = tmp_path / "run"
    result = CliRunner().invoke(supernet, [*common, "--out", str(folder)])
    assert result.exit_code == 0, result.output
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == [0, 1, 2, 2]
    for line in (lines[0], lines[3]):
        assert set(line["divergence"]) == {"8-bit", "half", "4-bit", "smallest"}
    out = tmp_path / "model.safetensors"
    arguments = [*common, "--run", str(folder), "--subnet", str(tmp_path / "subnet.json")]
    result = CliRunner().invoke(finetune, [*arguments, "--name", "m", "--out", str(out)])
    assert result.exit_code == 0, result.output
    model = read_model(out)
    assert (model.width, model.depth) == (64, 2)
    assert [b.mlp for b in model.blocks] == [96, 64]
    training = model.provenance["training"]
    assert training["steps"] == 2
    assert training["evaluated"] == [0, 2]
    assert training["divergence"][1] == model.provenance["held_out"]["kl_to_teacher"]
    assert model.blocks[0].fc1.rows8 == 96


def test_there_is_one_process_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Process.join().world == 1


def test_the_metrics_are_plotted(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    losses = [{"step": i, "loss": 1 / i, "largest": 1 / i, "smallest": 2 / i} for i in (1, 2, 3)]
    lines = [*losses, {"step": 3, "divergence": {"8-bit": 0.1}, "agreement": {"8-bit": 0.9}}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    result = CliRunner().invoke(plot, [str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "<svg" in (tmp_path / "metrics.svg").read_text()
    result = CliRunner().invoke(plot, [str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "holds no metrics that can be read" in result.output
