"""Fine-tune one subnet and write it as a model file.

    python -m train.finetune --run runs/vit_tiny --subnet subnet.json --images mix.tar \\
        --checkpoint vit_tiny_patch16_224_augreg.safetensors --name q-vit --out q-vit.safetensors
    python -m train.finetune --subnet subnet.json ...    # without a supernet
    python -m train.finetune --share8 0 ...              # the checkpoint's own geometry

From a run, of a supernet or of a fine-tuning, it begins with that one's weights; without one, with
the checkpoint, pruned to the subnet or whole, after post-training quantisation. The same command
goes on where it was stopped.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from quasar_runtime.errors import DataError
from quasar_runtime.model.network import Model
from quasar_runtime.model.validate import check_name

from . import command as cli
from .cost.cycles import read_subnet
from .data.pictures import LABELS_FILE, Source, labels_for, pictures
from .data.recipe import TrainRecipe
from .data.views import split
from .export import Quantised, given, quantise_on
from .networks import integer
from .networks.checkpoint import Checkpoint, load_checkpoint
from .networks.folded import fold
from .networks.origin import Owner, weights_facts
from .networks.quantised import QuantisedNetwork
from .networks.supernet import Supernet
from .quantise.checks import (
    PREFERRED_OVERLAY,
    check_evaluation,
    check_model,
    check_owner,
    check_provenance,
    file_word,
)
from .quantise.emit import emit
from .quantise.prune import check_prunes
from .quantise.rounding import round_network
from .report.evaluate import Nearness
from .report.finish import keep_and_measure, report
from .run import (
    GOES_ON,
    Run,
    Setting,
    answers,
    calibration,
    check_classes,
    check_same,
    facts_of,
    load_run,
    nearness,
    prepare,
    set_up,
    train,
    views_of,
)
from .spaces.space import MATRICES, Block, Space, Subnet
from .training.folder import held, read_json, write_json
from .training.initial import Start
from .training.metrics import read_lines
from .training.trainer import Trainer


def subnet_of(network: QuantisedNetwork) -> Subnet:
    """The choices that a quantised network stands for, shares with as many digits as in spaces."""
    blocks = []
    for block in network.blocks:
        layers = (getattr(block, name) for name in MATRICES)
        shares = (round(float((layer.bits == 8).double().mean()), 4) for layer in layers)
        blocks.append(Block(block.heads, len(block.fc1.bias), *shares))
    return Subnet(len(network.norm), tuple(blocks))


def bits_of(network: QuantisedNetwork) -> dict[str, Tensor]:
    """The precision of each row of the blocks' matrices, 4 or 8."""
    return {
        f"blocks.{i}.{name}": getattr(block, name).bits
        for i, block in enumerate(network.blocks)
        for name in MATRICES
    }


def from_rounding(
    quantised: Quantised, checkpoint: Checkpoint, images: Tensor, recipe: TrainRecipe
) -> Start:
    """A supernet of one subnet that computes what the quantised network does.

    A 4-bit weight's master begins where inside its integer's cell the output's error would have it
    (uint8 images (N, S, S, 3)), not in the middle: what is near a border crosses it with little
    training.
    """
    network = quantised.network
    space = Space.around(subnet_of(network), checkpoint.image_size, checkpoint.classes)
    supernet = Supernet(space, layer_scaling=recipe.layer_scaling)
    inside = deepcopy(quantised.unrounded)
    every8 = {name: torch.full_like(bits, 8) for name, bits in bits_of(network).items()}
    round_network(inside, quantised.folded, every8, images, network)
    inside.head = network.head
    supernet.fill(network, inside)
    for master, block in zip(supernet.blocks, network.blocks, strict=True):
        chosen = master.chosen_rows(block.heads, len(block.fc1.bias), len(network.norm))
        for name, rows in chosen.items():
            getattr(master, name).worth[rows] = getattr(block, name).bits.float()
    return Start(supernet, fold(checkpoint))


