"""From a float checkpoint to a model file, by post-training quantisation.

    python -m train.export --checkpoint deit_tiny_patch16_224.safetensors \\
        --images imagenet_train_mix.tar --bits 8 --name deit-tiny-w8 --out deit-tiny-w8.safetensors

fold -> tame massive units -> calibrate scales -> choose 8-bit rows -> round -> emit.
docs/accuracy.md says what each step is worth.
"""

from __future__ import annotations

import shlex
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor

from quasar_runtime.errors import DataError
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.model.network import Model
from quasar_runtime.model.validate import check_name

from . import command as cli
from .cost.cycles import read_subnet
from .data.pictures import (
    LABELS_FILE,
    Decoded,
    Source,
    calibration_prefixes,
    classes_apart,
    decoded,
    in_turn,
    labels_for,
    require_labels,
    to_calibrate_on,
)
from .networks.checkpoint import PRESETS, Checkpoint, load_checkpoint
from .networks.folded import Folded, fold
from .networks.origin import Owner, weights_facts
from .networks.quantised import QuantisedNetwork
from .quantise.calibrate import build, observe, search_hidden_ranges
from .quantise.checks import (
    PREFERRED_OVERLAY,
    check_evaluation,
    check_model,
    check_owner,
    check_provenance,
    file_word,
)
from .quantise.emit import emit
from .quantise.massive import Tamed, tame
from .quantise.prune import check_prunes, prune
from .quantise.rounding import round_network
from .quantise.rows import choose_rows, choose_rows_of, row_costs, row_effects
from .report.evaluate import Nearness, nearness
from .report.finish import keep_and_measure, report
from .spaces.space import Subnet

TAME_IMAGES = 32
CLIP_IMAGES = 32
HELD_OUT = 128
APART = 0.125
"""Share of the classes whose pictures are held out: what is calibrated has seen none of them, as it
will not have seen most of what it is asked."""
THREADS = 2
ROW_GROUP = 32
"""Rows of a matrix that change precision together: digit rows of the widest array, `b8192`."""
MOST_TAMED = 100
"""Tamed units that a model file names."""


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
class Pictures:
    """What a model is calibrated on and measured on, no class in both, and which names were to be
    calibrated on (their beginnings)."""

    calibration: Decoded
    held_out: Decoded
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What was found on the way: the pictures, tamed units, clipped ranges, nearness to the float
    network on held-out pictures, the rows' share of the work."""

    pictures: Pictures
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


def split_pictures(source: Source, how: Preprocessing, recipe: Recipe) -> Pictures:
    """The pictures to calibrate on and those held out, drawn with the seed, no class in both.

    DataError where all pictures are of one class, or none of a part can be read.
    """
    used, apart = parts_of(source, recipe)
    return Pictures(
        decoded(source, in_turn(used, recipe.seed), recipe.calibration, how),
        decoded(source, in_turn(apart, recipe.seed), HELD_OUT, how),
        calibration_prefixes(source.names),
    )


def parts_of(source: Source, recipe: Recipe) -> tuple[list[str], list[str]]:
    """(names to calibrate on, names held out). DataError where all pictures are of one class."""
    used, apart = classes_apart(to_calibrate_on(source.names), APART, recipe.seed)
    if not apart:
        raise DataError(
            f"all pictures of {source.path.name} are of one class; those of another are needed to "
            "measure what was calibrated on the first"
        )
    return used, apart


def check_recipe(recipe: Recipe) -> None:
    """DataError for a recipe that cannot be."""
    if not isinstance(recipe.mix, Subnet) and not 0 <= recipe.mix <= 1:
        raise DataError(f"the share of 8-bit rows is {recipe.mix}, allowed are 0 to 1")
    if recipe.calibration < 1:
        raise DataError(f"{recipe.calibration} pictures to calibrate on; give 1 at least")


def quantise(
    checkpoint: Checkpoint, images: Path | Source, recipe: Recipe
) -> tuple[QuantisedNetwork, Report]:
    """The quantised network of a checkpoint. DataError for a recipe or images that cannot be."""
    check_recipe(recipe)
    if isinstance(recipe.mix, Subnet):
        check_prunes(fold(checkpoint), recipe.mix)
    source = images if isinstance(images, Source) else Source(images)
    found = split_pictures(source, checkpoint.preprocessing, recipe)
    done = quantise_on(checkpoint, found.calibration.images, recipe.mix, recipe.seed)
    final = nearness(done.network, fold(checkpoint), found.held_out.images)
    return done.network, Report(found, done.tamed, done.clipped, final, macs8(done.network))


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


def provenance(
    checkpoint: Checkpoint,
    source: Source,
    recipe: Recipe,
    report: Report,
    command: str,
    owner: Owner | None = None,
) -> dict[str, Any]:
    """Where the model comes from and how it was made; accuracy is added when it is measured."""
    mix = recipe.mix
    share = rows8(mix) if isinstance(mix, Subnet) else mix
    kind = {0.0: "all rows 4-bit", 1.0: "all rows 8-bit"}.get(
        share, f"{100 * share:.3g} % of the rows 8-bit, the others 4-bit"
    )
    steps = "channel evening, range search, error-compensating rounding"
    calibration, held_out = report.pictures.calibration, report.pictures.held_out
    return {
        "summary": f"{checkpoint.family}, {kind}; post-training quantisation",
        "teacher": checkpoint.stem,
        "weights": weights_facts(checkpoint.file, checkpoint.sha256, owner),
        "method": f"post-training quantisation without labels: {steps}; activations 8-bit; "
        "patch embedding and classifier 8-bit",
        "calibration": {
            "data": file_word(source.path),
            "pictures": list(report.pictures.prefixes),
            "images": len(calibration.images),
            "seed": recipe.seed,
            **left_out(calibration),
        },
        "rows8": round(share, 4),
        "subnet": mix.to_dict() if isinstance(mix, Subnet) else None,
        "macs8": round(report.macs8, 4),
        "tamed_units": [asdict(t) for t in report.tamed[:MOST_TAMED]],
        "held_out": {
            "images": len(held_out.images),
            "kl_to_teacher": round(report.final.divergence, 5),
            "agreement_with_teacher": round(report.final.agreement, 5),
            **left_out(held_out),
        },
        "command": command,
    }


