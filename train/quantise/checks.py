"""Checks before the work: what cannot become a model is refused at once, not after hours.

Checked are dimensions, labels, the overlay, the data to measure on, and what the file will say of
its origin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quasar_runtime.compiler import fit
from quasar_runtime.errors import DataError, ModelValueError, QuasarError
from quasar_runtime.images.datasets import read_dataset
from quasar_runtime.isa.interface import HEAD_DIM
from quasar_runtime.isa.overlay import load_overlay, overlay_names
from quasar_runtime.model.validate import REMEDY, Geometry, check_facts, check_geometry

from ..cost.cycles import PREFERRED_OVERLAY
from ..data.labels import Labels, require_labels
from ..messages import warn
from ..networks.checkpoint import Checkpoint
from ..networks.origin import Owner
from ..spaces.space import BlockConfig, Subnet

LONGEST_WORDS = 256


def check_model(
    checkpoint: Checkpoint, mix: float | Subnet, labels: Labels, named: str | None
) -> str:
    """The overlay for the model of a checkpoint, or of a subnet of it.

    DataError when no model file holds it, no overlay takes it, `named` does not take it, or the
    number of labels is not that of the classes.
    """
    require_labels(labels, checkpoint.classes)
    subnet = mix if isinstance(mix, Subnet) else subnet_of_checkpoint(checkpoint)
    return overlay_for(subnet, checkpoint.image_size, checkpoint.classes, named)


def subnet_of_checkpoint(checkpoint: Checkpoint) -> Subnet:
    """The checkpoint's own geometry as a subnet, all rows 8-bit."""
    t = checkpoint.tensors
    blocks = []
    for i in range(checkpoint.depth):
        heads = t[f"blocks.{i}.attn.proj.weight"].shape[1] // HEAD_DIM
        blocks.append(
            BlockConfig(heads, t[f"blocks.{i}.mlp.fc1.weight"].shape[0], 1.0, 1.0, 1.0, 1.0)
        )
    return Subnet(checkpoint.width, tuple(blocks))


def overlay_for(subnet: Subnet, image_size: int, classes: int, named: str | None = None) -> str:
    """The overlay for a model of these dimensions.

    It is `named`, else the preferred one, else, with a warning, the smallest that takes the model.
    DataError when `named`, or every overlay, is too small, or no model file holds it.
    """
    blocks = tuple((b.heads, b.mlp) for b in subnet.blocks)
    try:
        check_geometry(Geometry(image_size, subnet.width, classes, blocks))
    except ModelValueError as e:
        raise DataError(f"no model file holds this: {str(e).removesuffix(f'; {REMEDY}')}") from None
    heads, mlp = zip(*blocks, strict=True)
    dimensions = fit.Geometry(image_size, subnet.width, heads, mlp, classes)
    if named:
        overlay = load_overlay(named)
        if why := fit.misfit(dimensions, overlay):
            raise DataError(f"{why}; {fit.advice(dimensions, overlay)}")
        return named
    takes = fit.overlays_that_take(dimensions)
    if PREFERRED_OVERLAY in takes:
        return PREFERRED_OVERLAY
    if not takes:
        why = fit.misfit(dimensions, load_overlay(overlay_names()[-1]))  # the largest
        raise DataError(f"no overlay takes this model: {why}; make it smaller")
    why = fit.misfit(dimensions, load_overlay(PREFERRED_OVERLAY))
    warn(f"{why}; the model is made for {takes[0]}: run it with --overlay {takes[0]}")
    return takes[0]


def check_evaluation(folder: Path | None, dataset: str | None, labels: Labels) -> None:
    """DataError unless `folder` can be evaluated and `dataset` can stand in a model file."""
    check_words("--dataset", dataset, LONGEST_WORDS)
    if folder is not None:
        read_dataset(folder, labels)


def check_words(option: str, text: str | None, longest: int) -> str | None:
    """`text`, if it can stand in a model file.

    DataError unless it is printable and has 1 to `longest` characters.
    """
    if text is not None and not (1 <= len(text) <= longest and text.isprintable()):
        raise DataError(f"{option} is {text[:60]!r}, expected 1 to {longest} printable characters")
    return text


def check_owner(owner: Owner) -> None:
    """DataError unless the user's words on the weights can stand in a model file."""
    check_words("--weights-from", owner.weights_from, LONGEST_WORDS)
    check_words("--licence", owner.licence, LONGEST_WORDS)


def check_provenance(facts: dict[str, Any]) -> None:
    """DataError unless these facts fit the limits of a model file."""
    try:
        check_facts("provenance", facts)
    except QuasarError as e:
        raise DataError(f"{e}; the file could not be written") from None


def file_word(path: Path | str) -> str:
    """A file's name with what a model file cannot hold escaped."""
    name = path if isinstance(path, str) else path.absolute().name
    return name if name.isprintable() else ascii(name)[1:-1]
