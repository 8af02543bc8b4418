"""From a float checkpoint to an integer model that answers as it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.errors import DataError
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.file import model_from_bytes, model_to_bytes, read_model
from quasar_runtime.model.network import Model
from tests.train.export_cases import (
    CLASSES,
    random_checkpoint,
    random_images,
    random_tensors,
    write_tar,
)
from tests.train.train_cases import integer_activations
from train.commands.export import export as main
from train.data.labels import load_labels
from train.data.pictures import pictures
from train.data.source import Source
from train.networks.checkpoint import Checkpoint, float_logits, load_checkpoint
from train.networks.folded import patches
from train.pipelines.export import ModelFacts, export_model
from train.quantise.emit import emit
from train.quantise.quantise import ROW_GROUP, QuantisationRecipe, quantise, split_names
from train.spaces.space import BlockConfig, Subnet

LABELS = [(f"n{i:08d}", f"class {i}") for i in range(CLASSES)]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _precision_restored() -> Iterator[None]:
    """The command changes how PyTorch multiplies in this process."""
    before = torch.backends.mkldnn.matmul.fp32_precision
    yield
    torch.backends.mkldnn.matmul.fp32_precision = before


def integer_logits(model: Model, images: torch.Tensor) -> torch.Tensor:
    """The program's logits, by the reference."""
    program = compile_model(model, load_overlay("b1024"))
    rows = []
    for image in images.numpy():
        output = reference.run(program, image)
        rows.append(output[: 4 * program.classes].view("<i4") * program.scale)
    return torch.from_numpy(np.stack(rows)).float()


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Root mean square difference over the deviation of what was wanted."""
    return float((got - want).square().mean().sqrt() / want.std())


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mix") / "mix.tar"
    write_tar(path, random_images(64, seed=1))
    return path


def make(checkpoint: Checkpoint, images: Path, mix: float | Subnet, seed: int = 0) -> Model:
    recipe = QuantisationRecipe(mix, calibration=48, seed=seed)
    return export_model(checkpoint, images, recipe, ModelFacts("small", LABELS, "a command"))[0]


@pytest.mark.parametrize(("share8", "bound"), [(1.0, 0.08), (0.5, 0.3), (0.0, 0.45)])
def test_the_integer_program_answers_as_the_float_checkpoint_does(
    mix: Path, share8: float, bound: float
) -> None:
    checkpoint = random_checkpoint(seed=3, layer_scale=True)
    images = random_images(16, seed=9)
    model = make(checkpoint, mix, share8)
    error = relative_error(integer_logits(model, images), float_logits(checkpoint, images))
    assert error < bound


def test_the_quantised_network_answers_as_the_integer_program(mix: Path) -> None:
    checkpoint = random_checkpoint(seed=4)
    network, _ = quantise(checkpoint, mix, QuantisationRecipe(0.5, calibration=48))
    model = emit(network, "small", checkpoint.preprocessing, LABELS)
    images = random_images(8, seed=9)
    with torch.no_grad():
        predicted = network(patches(images))
    assert relative_error(integer_logits(model, images), predicted) < 1e-5


def test_an_exported_model_survives_its_file_and_names_its_origin(mix: Path) -> None:
    model = make(random_checkpoint(), mix, 0.25)
    read = model_from_bytes(model_to_bytes(model))
    rows = [m for n, m in read.linears().items() if n.startswith("blocks.")]
    assert abs(sum(m.rows8 for m in rows) - 0.25 * sum(m.rows for m in rows)) <= ROW_GROUP / 2
    assert read.patch.rows8 == read.patch.rows
    assert read.head.rows8 == read.head.rows
    assert read.provenance["weights"]["sha256"] == "0" * 64
    assert "post-training" in read.provenance["method"]
    used, _ = split_names(Source(mix), QuantisationRecipe(0.25))
    assert read.provenance["calibration"]["images"] == len(used) < 48  # there are no more


def test_the_same_seed_gives_the_same_bytes(mix: Path) -> None:
    first = make(random_checkpoint(), mix, 0.5, seed=5)
    second = make(random_checkpoint(), mix, 0.5, seed=5)
    assert model_to_bytes(first) == model_to_bytes(second)


def test_a_subnet_gives_the_counts_of_every_matrix_and_is_named_in_the_file(mix: Path) -> None:
    checkpoint = random_checkpoint()
    whole = checkpoint.width, checkpoint.depth
    subnet = Subnet(whole[0], (BlockConfig(1, 64, 0.5, 0.0, 0.25, 1.0),) * whole[1])
    model = make(checkpoint, mix, subnet)
    for block in model.blocks:
        rows8 = subnet.blocks[0].rows8(whole[0])
        counts = {m: int((getattr(block, m).bits == 8).sum()) for m in rows8}
        assert counts == rows8
        assert block.fc1.rows == 64
    assert model.provenance["subnet"] == subnet.to_dict()


def test_labels_of_another_number_of_classes_are_refused(mix: Path) -> None:
    with pytest.raises(DataError, match="9 labels for 10 classes"):
        export_model(
            random_checkpoint(), mix, QuantisationRecipe(1.0), ModelFacts("small", LABELS[:9], "")
        )


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_0_to_1_is_refused(mix: Path, share: float) -> None:
    with pytest.raises(DataError, match=r"share of 8-bit rows is .*allowed are 0 to 1"):
        make(random_checkpoint(), mix, share)


def test_the_command_writes_a_model_and_measures_it(mix: Path, tmp_path: Path) -> None:
    save_file(random_tensors(), tmp_path / "deit_small.safetensors")
    entries = [{"index": i, "wnid": w, "name": n} for i, (w, n) in enumerate(LABELS)]
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    for folder in ("n00000000", "n00000001"):
        (tmp_path / "eval" / folder).mkdir(parents=True)
        how = random_checkpoint().preprocessing
        source = Source(mix)
        save = pictures(source, source.names[:1], how)[0]
        Image.fromarray(save.numpy()).save(tmp_path / "eval" / folder / "a.png")
    out = tmp_path / "small.safetensors"
    arguments = [
        *("--checkpoint", str(tmp_path / "deit_small.safetensors"), "--images", str(mix)),
        *("--name", "small", "--out", str(out), "--bits", "8", "--calibration", "24"),
        *("--labels", str(tmp_path / "labels.json"), "--evaluate", str(tmp_path / "eval")),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert read_model(out).provenance["accuracy"]["images"] == 2
    assert "top-1" in result.output


@pytest.mark.parametrize("extra", [[], ["--bits", "8", "--share8", "0.5"]])
def test_bits_and_share_are_alternatives(extra: list[str]) -> None:
    arguments = ["--checkpoint", "a", "--images", "b", "--name", "c", "--out", "d", *extra]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "one of --bits, --share8 and --subnet" in result.output


@pytest.mark.parametrize(
    ("name", "out", "said"),
    [
        ("w_4", "w4.safetensors", "name is 'w_4'"),
        ("w4", "none/w4.safetensors", "none is no such folder"),
    ],
)
def test_what_could_not_be_written_is_refused_before_any_work(
    name: str, out: str, said: str
) -> None:
    arguments = ["--checkpoint", "a", "--images", "b", "--name", name, "--out", out, "--bits", "8"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_a_missing_checkpoint_ends_in_one_line() -> None:
    arguments = ["--checkpoint", "deit.safetensors", "--images", "b", "--name", "c", "--out", "d"]
    result = CliRunner().invoke(main, [*arguments, "--bits", "8"])
    assert result.exit_code == 1
    assert "deit.safetensors: no such file" in result.output


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data with the checkpoints is absent")
def test_deit_tiny_in_8_bits_answers_as_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.quantise.quantise.HELD_OUT", 12)
    monkeypatch.setattr("train.quantise.quantise.CLIP_IMAGES", 2)
    monkeypatch.setattr("train.quantise.calibrate.RANGE_CLIPPINGS", (1.0,))
    monkeypatch.setattr("train.quantise.calibrate.EVENNESS", (0.5, 0.75))
    checkpoint = load_checkpoint(DATA / "deit_tiny_patch16_224.safetensors")
    images = DATA / "imagenet_train_mix.tar"
    labels = load_labels(DATA / "imagenet_classes.json")
    network, report = quantise(checkpoint, images, QuantisationRecipe(1.0, calibration=24))
    model = emit(network, "deit", checkpoint.preprocessing, labels)
    assert report.final.agreement > 0.8
    source = Source(images)
    names = [n for n in source.names if "/imagen" in n][:4]
    sample = pictures(source, names, checkpoint.preprocessing)
    seen: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        network(patches(sample[:1]), seen.__setitem__)
    wanted = integer_activations(model, sample[0].numpy())
    for name, activations in seen.items():
        np.testing.assert_array_equal(activations.flatten(0, -2), wanted[name], name)
    got, want = integer_logits(model, sample), float_logits(checkpoint, sample)
    divergence = F.kl_div(
        got.log_softmax(1), want.log_softmax(1), log_target=True, reduction="batchmean"
    )
    # About 0.05 with so few calibration images; a fold gone wrong gives several.
    assert divergence < 0.15


def test_the_command_prunes_to_a_subnet_and_names_its_file(mix: Path, tmp_path: Path) -> None:
    save_file(random_tensors(), tmp_path / "deit_small.safetensors")
    entries = [{"index": i, "wnid": w, "name": n} for i, (w, n) in enumerate(LABELS)]
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    subnet = Subnet(64, (BlockConfig(1, 64, 0.5, 0.0, 0.25, 1.0),) * 2)
    (tmp_path / "narrow.json").write_text(json.dumps(subnet.to_dict()))
    out = tmp_path / "small.safetensors"
    arguments = [
        *("--checkpoint", str(tmp_path / "deit_small.safetensors"), "--images", str(mix)),
        *("--name", "small", "--out", str(out), "--subnet", str(tmp_path / "narrow.json")),
        *("--labels", str(tmp_path / "labels.json"), "--calibration", "24"),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    model = read_model(out)
    assert model.provenance["subnet"] == subnet.to_dict()
    assert model.provenance["command"] == (
        "quasar-train export --checkpoint deit_small.safetensors --images mix.tar --name small "
        "--subnet narrow.json --calibration 24 --seed 0 --labels labels.json "
        "--out small.safetensors"
    )
