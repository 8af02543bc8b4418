"""A search whose loss is a supernet's run, in small."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("optuna")

import optuna
import torch
from click.testing import CliRunner

from quasar_runtime.errors import DeviceNotFound
from quasar_runtime.isa.overlay import load_overlay
from tests.train.export_cases import random_checkpoint, random_images, write_tar
from train.commands.search import search as main
from train.cost.cycles import OverlayCost
from train.data.pictures import pictures
from train.data.recipe import TrainingRecipe
from train.data.source import Source
from train.networks.teacher import subnet_agreement, teacher_log_probabilities
from train.quantise.effects import measure_effects
from train.spaces.space import Space, Subnet
from train.training.initial import initial_state
from train.training.run_folder import RunSpec, facts_of, prepare
from train.training.supernet_loss import SupernetLoss
from train.training.train import calibration

SPACE = """
{image_size: 48, classes: 10, widths: [32, 64], depths: [1, 2], heads: [1], mlp: [64, 96],
 shares: [0, 0.5, 1]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """space.yaml, pictures.tar, and run/, a supernet at its beginning."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "whole.yaml").write_text(
        "{image_size: 48, classes: 10, widths: [64], depths: [2], heads: [1], mlp: [96],"
        " shares: [0, 0.5, 1]}"
    )
    write_tar(folder / "pictures.tar", random_images(32))
    recipe = TrainingRecipe(
        space=str(folder / "space.yaml"), views=8, held_out=8, calibration=24, batch=4, workers=0
    )
    source, checkpoint = Source(folder / "pictures.tar"), random_checkpoint()
    space = Space.load(recipe.space)
    spec = RunSpec(space, recipe, facts_of(checkpoint, source))
    prepare(
        folder / "run",
        spec,
        lambda: initial_state(
            checkpoint, space, calibration(checkpoint, source, source.names, recipe), recipe.seed
        ),
    )
    return folder


def test_the_loss_is_the_divergence_on_what_the_run_held_out(folder: Path) -> None:
    loss = SupernetLoss.load(folder / "run", folder / "pictures.tar")
    source = Source(folder / "pictures.tar")
    assert len(loss.images) == 8
    everything = pictures(source, source.names, random_checkpoint().preprocessing)
    for image in loss.images:
        assert any((image == other).all() for other in everything)
    subnet = Space.load(folder / "space.yaml").largest()
    run = loss.run
    targets = teacher_log_probabilities(run.teacher, loss.images)
    found = subnet_agreement(run.supernet, subnet, targets, loss.images)
    assert loss(subnet) == pytest.approx(found.divergence, rel=1e-3)
    assert found.divergence > 0


def test_without_the_engine_the_supernet_itself_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = SupernetLoss.load(folder / "run", folder / "pictures.tar")
    subnet = Space.load(folder / "space.yaml").smallest()
    fast = loss(subnet)

    def absent(*_: object, **__: object) -> None:
        raise DeviceNotFound("none")

    monkeypatch.setattr("train.training.supernet_loss.open_device", absent)
    assert loss(subnet) == pytest.approx(fast, rel=1e-3)


def test_a_subnet_that_no_file_can_hold_is_no_choice(folder: Path) -> None:
    loss = SupernetLoss.load(folder / "run", folder / "pictures.tar")
    with torch.no_grad():
        loss.run.supernet.blocks[0].fc1.steps.fill_(80)  # factors of more than 16 bits
    assert loss(Space.load(folder / "space.yaml").largest()) == math.inf


def test_the_command_searches_a_run(folder: Path, tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--run", str(folder / "run"), "--target", "5000", "--trials", "24"]
    arguments += [
        "--images",
        str(folder / "pictures.tar"),
        "--overlay",
        "b64",
        "--population",
        "12",
    ]
    result = CliRunner().invoke(main, [*arguments, "--space", str(folder / "space.yaml")])
    assert result.exit_code == 0, result.output
    front = json.loads((tmp_path / "front.json").read_text())["front"]
    assert len(front) > 1
    assert min(c["fps"] for c in front) >= 5000


def test_a_search_of_a_run_begins_with_the_mixes_of_the_effects(
    folder: Path, tmp_path: Path
) -> None:
    effects = measure_effects(random_checkpoint(), random_images(16))
    effects.save(tmp_path / "effects.npz")
    arguments = [str(tmp_path), "--run", str(folder / "run"), "--overlay", "b64"]
    arguments += ["--images", str(folder / "pictures.tar"), "--target", "3000"]
    arguments += ["--trials", "6", "--population", "12"]
    arguments += ["--effects", str(tmp_path / "effects.npz")]
    result = CliRunner().invoke(main, [*arguments, "--space", str(folder / "whole.yaml")])
    assert result.exit_code == 0, result.output
    space = Space.load(folder / "whole.yaml")
    cost = OverlayCost.of(space, load_overlay("b64"))
    path = effects.path(space, lambda subnet: cost(subnet).cycles)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'search.db'}")
    rated = [Subnet.from_dict(t.user_attrs["found"]["subnet"]) for t in study.trials]
    assert set(rated) & set(path[1:-1])


@pytest.mark.parametrize("options", [[], ["--run", "r"], ["--images", "i"]])
def test_one_kind_of_loss_is_asked_for(options: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path), "--target", "100", *options])
    assert result.exit_code == 2
    assert "give --effects, or --run with --images, or all three" in result.output
