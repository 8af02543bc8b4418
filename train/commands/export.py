r"""`quasar-train export`: from a float checkpoint to a model file, without training.

    quasar-train export --checkpoint deit_tiny_patch16_224.safetensors \\
        --images imagenet_train_mix.tar --bits 8 --name deit-tiny-w8 --out deit-tiny-w8.safetensors

docs/accuracy.md says what each step gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .options import Inputs, ModelOptions, bundle
from .paths import check_file
from .verb import TRAINING, Verb

if TYPE_CHECKING:
    from ..spaces.space import Subnet


@dataclass(frozen=True)
class Mix:
    """Which rows are 8-bit: one of the three."""

    bits: str | None
    share8: float | None
    subnet: Path | None

    def load(self) -> float | Subnet:
        """The fraction of 8-bit rows, or the subnet. SpaceError when the file holds none."""
        from ..cost.cycles import read_subnet

        if self.subnet:
            return read_subnet(self.subnet)
        return float(self.bits == "8") if self.share8 is None else self.share8


mix_options = bundle(
    "mix",
    Mix,
    click.option(
        "--bits", type=click.Choice(["4", "8"]), help="Bits of all rows of the blocks; or:"
    ),
    click.option(
        "--share8", type=options.SHARE, help="Fraction of the blocks' rows in 8 bits; or:"
    ),
    click.option("--subnet", type=Path, help="JSON of a subnet, as a search writes it."),
)


@click.command(cls=Verb, needs=TRAINING, kept="no model was written, unless it was being measured")
@options.inputs
@options.model
@mix_options
@options.image_size
@options.labels
@click.option(
    "--calibration",
    type=options.COUNT,
    default=512,
    show_default=True,
    help="Calibration pictures; all where there are fewer.",
)
@click.option(
    "--seed", type=options.SEED, default=0, show_default=True, help="Seed of every random choice."
)
def export(
    inputs: Inputs,
    model: ModelOptions,
    mix: Mix,
    image_size: int | None,
    labels: Path | None,
    calibration: int,
    seed: int,
) -> None:
    """Quantise a float ViT or DeiT checkpoint into a model file."""
    if sum(choice is not None for choice in (mix.bits, mix.share8, mix.subnet)) != 1:
        raise click.UsageError("give one of --bits, --share8 and --subnet")
    from quasar_runtime.model.validate import check_name

    from ..data.labels import labels_for
    from ..data.source import Source
    from ..networks.precision import configure_torch
    from ..pipelines.export import ModelFacts, export_model
    from ..quantise import checks
    from ..quantise.quantise import QuantisationRecipe, split_names
    from ..report.finish import keep_and_measure, report
    from ..report.provenance import export_command, option_words, owner_options

    configure_torch()
    check_name(model.name)
    check_file(model.out, inputs.images, [inputs.checkpoint, mix.subnet, labels])
    checks.check_owner(model.owner)
    recipe = QuantisationRecipe(mix.load(), calibration, seed, image_size)
    weights = inputs.load(image_size)
    known = labels_for(labels, inputs.images, weights.classes)
    overlay = checks.check_model(weights, recipe.mix, known, model.overlay)
    checks.check_evaluation(model.evaluate, model.dataset, known)
    source = Source(inputs.images)
    split_names(source, recipe)
    given = {"preset": inputs.preset, "labels": labels, "overlay": model.overlay}
    command = export_command(
        weights.file,
        checks.file_word(inputs.images),
        model.name,
        recipe,
        option_words({**given, **owner_options(model.owner)}),
        checks.file_word(mix.subnet) if mix.subnet else None,
    )
    checks.check_provenance({"command": command, "teacher": weights.stem})
    facts = ModelFacts(model.name, known, command, model.owner, overlay)
    exported, _ = export_model(weights, source, recipe, facts)
    keep_and_measure(exported, model.out, weights, model.evaluate, model.dataset)
    report(exported, model.out)