def from_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    images: Path,
    mix: float | Subnet,
    recipe: TrainRecipe,
) -> tuple[Setting, Trainer]:
    """Begin with post-training quantisation, or go on."""
    source = Source(images)
    facts = facts_of(checkpoint, source)
    facts["mix"] = mix.to_dict() if isinstance(mix, Subnet) else mix
    if isinstance(mix, Subnet):
        check_prunes(fold(checkpoint), mix)
    chosen = folder / "subnet.json"
    begun: list[Start] = []
    if (folder / "last.pt").exists():
        check_same(folder / "recipe.json", {"recipe": recipe.to_dict(), **facts})
    else:
        parts = split(source.names, recipe)
        few = calibration(checkpoint, source, parts.train, recipe)
        done = quantise_on(checkpoint, few, mix, recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(chosen, subnet_of(done.network).to_dict())
        begun.append(from_rounding(done, checkpoint, few, recipe))
    subnet = Subnet.from_dict(read_json(chosen))
    space = Space.around(subnet, checkpoint.image_size, checkpoint.classes)
    setting = Setting(space, recipe, facts, [subnet])
    return setting, prepare(folder, setting, begun.pop)


def from_run(
    folder: Path,
    checkpoint: Checkpoint,
    images: Path,
    parent: Run,
    subnet: Subnet,
    recipe: TrainRecipe,
) -> tuple[Setting, Trainer]:
    """Begin with the weights of a supernet or an earlier fine-tuning, or go on. DataError unless
    that is the checkpoint's."""
    parent.supernet.space.check(subnet)
    source = Source(images)
    facts = facts_of(checkpoint, source)
    if parent.facts["sha256"] != checkpoint.sha256:
        raise DataError(
            f"the run was begun from {parent.facts['checkpoint']} with sha256 "
            f"{parent.facts['sha256']}, --checkpoint has {checkpoint.sha256}; give the same file"
        )
    facts |= {"subnet": subnet.to_dict(), "after": parent.recipe.to_dict()}
    setting = Setting(parent.supernet.space, recipe, facts, [subnet])
    begun = Start(parent.supernet, parent.teacher)
    if (folder / "last.pt").exists():  # another run's subnet.json is not to be overwritten
        check_same(folder / "recipe.json", {"recipe": recipe.to_dict(), **facts})
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "subnet.json", subnet.to_dict())
    return setting, prepare(folder, setting, lambda: begun)


def settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as a model file holds it: parts by name, `all` for the nameless one."""
    parts = {name or "all": often for name, often in recipe["parts"].items()}
    return {**recipe, "parts": parts}


def provenance(
    checkpoint: Checkpoint,
    trainer: Trainer,
    setting: Setting,
    near: Nearness,
    held_out: int,
    metrics: list[dict[str, Any]],
    command: str,
    owner: Owner | None = None,
) -> dict[str, Any]:
    """Where the model comes from and how it was trained; accuracy is added when it is measured.

    held_out: pictures that `near` was measured on; metrics: the lines of the training's
    metrics.jsonl.
    """
    recipe = trainer.recipe
    (subnet,) = setting.fixed or [setting.space.largest()]
    share = subnet.share8()
    kind = {0.0: "all rows 4-bit", 1.0: "all rows 8-bit"}.get(
        share, f"{100 * share:.0f} % of the work in 8-bit rows, the others 4-bit"
    )
    parent = setting.facts.get("after")
    origin = "an earlier training" if parent else "post-training quantisation"
    evaluations = some_of([line for line in metrics if "divergence" in line])
    unread = {why for line in metrics for why in line.get("left_out", ())}
    return {
        "summary": f"{checkpoint.family}, {kind}; quantisation-aware fine-tuning",
        "teacher": checkpoint.stem,
        "weights": weights_facts(checkpoint.file, checkpoint.sha256, owner),
        "method": f"fine-tuning in the integer arithmetic from {origin}; activations 8-bit; patch "
        "embedding and classifier 8-bit",
        "training": {
            "data": setting.facts["images"],
            "recipe": settings(recipe.to_dict()),
            "after": settings(parent) if parent else None,
            "steps": trainer.done,
            "evaluated": [line["step"] for line in evaluations],
            "divergence": [value for line in evaluations for value in line["divergence"].values()],
            **({"left_out": len(unread)} if unread else {}),
        },
        "subnet": subnet.to_dict(),
        "macs8": round(share, 4),
        "held_out": {
            "images": held_out,
            "kl_to_teacher": round(near.divergence, 5),
            "agreement_with_teacher": round(near.agreement, 5),
        },
        "command": command,
    }


MOST_EVALUATIONS = 200
"""Of a training that a model file tells of."""


def some_of(evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All evaluations, or as many as a model file has room for, evenly spread up to the last."""
    stride = -(-len(evaluations) // MOST_EVALUATIONS)
    return evaluations[::-1][:: stride or 1][::-1]


@click.command(cls=cli.Command, kept=GOES_ON)
@click.option("--run", type=Path, help="A run or fine-tuning to begin from; with --subnet.")
@click.option("--subnet", type=Path, help="JSON of a subnet, as train.search writes it.")
@click.option(
    "--share8",
    type=cli.SHARE,
    help="Share of 8-bit rows, 0 to 1, of the checkpoint's own geometry.",
)
@click.option(
    "--image-size", type=int, help="Of the pictures; default: the checkpoint's, or the run's."
)
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="ImageFolder or tar of one.")
@click.option("--recipe", default="finetune", show_default=True, help="Of train/recipes/.")
@click.option("--views", type=cli.COUNT, help="Pictures to see; default: the recipe's.")
@click.option("--name", required=True, help="The model's name.")
@click.option("--out", type=Path, required=True, help="The model file to write.")
@click.option("--work", type=Path, help="Folder of the training; default: OUT with .run.")
@click.option("--preset", help="Preprocessing; default: by the checkpoint's file name.")
@click.option("--labels", type=Path, help=f"JSON; default: {LABELS_FILE} beside --images.")
@click.option("--overlay", help="What the model is made for; default: b1024, or what takes it.")
@click.option("--evaluate", type=Path, help="ImageFolder on which to measure the result.")
@click.option("--dataset", help="What to call that data in the file; default: the folder's name.")
@click.option("--weights-from", help="Whose weights these are, for the file; else not stated.")
@click.option("--licence", help="Their licence, for the file; else not stated.")
@click.option("--threads", type=cli.THREADS, default=2, show_default=True, help="CPU threads.")
@click.option("--fuse/--no-fuse", default=True, help="Compile the elementwise loops (a minute).")
def main(
    run: Path | None,
    subnet: Path | None,
    share8: float | None,
    image_size: int | None,
    checkpoint: Path,
    images: Path,
    recipe: str,
    views: int | None,
    name: str,
    out: Path,
    work: Path | None,
    preset: str | None,
    labels: Path | None,
    overlay: str | None,
    evaluate: Path | None,
    dataset: str | None,
    weights_from: str | None,
    licence: str | None,
    threads: int,
    fuse: bool,
) -> None:
    """Fine-tune one subnet into a model file."""
    if (subnet is None) == (share8 is None) or (run and not subnet):
        raise click.UsageError("give --subnet, with --run or without, or else --share8")
    if run and image_size is not None:
        raise click.UsageError("a run has an image size: give either --run or --image-size")
    set_up(threads)
    integer.Fusion.on = fuse
    check_name(name)
    cli.check_file(out, images, [checkpoint, subnet, labels, Path(recipe)])
    folder = work or out.with_suffix(".run")
    if folder == out:
        raise DataError(f"{out} is to be the model and the training's folder; give --work")
    cli.check_folder(folder)
    owner = Owner(weights_from, licence)
    check_owner(owner)
    how = TrainRecipe.load(recipe, **({} if views is None else {"views": views}))
    choice: float | Subnet = read_subnet(subnet) if subnet else share8 or 0.0
    parent = load_run(run) if run else None
    size = parent.supernet.space.image_size if parent else image_size
    weights = load_checkpoint(checkpoint, preset).resized(size)
    known = labels_for(labels, images, weights.classes)
    target = check_model(weights, choice, known, overlay)
    check_evaluation(evaluate, dataset, known)
    check_classes(split(Source(images).names, how).train, known, how)
    origin = f"--subnet {file_word(subnet)}" if subnet else f"--share8 {share8:g}"
    if run:
        origin += f" --run {file_word(run)}"
    if image_size:
        origin += f" --image-size {image_size}"
    if views is not None:
        origin += f" --views {views}"
    origin += given(preset, labels, overlay, owner)
    command = command_line(origin, weights.file, file_word(images), file_word(recipe), name)
    check_provenance({"command": command, "recipe": settings(how.to_dict())})
    with held(folder):
        if parent and isinstance(choice, Subnet):
            setting, trainer = from_run(folder, weights, images, parent, choice, how)
        else:
            setting, trainer = from_checkpoint(folder, weights, images, choice, how)
        model = finish(
            weights,
            images,
            setting,
            trainer,
            folder,
            known,
            name,
            command,
            owner=owner,
            overlay=target,
        )
    keep_and_measure(model, out, weights, evaluate, dataset)
    report(model, out)


