r"""`quasar-train finetune`: train one subnet into a model file.

    quasar-train finetune --run runs/vit_tiny --subnet subnet.json --images mix.tar \\
        --checkpoint vit_tiny_patch16_224_augreg.safetensors --name q-vit --out q-vit.safetensors
    quasar-train finetune --subnet subnet.json ...    # without a supernet
    quasar-train finetune --share8 0 ...              # the checkpoint's own geometry

With --run it begins with the weights of that run, of a supernet or of a fine-tuning; without, with
the checkpoint, pruned to the subnet or whole, after post-training quantisation. The same command
goes on where it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quasar_runtime.errors import DataError

from . import options
from .options import Compute, Inputs, ModelOptions, RecipeOptions, bundle
from .paths import check_file, check_folder
from .verb import GOES_ON, TRAINING, Verb

if TYPE_CHECKING:
    from ..spaces.space import Subnet


@dataclass(frozen=True)
class Origin:
    """What is trained: a subnet of a run or of the checkpoint, or the checkpoint's geometry."""

    run: Path | None
    subnet: Path | None
    share8: float | None
    image_size: int | None

    def check(self) -> None:
        """Raise click's usage error unless the options go together."""
        if (self.subnet is None) == (self.share8 is None) or (self.run and not self.subnet):
            raise click.UsageError("give --subnet, with --run or without, or else --share8")
        if self.run and self.image_size is not None:
            raise click.UsageError("a run has an image size: give either --run or --image-size")

    def mix(self) -> float | Subnet:
        """The subnet, or the fraction of 8-bit rows. SpaceError when the file holds none."""
        from ..cost.cycles import read_subnet

        return read_subnet(self.subnet) if self.subnet else self.share8 or 0.0

    @property
    def words(self) -> str:
        """The options, as the command that makes the model again has them."""
        from ..report.provenance import option_words

        share8 = None if self.share8 is None else f"{self.share8:g}"
        size = str(self.image_size) if self.image_size else None
        given = {"subnet": self.subnet, "share8": share8, "run": self.run, "image-size": size}
        return option_words(given).strip()


origin_options = bundle(
    "origin",
    Origin,
    click.option("--run", type=Path, help="A run or fine-tuning to begin from; with --subnet."),
    click.option("--subnet", type=Path, help="JSON of a subnet, as a search writes it."),
    click.option(
        "--share8",
        type=options.SHARE,
        help="Fraction of 8-bit rows of the checkpoint's own geometry.",
    ),
    click.option("--image-size", type=int, help="Pixels; default: the checkpoint's, or the run's."),
)


@click.command(cls=Verb, needs=TRAINING, kept=GOES_ON)
@origin_options
@options.inputs
@options.recipe("finetune")
@options.model
@click.option("--work", type=Path, help="Folder of the training; default: --out with .run.")
@options.labels
@options.compute
def finetune(
    origin: Origin,
    inputs: Inputs,
    recipe: RecipeOptions,
    model: ModelOptions,
    work: Path | None,
    labels: Path | None,
    compute: Compute,
) -> None:
    """Fine-tune one subnet into a model file."""
    origin.check()
    from quasar_runtime.model.validate import check_name

    from ..data.labels import labels_for
    from ..data.source import Source
    from ..data.views import split
    from ..pipelines.export import ModelFacts
    from ..pipelines.finetune import FineTuning, finetune_model
    from ..quantise import checks
    from ..report.finish import keep_and_measure, report
    from ..report.provenance import finetune_command, option_words, owner_options, recipe_facts
    from ..training.run_folder import load_run
    from ..training.train import check_classes

    compute.configure()
    check_name(model.name)
    read = [inputs.checkpoint, origin.subnet, labels, Path(recipe.recipe)]
    check_file(model.out, inputs.images, read)
    folder = work_folder(work, model.out)
    checks.check_owner(model.owner)
    settings, mix = recipe.load(), origin.mix()
    parent = load_run(origin.run) if origin.run else None
    weights = inputs.load(parent.supernet.space.image_size if parent else origin.image_size)
    known = labels_for(labels, inputs.images, weights.classes)
    overlay = checks.check_model(weights, mix, known, model.overlay)
    checks.check_evaluation(model.evaluate, model.dataset, known)
    check_classes(split(Source(inputs.images).names, settings).train, known, settings)
    given = {"preset": inputs.preset, "labels": labels, "overlay": model.overlay}
    command = finetune_command(
        origin.words + recipe.words + option_words({**given, **owner_options(model.owner)}),
        weights.file,
        checks.file_word(inputs.images),
        checks.file_word(recipe.recipe),
        model.name,
    )
    checks.check_provenance({"command": command, "recipe": recipe_facts(settings.to_dict())})
    job = FineTuning(weights, inputs.images, mix, settings, folder, parent)
    facts = ModelFacts(model.name, known, command, model.owner, overlay)
    trained = finetune_model(job, facts)
    keep_and_measure(trained, model.out, weights, model.evaluate, model.dataset)
    report(trained, model.out)


def work_folder(work: Path | None, out: Path) -> Path:
    """The folder of a training. DataError when it is the model's file or cannot be written."""
    folder = work or out.with_suffix(".run")
    if folder == out:
        raise DataError(
            f"{out} is both the model and the folder of the training; give another --work"
        )
    check_folder(folder)
    return folder
