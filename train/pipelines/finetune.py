"""A model by fine-tuning one subnet, from its beginning or from where it was stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quasar_runtime.model.network import Model

from ..data.pictures import pictures
from ..data.recipe import TrainingRecipe
from ..data.source import Source
from ..data.views import split
from ..networks.checkpoint import Checkpoint
from ..networks.teacher import subnet_agreement, teacher_log_probabilities
from ..quantise.emit import emit
from ..report.provenance import HeldOut, finetuned_provenance
from ..spaces.space import Subnet
from ..training.finetune import from_checkpoint, from_run
from ..training.folder import held
from ..training.metrics import read_lines
from ..training.run_folder import Run, RunSpec
from ..training.train import check_classes, train, views_of
from ..training.trainer import Trainer
from .export import ModelFacts


@dataclass(frozen=True)
class FineTuning:
    """What is fine-tuned, on what, and where.

    mix: as in QuantisationRecipe; folder: the training's, which goes on where there is one; parent:
    the run whose weights a subnet begins with, None for the checkpoint's.
    """

    checkpoint: Checkpoint
    images: Path
    mix: float | Subnet
    recipe: TrainingRecipe
    folder: Path
    parent: Run | None = None

    def begin(self) -> tuple[RunSpec, Trainer]:
        """The training at its beginning, or in the state that its folder holds.

        DataError when the folder holds another training.
        """
        if self.parent and isinstance(self.mix, Subnet):
            return from_run(
                self.folder, self.checkpoint, self.images, self.parent, self.mix, self.recipe
            )
        return from_checkpoint(self.folder, self.checkpoint, self.images, self.mix, self.recipe)


def finetune_model(job: FineTuning, facts: ModelFacts) -> Model:
    """Take the steps that are left and make the model of the averaged weights.

    DataError when another training is at work in the folder, or the recipe learns from classes that
    the labels lack.
    """
    with held(job.folder):
        spec, trainer = job.begin()
        source, recipe, how = Source(job.images), spec.recipe, job.checkpoint.preprocessing
        parts = split(source.names, recipe)
        check_classes(parts.train, facts.labels, recipe)
        held_out = pictures(source, parts.held_out, how)
        views = views_of(source, parts.train, job.checkpoint.image_size, recipe)
        train(trainer, views, held_out, job.folder, facts.labels if recipe.label else None)
        metrics = read_lines(job.folder / "metrics.jsonl")
    supernet = trainer.averaged()
    targets = teacher_log_probabilities(trainer.teacher, held_out)
    final = subnet_agreement(supernet, spec.subnet, targets, held_out)
    model = emit(supernet.extract(spec.subnet), facts.name, how, facts.labels)
    found = HeldOut(len(held_out), final)
    model.provenance = finetuned_provenance(
        job.checkpoint, trainer, spec, found, metrics, facts.command, facts.owner
    )
    model.target = {"overlay": facts.overlay, "fps": None}
    return model
