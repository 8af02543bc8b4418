"""Options that several verbs share, in bundles, and the ranges of numbers.

A bundle is a frozen dataclass and the options that fill it: `@bundle("inputs", Inputs, ...)` gives
the verb one parameter `inputs` in place of one per option.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..data import LABELS_FILE
from ..networks.origin import Owner
from ..networks.presets import PRESETS

if TYPE_CHECKING:
    from ..data.recipe import TrainingRecipe
    from ..networks.checkpoint import Checkpoint

MOST_SEED = 2**32 - 1
Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number. click's usage error for anything else."""
        try:
            finite = math.isfinite(float(value))
        except (TypeError, ValueError):
            finite = True  # click's own message
        if not finite:
            self.fail(f"{value} is not a finite number.", param, ctx)
        return float(super().convert(value, param, ctx))


SHARE = Number(0, 1)
POSITIVE = Number(0, min_open=True)
COUNT = click.IntRange(1)
SEED = click.IntRange(0, MOST_SEED)
THREAD_COUNT = click.IntRange(1, 1024)


def bundle(
    name: str, kind: Callable[..., Any], *options: Callable[[Any], Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that adds options, and gives a verb what they hold as one parameter `name`.

    kind: a dataclass whose fields are the options' names.
    """
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def call(**given: Any) -> None:
            given[name] = kind(**{n: given.pop(n) for n in names})
            function(**given)

        for option in reversed(options):
            option(call)
        return call

    return decorate


@dataclass(frozen=True)
class Inputs:
    """The float checkpoint and the pictures that a verb reads."""

    checkpoint: Path
    images: Path
    preset: str | None

    def load_own(self) -> Checkpoint:
        """The checkpoint at its own image size. DataError when it cannot be used."""
        from ..networks.checkpoint import load_checkpoint

        return load_checkpoint(self.checkpoint, self.preset)

    def load(self, image_size: int | None) -> Checkpoint:
        """The checkpoint at an image size that a model may have, None for its own.

        DataError when it cannot be used.
        """
        return self.load_own().resized(image_size)


inputs = bundle(
    "inputs",
    Inputs,
    click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names."),
    click.option("--images", type=Path, required=True, help="ImageFolder or tar of one."),
    click.option("--preset", help=f"Preprocessing: {', '.join(PRESETS)}; default: by file name."),
)


@dataclass(frozen=True)
class ModelOptions:
    """The model file that a verb writes, and what the file says."""

    name: str
    out: Path
    overlay: str | None
    evaluate: Path | None
    dataset: str | None
    weights_from: str | None
    licence: str | None

    @property
    def owner(self) -> Owner:
        """What the user says of the float weights."""
        return Owner(self.weights_from, self.licence)


model = bundle(
    "model",
    ModelOptions,
    click.option("--name", required=True, help="The model's name."),
    click.option("--out", type=Path, required=True, help="The model file to write."),
    click.option("--overlay", help="Overlay of the model; default: b1024, or what takes it."),
    click.option("--evaluate", type=Path, help="ImageFolder on which to measure the result."),
    click.option("--dataset", help="That data's name in the file; default: the folder's."),
    click.option("--weights-from", help="Author of the weights, for the file; else not stated."),
    click.option("--licence", help="Licence of the weights, for the file; else not stated."),
)


@dataclass(frozen=True)
class RecipeOptions:
    """A training recipe, with changes."""

    recipe: str
    changes: tuple[str, ...]

    def load(self) -> TrainingRecipe:
        """The recipe with its changes. DataError for a setting that is not allowed."""
        from ..data.recipe import TrainingRecipe

        return TrainingRecipe.load(self.recipe, self.changes)

    @property
    def words(self) -> str:
        """The changes as options, each with a blank before it."""
        return "".join(f" --set {change}" for change in self.changes)


def recipe(default: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options --recipe and --set; default: a recipe's name, None to require one."""
    return bundle(
        "recipe",
        RecipeOptions,
        click.option(
            "--recipe",
            default=default,
            required=default is None,
            show_default=True,
            help="Name of a recipe of train/recipes/, or a .yaml file.",
        ),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change a setting of the recipe; may be repeated.",
        ),
    )


@dataclass(frozen=True)
class Compute:
    """How a training computes on the CPU."""

    threads: int
    fuse: bool

    def configure(self) -> None:
        """Set PyTorch's threads and precision, and whether loops are compiled."""
        from ..networks.integer import Fusion
        from ..networks.precision import configure_torch

        configure_torch(self.threads, gpu_tf32=True)
        Fusion.on = self.fuse


compute = bundle(
    "compute",
    Compute,
    click.option("--threads", type=THREAD_COUNT, default=2, show_default=True, help="CPU threads."),
    click.option(
        "--fuse/--no-fuse", default=True, show_default=True, help="Compile loops (a minute)."
    ),
)

image_size = click.option(
    "--image-size", type=int, help="Pixels of the pictures' sides; default: the checkpoint's."
)
labels = click.option("--labels", type=Path, help=f"JSON; default: {LABELS_FILE} beside --images.")
