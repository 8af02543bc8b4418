"""What a model file says of its origin: weights, method, data, and the command that made it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..data.pictures import Decoded
from ..data.source import Source
from ..networks.checkpoint import Checkpoint
from ..networks.origin import Owner, weights_facts
from ..networks.teacher import TeacherAgreement
from ..quantise.checks import file_word
from ..quantise.quantise import QuantisationRecipe, QuantisationReport, rows8
from ..spaces.space import Subnet
from ..training.run_folder import RunSpec
from ..training.trainer import Trainer

MOST_TAMED = 100
"""Tamed units that a model file names."""
MOST_EVALUATIONS = 200
"""Evaluations of a training that a model file holds."""


def share_words(share8: float, otherwise: str) -> str:
    """How a summary names a fraction of 8-bit rows; `otherwise` for all but 0 and 1."""
    return {0.0: "all rows 4-bit", 1.0: "all rows 8-bit"}.get(share8, otherwise)


def quantised_provenance(
    checkpoint: Checkpoint,
    source: Source,
    recipe: QuantisationRecipe,
    report: QuantisationReport,
    command: str,
    owner: Owner | None = None,
) -> dict[str, Any]:
    """The provenance of a model after post-training quantisation, without its accuracy."""
    mix = recipe.mix
    share = rows8(mix) if isinstance(mix, Subnet) else mix
    kind = share_words(share, f"{100 * share:.3g} % of the rows 8-bit, the others 4-bit")
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
            **_left_out(calibration),
        },
        "rows8": round(share, 4),
        "subnet": mix.to_dict() if isinstance(mix, Subnet) else None,
        "macs8": round(report.macs8, 4),
        "tamed_units": [asdict(t) for t in report.tamed[:MOST_TAMED]],
        "held_out": {
            "images": len(held_out.images),
            "kl_to_teacher": round(report.final.divergence, 5),
            "agreement_with_teacher": round(report.final.agreement, 5),
            **_left_out(held_out),
        },
        "command": command,
    }


def _left_out(part: Decoded) -> dict[str, int]:
    """How many pictures could not be read, where there were any."""
    return {"left_out": len(part.left_out)} if part.left_out else {}


@dataclass(frozen=True)
class HeldOut:
    """What the held-out pictures of a training say: how many there are, and the agreement."""

    images: int
    final: TeacherAgreement


def finetuned_provenance(
    checkpoint: Checkpoint,
    trainer: Trainer,
    spec: RunSpec,
    held_out: HeldOut,
    metrics: list[dict[str, Any]],
    command: str,
    owner: Owner | None = None,
) -> dict[str, Any]:
    """The provenance of a fine-tuned model, without its accuracy.

    metrics: the lines of the training's metrics.jsonl.
    """
    subnet = spec.subnet
    share = subnet.share8()
    kind = share_words(share, f"{100 * share:.0f} % of the work in 8-bit rows, the others 4-bit")
    parent = spec.facts.get("after")
    origin = "an earlier training" if parent else "post-training quantisation"
    evaluations = thinned([line for line in metrics if "divergence" in line])
    unread = {why for line in metrics for why in line.get("left_out", ())}
    return {
        "summary": f"{checkpoint.family}, {kind}; quantisation-aware fine-tuning",
        "teacher": checkpoint.stem,
        "weights": weights_facts(checkpoint.file, checkpoint.sha256, owner),
        "method": f"fine-tuning in the integer arithmetic from {origin}; activations 8-bit; patch "
        "embedding and classifier 8-bit",
        "training": {
            "data": spec.facts["images"],
            "recipe": recipe_facts(trainer.recipe.to_dict()),
            "after": recipe_facts(parent) if parent else None,
            "steps": trainer.step,
            "evaluated": [line["step"] for line in evaluations],
            "divergence": [value for line in evaluations for value in line["divergence"].values()],
            **({"left_out": len(unread)} if unread else {}),
        },
        "subnet": subnet.to_dict(),
        "macs8": round(share, 4),
        "held_out": {
            "images": held_out.images,
            "kl_to_teacher": round(held_out.final.divergence, 5),
            "agreement_with_teacher": round(held_out.final.agreement, 5),
        },
        "command": command,
    }


def recipe_facts(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as a model file holds it: parts by prefix, `all` for the empty one."""
    parts = {name or "all": often for name, often in recipe["parts"].items()}
    return {**recipe, "parts": parts}


def thinned(evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most MOST_EVALUATIONS of the evaluations, evenly spread, the last one among them."""
    stride = -(-len(evaluations) // MOST_EVALUATIONS)
    return evaluations[::-1][:: stride or 1][::-1]


# --- commands ---


def option_words(options: Mapping[str, str | Path | None]) -> str:
    """Options with their values, each with a blank before it, without those that are None or empty.

    A path stands with its file name alone.
    """
    words = {key: file_word(v) if isinstance(v, Path) else v for key, v in options.items()}
    return "".join(f" --{key} {shlex.quote(word)}" for key, word in words.items() if word)


def owner_options(owner: Owner) -> dict[str, str | Path | None]:
    """The options that name the weights' owner."""
    return {"weights-from": owner.weights_from, "licence": owner.licence}


def export_command(
    checkpoint: str,
    images: str,
    name: str,
    recipe: QuantisationRecipe,
    options: str = "",
    subnet: str | None = None,
) -> str:
    """The command that exports a model again; paths stand with their file names alone.

    subnet: its file's name; default: the model's name with .json.
    """
    if isinstance(recipe.mix, Subnet):
        choice = f"--subnet {subnet or name + '.json'}"
    else:
        choice = f"--share8 {recipe.mix:g}"
    if recipe.image_size:
        choice += f" --image-size {recipe.image_size}"
    return (
        f"quasar-train export --checkpoint {checkpoint} --images {images} --name {name} "
        f"{choice} --calibration {recipe.calibration} "
        f"--seed {recipe.seed}{options} --out {name}.safetensors"
    )


def finetune_command(origin: str, checkpoint: str, images: str, recipe: str, name: str) -> str:
    """The command that fine-tunes a model again. origin: the options that say what is trained."""
    return (
        f"quasar-train finetune {origin} --checkpoint {checkpoint} --images {images} "
        f"--recipe {Path(recipe).name} --name {name} --out {name}.safetensors"
    )
