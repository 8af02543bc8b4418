"""Training recipes: small YAML files in `train/recipes/`, or anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from quasar_runtime.errors import DataError, QuasarError, did_you_mean
from quasar_runtime.files import read_text
from quasar_runtime.model.validate import shown

RECIPES = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True)
class TrainingRecipe:
    """How a supernet, or one subnet, is trained.

    space          search space: a name of train/spaces/ or a file; empty to train one subnet
    parts          times that an epoch shows a picture, by prefix of its file name
    per_class      pictures per class and epoch, of those that `parts` allows; 0 for all
    held_out       pictures kept for evaluation
    unseen         fraction of the classes that is not trained on; the held-out pictures are theirs;
                   0 to hold out pictures of any class
    calibration    pictures for scales and rounding
    views          pictures seen in all
    batch          pictures per step, of all processes together
    random         subnets drawn per step beside the largest and the smallest
    rate           Adam's peak learning rate, for weights in units of their range
    warmup         fraction of the steps over which the rate rises; then it falls to 0 as a cosine
    clip           largest norm of the gradient
    ema            fraction of the moving average that a step keeps
    teacher        loss weight of the divergence from the float network
    inplace        loss weight of the smaller subnets' divergence from the largest
    hint           loss weight of the residuals' difference in the middle and near the end
    label          loss weight of the cross-entropy
    temperature    distillation temperature (Hinton et al., 2015)
    mixup          largest fraction of another picture in a mixture, which the teacher sees too
    layer_scaling  whether to learn a scale per channel that a block writes
    rerank         steps between renewals of the rows' importance, 0 for never
    tokens         fraction of the patches that a step keeps (patch dropout), the same for all
    evaluate       steps between evaluations
    save           steps between saved states
    scale          least fraction of a picture's area in a crop
    colour         largest change of brightness, contrast and saturation
    workers        processes that decode pictures
    seed           of every random choice
    """

    views: int
    space: str = ""
    parts: dict[str, int] = field(default_factory=lambda: {"": 1})
    per_class: int = 0
    held_out: int = 128
    unseen: float = 0.0
    calibration: int = 512
    batch: int = 32
    random: int = 2
    rate: float = 5e-4
    warmup: float = 0.02
    clip: float = 1.0
    ema: float = 0.998
    teacher: float = 1.0
    inplace: float = 0.0
    hint: float = 1.0
    label: float = 0.0
    temperature: float = 1.0
    mixup: float = 0.0
    layer_scaling: bool = True
    rerank: int = 0
    tokens: float = 1.0
    evaluate: int = 200
    save: int = 100
    scale: float = 0.35
    colour: float = 0.2
    workers: int = 1
    seed: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.views // self.batch

    @classmethod
    def load(cls, name: str | Path, changes: Sequence[str] = ()) -> TrainingRecipe:
        """A recipe of `train/recipes/` by name, or any by path.

        changes: settings in place of the file's, `key=value` each. DataError when there is no such
        recipe, or something in it is not allowed.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            path = RECIPES / f"{name}.yaml"
            if not path.exists():
                known = sorted(p.stem for p in RECIPES.glob("*.yaml"))
                raise DataError(
                    f"no recipe '{name}'{did_you_mean(str(name), known)} Known: "
                    f"{', '.join(known)}; or give a .yaml file"
                )
        data = read_yaml(path, DataError)
        if not isinstance(data, dict):
            raise DataError(f"{path} holds no settings; expected lines such as 'batch: 32'")
        return cls.parse(path.name, {**data, **cls.parse_changes(changes)})

    @classmethod
    def parse_changes(cls, changes: Sequence[str]) -> dict[str, Any]:
        """The settings of `key=value` texts. DataError for an unknown key or a wrong value."""
        found: dict[str, Any] = {}
        kinds = _kinds(cls)
        for change in changes:
            key, equals, text = change.partition("=")
            if not equals:
                raise DataError(f"--set {shown(change)}: expected KEY=VALUE, such as batch=32")
            if key in found:
                raise DataError(f"--set gives {key} twice; give it once")
            _check_key("--set", key, kinds)
            found[key] = _checked("--set", key, kinds[key], _from_text(kinds[key], text))
        return found

    @classmethod
    def parse(cls, where: str, data: dict[str, Any]) -> TrainingRecipe:
        """The recipe of a dictionary of settings.

        where: what messages call it. DataError names the setting that is not allowed.
        """
        kinds = _kinds(cls)
        for key, value in list(data.items()):
            _check_key(where, key, kinds)
            data = {**data, key: _checked(where, key, kinds[key], value)}
        if "views" not in data:
            raise DataError(f"{where} lacks the setting 'views', how many pictures to see")
        recipe = cls(**data)
        if recipe.steps < 1:
            raise DataError(
                f"{where}: {recipe.views} views in batches of {recipe.batch} is no step"
            )
        if recipe.mixup and recipe.label:
            raise DataError(f"{where}: a mixture of pictures has no class; set label or mixup to 0")
        if recipe.teacher == recipe.label == 0:
            raise DataError(f"{where}: teacher and label are both 0, so there is nothing to learn")
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """The settings as YAML and JSON hold them."""
        return asdict(self)


