"""From a float checkpoint to a model file, by post-training quantisation.

    python -m train.export --checkpoint deit_tiny_patch16_224.safetensors \\
        --images imagenet_train_mix.tar --bits 8 --name deit-tiny-w8 --out deit-tiny-w8.safetensors

fold -> tame massive units -> calibrate scales -> choose 8-bit rows -> round -> emit.
docs/accuracy.md says what each step is worth.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor

from quasar_runtime.errors import DataError, QuasarError
from quasar_runtime.model import Model, Preprocessing
from quasar_runtime.model_file import write_model
from quasar_runtime.validate import check_name
from train.calibrate import build, observe, search_hidden_ranges
from train.checkpoint import PRESETS, Checkpoint, load_checkpoint
from train.cost import read_subnet
from train.data import (
    Source,
    calibration_prefixes,
    classes_apart,
    in_turn,
    list_pictures,
    load_labels,
    pictures,
    to_calibrate_on,
)
from train.emit import emit
from train.evaluate import Accuracy, Nearness, nearness, program_accuracy, teacher_accuracy
from train.fold import Folded, fold
from train.massive import Tamed, tame
from train.network import QuantisedNetwork
from train.prune import prune
from train.rounding import round_network
from train.rows import choose_rows, choose_rows_of, row_costs, row_effects
from train.space import Subnet

TAME_IMAGES = 32
CLIP_IMAGES = 32
HELD_OUT = 128
APART = 0.125
"""Share of the classes whose pictures are held out: what is calibrated has seen none of them, as it
will not have seen most of what it is asked."""
THREADS = 2
ROW_GROUP = 32
"""Rows of a matrix that change precision together: digit rows of the widest array, `b8192`."""
LICENCE = "Apache-2.0, as is the checkpoint from which the model is derived"


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    mix          share of the blocks' rows that are 8-bit, 0 to 1; or a subnet, to which the
                 checkpoint is pruned, with shares of its own for every matrix
    calibration  images for scales and rounding
    seed         of every random choice
    image_size   of the pictures; None for the checkpoint's
    """

    mix: float | Subnet
    calibration: int = 512
    seed: int = 0
    image_size: int | None = None


@dataclass(frozen=True)
class Report:
    """What was found on the way: tamed units, clipped ranges, nearness to the float network on
    held-out pictures, the rows' share of the work."""

    tamed: list[Tamed]
    clipped: dict[int, float]
    final: Nearness
    macs8: float


