"""The end of a fine-tuning: the steps that are left, and the model of the averaged weights."""

from __future__ import annotations

from pathlib import Path

from quasar_runtime.model.network import Model

from ..data.pictures import pictures
from ..data.source import Source
from ..data.views import split
from ..networks.checkpoint import Checkpoint
from ..networks.teacher import subnet_agreement, teacher_log_probabilities
from ..quantise.emit import emit
from ..report.provenance import HeldOut, finetuned_provenance
from ..training.metrics import read_lines
from ..training.run_folder import RunSpec
from ..training.train import check_classes, train, views_of
from ..training.trainer import Trainer
from .export import ModelFacts


def finetune(
    checkpoint: Checkpoint,
    images: Path,
    begun: tuple[RunSpec, Trainer],
    folder: Path,
    facts: ModelFacts,
) -> Model:
    """Take the steps that are left and make the model of the averaged weights.

    begun: as `from_checkpoint` and `from_run` (train/training/finetune.py) give it; folder: the
    training's. DataError when the recipe learns from classes that the labels lack.
    """
    spec, trainer = begun
    source, recipe = Source(images), spec.recipe
    parts = split(source.names, recipe)
    check_classes(parts.train, facts.labels, recipe)
    held_out = pictures(source, parts.held_out, checkpoint.preprocessing)
    views = views_of(source, parts.train, checkpoint.image_size, recipe)
    train(trainer, views, held_out, folder, facts.labels if recipe.label else None)
    supernet = trainer.averaged()
    targets = teacher_log_probabilities(trainer.teacher, held_out)
    final = subnet_agreement(supernet, spec.subnet, targets, held_out)
    model = emit(supernet.extract(spec.subnet), facts.name, checkpoint.preprocessing, facts.labels)
    model.provenance = finetuned_provenance(
        checkpoint,
        trainer,
        spec,
        HeldOut(len(held_out), final),
        read_lines(folder / "metrics.jsonl"),
        facts.command,
        facts.owner,
    )
    model.target = {"overlay": facts.overlay, "fps": None}
    return model