def _kinds(recipe: type[TrainingRecipe]) -> dict[str, str]:
    """Kind by setting: str, bool, int, float or dict[str, int]."""
    return {f.name: str(f.type) for f in fields(recipe)}


def _check_key(where: str, key: Any, kinds: Mapping[str, str]) -> None:
    if key not in kinds:
        raise DataError(
            f"{where} has an unknown setting {shown(key)}{did_you_mean(str(key), kinds)} "
            f"Known: {', '.join(kinds)}"
        )


def _from_text(kind: str, text: str) -> Any:
    """The value that a text stands for; the text itself when it is not of that kind."""
    if kind == "str":
        return text
    try:
        return float(text) if kind == "float" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        return text


MOST_COUNT = 2**40
SHARE_BELOW_1 = "a share below 1"
COUNTS = {
    "views": (1, MOST_COUNT),
    "held_out": (1, 10**6),
    "calibration": (1, 10**6),
    "batch": (1, 2**16),
    "random": (0, 64),
    "per_class": (0, 10**6),
    "rerank": (0, MOST_COUNT),
    "evaluate": (1, MOST_COUNT),
    "save": (1, MOST_COUNT),
    "workers": (0, 256),
    "seed": (0, 2**32 - 1),
}
"""Least and greatest value of whole numbers."""
NUMBERS: dict[str, tuple[Callable[[float], bool], str]] = {
    "unseen": (lambda x: 0 <= x < 1, SHARE_BELOW_1),
    "mixup": (lambda x: 0 <= x < 1, SHARE_BELOW_1),
    "ema": (lambda x: 0 <= x < 1, SHARE_BELOW_1),
    "tokens": (lambda x: 0 < x <= 1, "a share up to 1"),
    "scale": (lambda x: 0 < x <= 1, "a share up to 1"),
    "colour": (lambda x: 0 <= x <= 1, "0 to 1"),
    "warmup": (lambda x: 0 <= x <= 1, "0 to 1"),
    "rate": (lambda x: 0 < x <= 100, "more than 0 and at most 100"),
    "clip": (lambda x: 0 < x <= 1e9, "more than 0 and at most 1e9"),
    "temperature": (lambda x: 0 < x <= 1e6, "more than 0 and at most 1e6"),
    **dict.fromkeys(("teacher", "inplace", "hint", "label"), (lambda x: 0 <= x <= 1e6, "0 to 1e6")),
}
"""Predicate and wording of the values allowed for other numbers."""
MOST_OFTEN = 1000
"""Most times that an epoch shows a picture."""
MOST_YAML = 2**20


def read_yaml(path: Path, error: type[QuasarError]) -> Any:
    """The content of a small YAML file. `error` when it cannot be read or is not YAML."""
    text = read_text(path, error, MOST_YAML)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise error(f"{path} is not YAML: {' '.join(str(e).split())[:300]}") from None


def _checked(where: str, key: str, kind: str, value: Any) -> Any:
    """A setting's value. DataError unless it has its kind and is in its range."""
    if kind == "float" and isinstance(value, str):  # YAML 1.1 reads 3e-4 as text
        with suppress(ValueError):
            value = float(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "str":
        right = isinstance(value, str) and len(value) < 4096 and value.isprintable()
    elif kind == "bool":
        right = isinstance(value, bool)
    elif kind == "int":
        right = number and isinstance(value, int) and value >= 0
    elif kind == "float":
        right = number and math.isfinite(value) and value >= 0
    else:
        right, kind = _are_parts(value), "how often (0 to 1000) by beginning of the name"
    if not right:
        raise DataError(f"{where}: {key} is {shown(value)}, expected {kind}, not negative")
    if key in COUNTS:
        low, high = COUNTS[key]
        if not low <= value <= high:
            raise DataError(f"{where}: {key} is {shown(value)}, allowed are {low} to {high}")
    if key in NUMBERS:
        allowed, words = NUMBERS[key]
        if not allowed(value):
            raise DataError(f"{where}: {key} is {value:g}, allowed is {words}")
    return value


def _are_parts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(k, str)
        and len(k) < 100
        and (k.isprintable())
        and isinstance(n, int)
        and not isinstance(n, bool)
        and 0 <= n <= MOST_OFTEN
        for k, n in value.items()
    )
