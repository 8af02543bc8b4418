"""Training runs that differ in one thing, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.train.export_cases import random_checkpoint, random_images, write_tar
from train.data.recipe import TrainingRecipe
from train.networks.teacher import TeacherAgreement
from train.pipelines.ablate_training import Bench, variant_table
from train.pipelines.variants import VARIANTS

SMALL_SPACE = """
{image_size: 48, classes: 10, widths: [32, 64], depths: [1, 2], heads: [1], mlp: [64, 96],
 shares: [0, 0.5, 1]}
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "small.yaml").write_text(SMALL_SPACE)
    write_tar(folder / "pictures.tar", random_images(40))
    recipe = TrainingRecipe(
        space=str(folder / "small.yaml"),
        views=8,
        held_out=8,
        calibration=24,
        batch=4,
        workers=0,
        rate=1e-2,
    )
    labels = [(f"n{i:08d}", f"class {i}") for i in range(10)]
    return Bench.make(random_checkpoint(), folder / "pictures.tar", recipe, labels)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains_and_is_compared_on_held_out_pictures(
    bench: Bench, name: str, tmp_path: Path
) -> None:
    before = {key: value.clone() for key, value in bench.begun.supernet.state_dict().items()}
    found = bench.run(VARIANTS[name], tmp_path / "run")
    alone = VARIANTS[name].alone
    assert set(found) == ({alone} if alone else {"8-bit", "half", "4-bit", "smallest"})
    assert all(near.divergence > 0 and 0 <= near.agreement <= 1 for near in found.values())
    assert all(torch.equal(v, before[k]) for k, v in bench.begun.supernet.state_dict().items())
    steps = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum("loss" in json.loads(line) for line in steps) == 2


def test_variants_differ(bench: Bench, tmp_path: Path) -> None:
    names = ["as it is", "no layer scaling", "random 8-bit rows", "weights of its own: half"]
    half = [bench.run(VARIANTS[n], tmp_path / n)["half"].divergence for n in names]
    assert len(set(half)) == len(names)
    assert bench.run(VARIANTS[names[0]], tmp_path / "again")["half"].divergence == half[0]


def test_the_table_has_a_line_a_run() -> None:
    found = {
        "one": {"a": TeacherAgreement(0.5, 0.25), "b": TeacherAgreement(1, 1)},
        "two": {"b": TeacherAgreement(2, 0)},
    }
    assert variant_table(found).splitlines()[2:] == [
        "| one | 0.5000 (25.0 %) | 1.0000 (100.0 %) |",
        "| two |  | 2.0000 (0.0 %) |",
    ]