def left_out(part: Decoded) -> dict[str, int]:
    """How many pictures could not be read, where there were any."""
    return {"left_out": len(part.left_out)} if part.left_out else {}


def export(
    checkpoint: Checkpoint,
    images: Path | Source,
    labels: list[tuple[str, str]],
    recipe: Recipe,
    name: str,
    command: str,
    *,
    owner: Owner | None = None,
    overlay: str = PREFERRED_OVERLAY,
) -> tuple[Model, Report]:
    """The whole way; the accuracy is not yet measured. overlay: what the model is made for."""
    require_labels(labels, checkpoint.classes)
    source = images if isinstance(images, Source) else Source(images)
    network, report = quantise(checkpoint, source, recipe)
    model = emit(network, name, checkpoint.preprocessing, labels)
    model.provenance = provenance(checkpoint, source, recipe, report, command, owner)
    model.target = {"overlay": overlay, "fps": None}
    return model, report


@click.command(cls=cli.Command, kept="no model was written, unless it was being measured")
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="Calibration: ImageFolder or tar of one.")
@click.option("--name", required=True, help="The model's name.")
@click.option("--out", type=Path, required=True, help="The model file to write.")
@click.option("--bits", type=click.Choice(["4", "8"]), help="All rows of the blocks; or:")
@click.option("--share8", type=cli.SHARE, help="Share of the blocks' rows that are 8-bit, 0 to 1.")
@click.option("--subnet", type=Path, help="JSON of a subnet, as train.search writes it.")
@click.option("--image-size", type=int, help="Of the pictures; default: the checkpoint's.")
@click.option("--labels", type=Path, help=f"JSON; default: {LABELS_FILE} beside --images.")
@click.option("--preset", help=f"Preprocessing: {', '.join(PRESETS)}; default: by file name.")
@click.option(
    "--calibration",
    type=cli.COUNT,
    default=512,
    show_default=True,
    help="Images for calibration; all where there are fewer.",
)
@click.option(
    "--seed", type=cli.SEED, default=0, show_default=True, help="Seed of every random choice."
)
@click.option("--overlay", help="What the model is made for; default: b1024, or what takes it.")
@click.option("--evaluate", type=Path, help="ImageFolder on which to measure the result.")
@click.option("--dataset", help="What to call that data in the file; default: the folder's name.")
@click.option("--weights-from", help="Whose weights these are, for the file; else not stated.")
@click.option("--licence", help="Their licence, for the file; else not stated.")
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
    overlay: str | None,
    evaluate: Path | None,
    dataset: str | None,
    weights_from: str | None,
    licence: str | None,
) -> None:
    """Quantise a float ViT or DeiT checkpoint into a model file."""
    if sum(choice is not None for choice in (bits, share8, subnet)) != 1:
        raise click.UsageError("give one of --bits, --share8 and --subnet")
    set_up()
    check_name(name)
    cli.check_file(out, images, [checkpoint, subnet, labels])
    owner = Owner(weights_from, licence)
    check_owner(owner)
    share = float(bits == "8") if share8 is None else share8
    recipe = Recipe(read_subnet(subnet) if subnet else share, calibration, seed, image_size)
    weights = load_checkpoint(checkpoint, preset).resized(image_size)
    known = labels_for(labels, images, weights.classes)
    target = check_model(weights, recipe.mix, known, overlay)
    check_evaluation(evaluate, dataset, known)
    options = given(preset, labels, overlay, owner)
    source = Source(images)
    parts_of(source, recipe)
    of = subnet and file_word(subnet)
    command = command_line(weights.file, file_word(images), name, recipe, options, of)
    check_provenance({"command": command, "teacher": weights.stem})
    model, _ = export(weights, source, known, recipe, name, command, owner=owner, overlay=target)
    keep_and_measure(model, out, weights, evaluate, dataset)
    report(model, out)


def given(
    preset: str | None, labels: Path | None, overlay: str | None, owner: Owner | None = None
) -> str:
    """The options of a command that are left out where the defaults do, each with a blank."""
    words = {"preset": preset, "labels": labels and file_word(labels), "overlay": overlay}
    if owner is not None:
        words |= {"weights-from": owner.weights_from, "licence": owner.licence}
    return "".join(f" --{key} {shlex.quote(word)}" for key, word in words.items() if word)


def command_line(
    checkpoint: str,
    images: str,
    name: str,
    recipe: Recipe,
    options: str = "",
    subnet: str | None = None,
) -> str:
    """The command that makes the model again. subnet: its file's name; default: the model's."""
    mix = recipe.mix
    choice = f"--share8 {mix:g}"
    if isinstance(mix, Subnet):
        choice = f"--subnet {subnet or name + '.json'}"
    if recipe.image_size:
        choice += f" --image-size {recipe.image_size}"
    return (
        f"python -m train.export --checkpoint {checkpoint} --images {images} --name {name} "
        f"{choice} --calibration {recipe.calibration} "
        f"--seed {recipe.seed}{options} --out {name}.safetensors"
    )


if __name__ == "__main__":
    main()
