"""The folder of a training run: what it is about, its state, and how it goes on.

recipe.json    the recipe, the checkpoint and the pictures; a run goes on with the same only
last.pt        weights, their moving average, optimiser and step (tensors and numbers, no code)
metrics.jsonl  one line per step, and one per evaluation
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from quasar_runtime.errors import DataError
from quasar_runtime.images.preprocessing import Preprocessing

from ..data.recipe import TrainingRecipe
from ..data.source import Source
from ..networks.checkpoint import Checkpoint
from ..networks.folded import Affine, Folded, FoldedBlock
from ..networks.supernet import Supernet
from ..quantise.checks import file_word
from ..spaces.space import MATRICES, Space, Subnet
from .folder import read_json, read_state, write_json, write_state
from .initial import InitialState
from .trainer import Process, Trainer


@dataclass(eq=False)
class Run:
    """A training run as its folder holds it.

    supernet: with the averaged weights; teacher: the float network; facts: checkpoint, its sha256,
    pictures and preprocessing, which the models' provenance names; step: steps taken.
    """

    supernet: Supernet
    teacher: Folded
    recipe: TrainingRecipe
    facts: dict[str, Any]
    step: int

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures are brought to the network's size."""
        return Preprocessing(**self.facts["preprocessing"])


@dataclass(frozen=True)
class RunSpec:
    """What identifies a run: the space, the recipe and the facts of its origin.

    fixed: the subnets that every step trains; None for the sandwich rule.
    """

    space: Space
    recipe: TrainingRecipe
    facts: dict[str, Any]
    fixed: list[Subnet] | None = None

    @property
    def subnet(self) -> Subnet:
        """The one subnet of a fine-tuning; the largest one where all are trained."""
        (subnet,) = self.fixed or [self.space.largest()]
        return subnet


def load_run(folder: Path) -> Run:
    """The present state of a run or a fine-tuning, also while it goes on.

    DataError when the folder holds no run, or its files do not belong together.
    """
    for name in ("recipe.json", "last.pt"):
        if not (folder / name).is_file():
            raise DataError(
                f"{folder} holds no training run (no {name}); make one with quasar-train supernet"
            )
    facts, saved = read_json(folder / "recipe.json"), read_state(folder / "last.pt")
    try:
        return _run_of(folder, facts, saved)
    except (KeyError, TypeError, AttributeError, RuntimeError) as e:
        raise DataError(
            f"{folder}: its files do not belong together ({' '.join(str(e).split())[:200]}); make "
            "the run again with quasar-train supernet"
        ) from None


def _run_of(folder: Path, facts: dict[str, Any], saved: dict[str, Any]) -> Run:
    recipe = TrainingRecipe.parse(f"{folder}/recipe.json", facts.pop("recipe"))
    if recipe.space:
        space = Space.load(recipe.space)
    else:  # a fine-tuning: the space of its one subnet
        subnet = Subnet.from_dict(read_json(folder / "subnet.json"))
        classes = len(saved["supernet"]["head.master"])
        space = Space.around(subnet, facts["preprocessing"]["crop"], classes)
    supernet = Supernet(space, layer_scaling=recipe.layer_scaling)
    supernet.load_state_dict({**saved["supernet"], **saved["average"]})
    return Run(supernet, folded_from(saved["teacher"]), recipe, facts, saved["step"])


def folded_state(folded: Folded) -> dict[str, Any]:
    """A folded network's tensors as last.pt holds them."""
    blocks = [
        {name: [getattr(b, name).weight, getattr(b, name).bias] for name in MATRICES}
        for b in folded.blocks
    ]
    head = [folded.head.weight, folded.head.bias]
    return {"patch": folded.patch, "position": folded.position, "blocks": blocks, "head": head}


def folded_from(state: dict[str, Any]) -> Folded:
    """The inverse of `folded_state`."""
    blocks = [FoldedBlock(**{k: Affine(*v) for k, v in b.items()}) for b in state["blocks"]]
    return Folded(state["patch"], state["position"], blocks, Affine(*state["head"]))


def save_state(folder: Path, trainer: Trainer) -> None:
    """Write last.pt; a process killed meanwhile leaves the one before. DataError on a full disk."""
    state = {**trainer.state(), "teacher": folded_state(trainer.teacher.to("cpu"))}
    write_state(folder / "last.pt", state)


def facts_of(checkpoint: Checkpoint, source: Source) -> dict[str, Any]:
    """What a run's folder says of its origin."""
    how = checkpoint.preprocessing
    return {
        "checkpoint": checkpoint.file,
        "sha256": checkpoint.sha256,
        "images": file_word(source.path),
        "preprocessing": {"resize": how.resize, "crop": how.crop},
    }


def prepare(
    folder: Path,
    spec: RunSpec,
    begin: Callable[[], InitialState],
    process: Process | None = None,
) -> Trainer:
    """The trainer in the state that the folder holds, or at its beginning.

    begin: makes the initial state; called only where there is none in the folder. DataError when
    the folder holds a run with another recipe or another origin.
    """
    process = process or Process()
    recipe = spec.recipe
    facts = json.loads(json.dumps({"recipe": recipe.to_dict(), **spec.facts}))
    path, last = folder / "recipe.json", folder / "last.pt"
    goes_on = last.exists()
    if process.world > 1:
        dist.barrier()  # before any process writes the file
    if goes_on:
        check_same(path, facts)
        return _restored(last, spec, process)
    begun = begin()
    trainer = Trainer(begun.supernet, begun.teacher, recipe, fixed=spec.fixed, process=process)
    if process.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, facts)
        save_state(folder, trainer)
    return trainer


def _restored(last: Path, spec: RunSpec, process: Process) -> Trainer:
    saved = read_state(last)
    try:
        supernet = Supernet(spec.space, layer_scaling=spec.recipe.layer_scaling)
        teacher = folded_from(saved["teacher"])
        trainer = Trainer(supernet, teacher, spec.recipe, fixed=spec.fixed, process=process)
        trainer.restore(saved)
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as e:
        raise DataError(
            f"{last}: not this run's ({' '.join(str(e).split())[:200]}); remove the folder to "
            "begin again"
        ) from None
    return trainer


def check_same(path: Path, facts: dict[str, Any]) -> None:
    """DataError unless the run of `path` has the same recipe, checkpoint and pictures."""
    begun = read_json(path)
    if not isinstance(begun.get("recipe"), dict):
        raise DataError(f"{path}: damaged; remove the folder to begin again")
    flat_old, flat_new = ({**x.pop("recipe"), **x} for x in (begun, json.loads(json.dumps(facts))))
    for key, value in flat_new.items():
        if flat_old.get(key) != value:
            raise DataError(
                f"{path.parent} was begun with {key} = {flat_old.get(key)!r}, now it is {value!r}; "
                "go on with the same, or choose another --out"
            )
