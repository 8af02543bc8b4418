"""From a float checkpoint to a model, by post-training quantisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from quasar_runtime.model.network import Model

from ..cost.cycles import PREFERRED_OVERLAY
from ..data.labels import Labels, require_labels
from ..data.source import Source
from ..networks.checkpoint import Checkpoint
from ..networks.origin import Owner
from ..quantise.emit import emit
from ..quantise.quantise import QuantisationRecipe, QuantisationReport, quantise
from ..report.provenance import quantised_provenance


@dataclass(frozen=True)
class ModelFacts:
    """What a model file says besides its network.

    labels: one per class; command: what makes the model again; owner: whose weights they are;
    overlay: what the model is made for.
    """

    name: str
    labels: Labels
    command: str
    owner: Owner = field(default_factory=Owner)
    overlay: str = PREFERRED_OVERLAY


def export_model(
    checkpoint: Checkpoint,
    images: Path | Source,
    recipe: QuantisationRecipe,
    facts: ModelFacts,
) -> tuple[Model, QuantisationReport]:
    """Quantise a checkpoint into a model, whose accuracy is not measured yet.

    DataError for a recipe, labels or pictures that cannot be used.
    """
    require_labels(facts.labels, checkpoint.classes)
    source = images if isinstance(images, Source) else Source(images)
    network, report = quantise(checkpoint, source, recipe)
    model = emit(network, facts.name, checkpoint.preprocessing, facts.labels)
    model.provenance = quantised_provenance(
        checkpoint, source, recipe, report, facts.command, facts.owner
    )
    model.target = {"overlay": facts.overlay, "fps": None}
    return model, report