def command_line(origin: str, checkpoint: str, images: str, recipe: str, name: str) -> str:
    """The command that makes the model again. origin: the options that say what is trained."""
    return (
        f"python -m train.finetune {origin} --checkpoint {checkpoint} --images {images} "
        f"--recipe {Path(recipe).name} --name {name} --out {name}.safetensors"
    )


def finish(
    checkpoint: Checkpoint,
    images: Path,
    setting: Setting,
    trainer: Trainer,
    folder: Path,
    labels: list[tuple[str, str]],
    name: str,
    command: str,
    *,
    owner: Owner | None = None,
    overlay: str = PREFERRED_OVERLAY,
) -> Model:
    """Take the steps that are left, and make the model of the averaged weights."""
    source, recipe = Source(images), setting.recipe
    parts = split(source.names, recipe)
    check_classes(parts.train, labels, recipe)
    held_out = pictures(source, parts.held_out, checkpoint.preprocessing)
    views = views_of(source, parts.train, checkpoint.image_size, recipe)
    train(trainer, views, held_out, folder, labels if recipe.label else None)
    supernet = trainer.averaged()
    (subnet,) = setting.fixed or [setting.space.largest()]
    near = nearness(supernet, subnet, answers(trainer.teacher, held_out), held_out)
    model = emit(supernet.extract(subnet), name, checkpoint.preprocessing, labels)
    metrics = read_lines(folder / "metrics.jsonl")
    model.provenance = provenance(
        checkpoint, trainer, setting, near, len(held_out), metrics, command, owner
    )
    model.target = {"overlay": overlay, "fps": None}
    return model


if __name__ == "__main__":
    main()