def set_up() -> None:
    """Two threads, and bfloat16 products in float32 matrix multiplications where the CPU has them.

    The integer products of the quantised network are exact all the same, the float network's
    logits differ by about 0.01; accuracy of the float network is measured in full float32.
    """
    torch.set_num_threads(THREADS)
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def split_pictures(images: Path, how: Preprocessing, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """(calibration, held out): uint8 (N, S, S, 3), drawn with the seed, no class in both.

    DataError where all pictures are of one class.
    """
    source = Source(images)
    names = to_calibrate_on(source.names)
    used, apart = classes_apart(names, APART, recipe.seed)
    if not apart:
        raise DataError(
            f"all pictures of {images.name} are of one class; those of another are needed to "
            "measure what was calibrated on the first"
        )
    parts = (
        in_turn(used, recipe.seed)[: recipe.calibration],
        in_turn(apart, recipe.seed)[:HELD_OUT],
    )
    calibration, held_out = (pictures(source, part, how) for part in parts)
    return calibration, held_out


def quantise(
    checkpoint: Checkpoint, images: Path, recipe: Recipe
) -> tuple[QuantisedNetwork, Report]:
    """The quantised network of a checkpoint. DataError for a recipe or images that cannot be."""
    if not isinstance(recipe.mix, Subnet) and not 0 <= recipe.mix <= 1:
        raise DataError(f"the share of 8-bit rows is {recipe.mix}, allowed are 0 to 1")
    calibration, held_out = split_pictures(images, checkpoint.preprocessing, recipe)
    done = quantise_on(checkpoint, calibration, recipe.mix, recipe.seed)
    final = nearness(done.network, fold(checkpoint), held_out)
    return done.network, Report(done.tamed, done.clipped, final, macs8(done.network))


class Quantised(NamedTuple):
    """A quantised network, the same before its weights were rounded, the float one that they were
    rounded to (tamed and pruned), its tamed units and its clipped ranges."""

    network: QuantisedNetwork
    unrounded: QuantisedNetwork
    folded: Folded
    tamed: list[Tamed]
    clipped: dict[int, float]


def quantise_on(
    checkpoint: Checkpoint, images: Tensor, mix: float | Subnet, seed: int
) -> Quantised:
    """Post-training quantisation on uint8 images (N, S, S, 3).

    mix: the share of 8-bit rows over all matrices; or a subnet, to which the checkpoint is pruned,
    with shares of its own for every matrix.
    """
    folded = fold(checkpoint)
    found = observe(folded, images[:TAME_IMAGES], seed)
    tamed = tame(folded, found, images[:TAME_IMAGES])
    found = observe(folded, images, seed)
    if isinstance(mix, Subnet):
        folded = prune(folded, found, mix)
        found = observe(folded, images, seed)
    network = build(folded, found, mix.share8() if isinstance(mix, Subnet) else mix)
    clipped = search_hidden_ranges(network, folded, found, images[:CLIP_IMAGES])
    effects = row_effects(network, folded, found)
    if isinstance(mix, Subnet):
        bits = choose_rows_of(effects, mix)
    else:
        bits = choose_rows(effects, row_costs(folded), mix, ROW_GROUP)
    unrounded = deepcopy(network)
    round_network(network, folded, bits, images)
    return Quantised(network, unrounded, folded, tamed, clipped)


def macs8(network: QuantisedNetwork) -> float:
    """The share of the blocks' weights that are in 8-bit rows, so of their work on one token."""
    wide = total = 0
    for block in network.blocks:
        for layer in (block.qkv, block.proj, block.fc1, block.fc2):
            rows, inputs = layer.weight.shape
            wide += int((layer.bits == 8).sum()) * inputs
            total += rows * inputs
    return wide / total


def rows8(subnet: Subnet) -> float:
    """The share of the blocks' rows that are 8-bit."""
    rows = sum(n for b in subnet.blocks for n, _ in b.shapes(subnet.width).values())
    return sum(n for b in subnet.blocks for n in b.rows8(subnet.width).values()) / rows


def weights_facts(checkpoint: Checkpoint) -> dict[str, str]:
    """Where the float weights come from."""
    return {
        "from": f"{checkpoint.preset.family}, {checkpoint.preset.weights}",
        "file": checkpoint.file,
        "sha256": checkpoint.sha256,
        "licence": LICENCE,
    }


def provenance(
    checkpoint: Checkpoint, images: Path, recipe: Recipe, report: Report, command: str
) -> dict[str, Any]:
    """Where the model comes from and how it was made; accuracy is added when it is measured."""
    mix = recipe.mix
    share = rows8(mix) if isinstance(mix, Subnet) else mix
    kind = {0.0: "all rows 4-bit", 1.0: "all rows 8-bit"}.get(
        share, f"{100 * share:.3g} % of the rows 8-bit, the others 4-bit"
    )
    steps = "channel evening, range search, error-compensating rounding"
    return {
        "summary": f"{checkpoint.preset.family}, {kind}; post-training quantisation",
        "teacher": checkpoint.file.removesuffix(".safetensors"),
        "weights": weights_facts(checkpoint),
        "method": f"post-training quantisation without labels: {steps}; activations 8-bit; "
        "patch embedding and classifier 8-bit",
        "calibration": {
            "data": images.name,
            "pictures": list(calibration_prefixes(list_pictures(images))),
            "images": recipe.calibration,
            "seed": recipe.seed,
        },
        "rows8": round(share, 4),
        "subnet": mix.to_dict() if isinstance(mix, Subnet) else None,
        "macs8": round(report.macs8, 4),
        "tamed_units": [asdict(t) for t in report.tamed],
        "held_out": {
            "images": HELD_OUT,
            "kl_to_teacher": round(report.final.divergence, 5),
            "agreement_with_teacher": round(report.final.agreement, 5),
        },
        "command": command,
    }


def check_output(name: str, out: Path) -> None:
    """QuasarError, before any work, for a name or a file that could not be written after it."""
    check_name(name)
    if not out.absolute().parent.is_dir():
        raise DataError(f"no folder {out.parent} for {out.name}; make it, or choose another --out")


def accuracy_facts(model: Accuracy, teacher: Accuracy, dataset: str) -> dict[str, Any]:
    """The accuracy entry of a model's provenance."""
    return {
        "dataset": dataset,
        "images": model.images,
        "top1": model.top1,
        "top5": model.top5,
        "teacher_top1": teacher.top1,
        "teacher_top5": teacher.top5,
        "measured_with": "the integer program",
    }


def export(
    checkpoint: Checkpoint,
    images: Path,
    labels: list[tuple[str, str]],
    recipe: Recipe,
    name: str,
    command: str,
) -> tuple[Model, Report]:
    """The whole way; the accuracy is not yet measured."""
    if len(labels) != checkpoint.classes:
        raise DataError(
            f"{len(labels)} labels for {checkpoint.classes} classes; give the labels of the data "
            "that the checkpoint was trained on"
        )
    network, report = quantise(checkpoint, images, recipe)
    model = emit(network, name, checkpoint.preprocessing, labels)
    model.provenance = provenance(checkpoint, images, recipe, report, command)
    model.target = {"overlay": "b1024", "fps": None}
    return model, report


def measure(model: Model, checkpoint: Checkpoint, folder: Path, dataset: str) -> None:
    """Add the integer program's and the teacher's accuracy on `folder` to the provenance."""
    teacher = teacher_accuracy(checkpoint, folder, tuple(model.labels))
    model.provenance["accuracy"] = accuracy_facts(program_accuracy(model, folder), teacher, dataset)


@click.command()
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="Calibration: ImageFolder or tar of one.")
@click.option("--name", required=True, help="The model's name.")
@click.option("--out", type=Path, required=True, help="The model file to write.")
@click.option("--bits", type=click.Choice(["4", "8"]), help="All rows of the blocks; or:")
@click.option("--share8", type=float, help="Share of the blocks' rows that are 8-bit, 0 to 1.")
@click.option("--subnet", type=Path, help="JSON of a subnet, as train.search writes it.")
@click.option("--image-size", type=int, help="Of the pictures; default: the checkpoint's.")
@click.option("--labels", type=Path, help="JSON; default: imagenet_classes.json beside --images.")
@click.option("--preset", help=f"Preprocessing: {', '.join(PRESETS)}; default: by file name.")
@click.option("--calibration", default=512, show_default=True, help="Images for calibration.")
@click.option("--seed", default=0, show_default=True, help="Seed of every random choice.")
@click.option("--evaluate", type=Path, help="ImageFolder on which to measure the result.")
@click.option("--dataset", help="What to call that data in the file; default: the folder's name.")
def main(
    checkpoint: Path,
    images: Path,
    name: str,
    out: Path,
    bits: str | None,
    share8: float | None,
    subnet: Path | None,
    image_size: int | None,
    labels: Path | None,
    preset: str | None,
    calibration: int,
    seed: int,
    evaluate: Path | None,
    dataset: str | None,
) -> None:
    """Quantise a float ViT or DeiT checkpoint into a model file."""
    if sum(choice is not None for choice in (bits, share8, subnet)) != 1:
        raise click.UsageError("give one of --bits, --share8 and --subnet")
    set_up()
    share = float(bits == "8") if share8 is None else share8
    try:
        check_output(name, out)
        mix = read_subnet(subnet) if subnet else share
        recipe = Recipe(mix, calibration, seed, image_size)
        source = load_checkpoint(checkpoint, preset).resized(image_size)
        names = load_labels(labels or images.parent / "imagenet_classes.json")
        command = command_line(checkpoint.name, images.name, name, recipe)
        model, report = export(source, images, names, recipe, name, command)
        if evaluate:
            measure(model, source, evaluate, dataset or evaluate.name)
        write_model(model, out)
    except QuasarError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(1)
    click.echo(
        f"{out}: {100 * report.final.agreement:.1f} % equal answers on held-out pictures, "
        f"KL {report.final.divergence:.4f}"
    )
    if evaluate:
        facts = model.provenance["accuracy"]
        click.echo(
            f"top-1 {facts['top1']:.1f} %, top-5 {facts['top5']:.1f} % of {facts['images']} images "
            f"(float {facts['teacher_top1']:.1f}, {facts['teacher_top5']:.1f})"
        )


def command_line(checkpoint: str, images: str, name: str, recipe: Recipe) -> str:
    """The command that makes the model again."""
    mix = recipe.mix
    choice = f"--subnet {name}.json" if isinstance(mix, Subnet) else f"--share8 {mix:g}"
    if recipe.image_size:
        choice += f" --image-size {recipe.image_size}"
    return (
        f"python -m train.export --checkpoint {checkpoint} --images {images} --name {name} "
        f"{choice} --calibration {recipe.calibration} "
        f"--seed {recipe.seed} --out {name}.safetensors"
    )


if __name__ == "__main__":
    main()
