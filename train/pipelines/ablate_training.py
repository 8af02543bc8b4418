"""What parts of the training gain: short supernet runs that differ in one thing each.

All begin with the same rounded networks and see the same pictures in the same order. Compared is
the divergence from the teacher on pictures that none has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..data.labels import Labels
from ..data.pictures import pictures
from ..data.recipe import TrainingRecipe
from ..data.source import Source
from ..data.views import Views, split
from ..networks.checkpoint import Checkpoint
from ..networks.supernet import Supernet
from ..networks.teacher import TeacherAgreement, subnet_agreement, teacher_log_probabilities
from ..spaces.space import Space
from ..training.initial import InitialState, initial_state
from ..training.train import calibration, check_classes, sentinels, train, views_of
from ..training.trainer import Trainer
from .variants import Variant


@dataclass(eq=False)
class Bench:
    """What all variants share: initial state, pictures and recipe."""

    begun: InitialState
    recipe: TrainingRecipe
    views: Views
    held_out: Tensor
    labels: Labels

    @classmethod
    def make(
        cls,
        checkpoint: Checkpoint,
        images: Path,
        recipe: TrainingRecipe,
        labels: Labels,
    ) -> Bench:
        """Prepare what the variants share. DataError when labels do not fit the pictures."""
        source = Source(images)
        parts = split(source.names, recipe)
        check_classes(parts.train, labels, replace(recipe, label=1.0))
        space = Space.load(recipe.space)
        images_seen = calibration(checkpoint, source, parts.train, recipe)
        begun = initial_state(checkpoint, space, images_seen, recipe.seed)
        held_out = pictures(source, parts.held_out, checkpoint.preprocessing)
        views = views_of(source, parts.train, space.image_size, recipe)
        return cls(begun, recipe, views, held_out, labels)

    def run(self, variant: Variant, folder: Path) -> dict[str, TeacherAgreement]:
        """Train a variant in a new folder; the agreement of the sentinels that it trains."""
        recipe = replace(self.recipe, **variant.changes)
        supernet = Supernet(Space.load(recipe.space), layer_scaling=recipe.layer_scaling)
        state = self.begun.supernet.state_dict()
        supernet.load_state_dict({name: state[name].clone() for name in supernet.state_dict()})
        if variant.random_rows:
            generator = torch.Generator().manual_seed(recipe.seed)
            for matrix in supernet.matrices().values():
                random = torch.rand(matrix.importance.shape, generator=generator)
                matrix.importance.copy_(random)
        followed = sentinels(supernet.space)
        if variant.alone is not None:
            followed = {variant.alone: followed[variant.alone]}
        fixed = list(followed.values()) if variant.alone else None
        trainer = Trainer(supernet, self.begun.teacher, recipe, fixed=fixed)
        folder.mkdir(parents=True)
        train(trainer, self.views, self.held_out, folder, self.labels if recipe.label else None)
        averaged = trainer.averaged()
        targets = teacher_log_probabilities(trainer.teacher, self.held_out)
        return {
            name: subnet_agreement(averaged, subnet, targets, self.held_out)
            for name, subnet in followed.items()
        }


def variant_table(found: Mapping[str, Mapping[str, TeacherAgreement]]) -> str:
    """Divergence (equal answers) of each sentinel by variant, as a Markdown table."""
    names = list(dict.fromkeys(name for near in found.values() for name in near))
    lines = ["| run | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for variant, near in found.items():
        cells = [
            f"{near[n].divergence:.4f} ({100 * near[n].agreement:.1f} %)" if n in near else ""
            for n in names
        ]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
