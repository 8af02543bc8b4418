"""How the zoo command makes a model that is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from quasar_runtime.model.file import write_model
from tests.train.export_cases import CLASSES, SIZE, random_checkpoint, random_images, write_tar
from train.pipelines import zoo
from train.quantise.quantise import QuantisationRecipe
from train.spaces.space import Subnet

LABELS = [(f"n{i:08d}", str(i)) for i in range(CLASSES)]
HALF = Subnet.uniform(64, 2, 1, 96, 0.5)


def test_a_trained_entry_is_made_from_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "short.yaml"
    recipe.write_text(
        "views: 16\nbatch: 8\nheld_out: 8\ncalibration: 16\nevaluate: 1\nsave: 1\nworkers: 0\n"
    )
    write_tar(tmp_path / "mix.tar", random_images(40, seed=1, size=64))
    entry = zoo.Entry(
        "float.safetensors", QuantisationRecipe(HALF, image_size=SIZE), training=str(recipe)
    )
    monkeypatch.setitem(zoo.ZOO, "m", entry)

    def made(path: Path) -> bytes:
        source = random_checkpoint()
        model = zoo.trained("m", source, tmp_path / "mix.tar", LABELS, tmp_path / "work")
        training = model.provenance["training"]
        assert training["steps"] == 2
        assert training["evaluated"] == [0, 1, 2]
        assert len(training["divergence"]) == 3
        assert model.provenance["subnet"] == HALF.to_dict()
        assert model.provenance["command"] == (
            f"quasar-train finetune --subnet m.json --image-size {SIZE} --checkpoint "
            "float.safetensors --images mix.tar --recipe short.yaml --name m --out m.safetensors"
        )
        write_model(model, path)
        return path.read_bytes()

    first = made(tmp_path / "first.safetensors")
    assert (tmp_path / "work" / "last.pt").exists()
    assert made(tmp_path / "second.safetensors") == first
