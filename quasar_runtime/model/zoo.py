"""The models that come with Quasar: a folder of model files and the index that describes them.

The index is made from the files themselves (`python -m quasar_runtime.model.zoo FOLDER`), so that
what `models list` shows is what the files hold; its sums tell a damaged or replaced file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quasar_runtime.errors import (
    ModelError,
    ModelFileError,
    ModelNotFound,
    QuasarError,
    did_you_mean,
    printable,
)
from quasar_runtime.files import read_text, replacing
from quasar_runtime.model.file import read_model
from quasar_runtime.model.manifest import strict_json
from quasar_runtime.model.network import Model
from quasar_runtime.model.validate import shown
from quasar_runtime.resources import data_folder

INDEX = "index.json"
SUFFIX = ".safetensors"
RATES_MARK = "; by the cycle model "
"""Separates a summary from the frame rates in it."""
CLOCK = "clock_mhz"
"""Key beside the overlays in a file's frame rates: the clock at which they hold."""
REBUILD = "rebuild the index with `python -m quasar_runtime.model.zoo FOLDER`"


@dataclass(frozen=True)
class ZooEntry:
    """One model of the zoo.

    name          as `--model` takes it; the file's name without its suffix
    file          name of the file in the zoo's folder
    sha256        hexadecimal sum of that file
    parameters    weights, biases, gains and position values
    macs          multiply-accumulates that an image takes, whatever their bits
    rows8         share of 8-bit rows in the blocks' matrices, 0 to 1
    top1          measured accuracy in percent, or None
    teacher_top1  accuracy of the float network in percent, on the same pictures, or None
    dataset       on what they were measured, or None
    frame_rates   overlay -> images per second, as the file states them
    rates_by      how the frame rates were found, or None
    teacher       whose weights were quantised, or None
    licence       of the weights, or None
    summary       one line on what the model is
    """

    name: str
    file: str
    sha256: str
    parameters: int
    macs: int
    rows8: float
    top1: float | None
    teacher_top1: float | None
    dataset: str | None
    frame_rates: dict[str, float]
    rates_by: str | None
    teacher: str | None
    licence: str | None
    summary: str

    @property
    def path(self) -> Path:
        """The model's file."""
        return data_folder("model_zoo") / self.file


@dataclass(frozen=True)
class Verification:
    """What verify_models found of one model: problem is None when all is well."""

    name: str
    path: Path
    problem: str | None


def list_models() -> list[ZooEntry]:
    """Every model of the zoo, by name. ModelNotFound: no index; ModelFileError: a malformed one."""
    path = data_folder("model_zoo") / INDEX
    if not os.path.lexists(path):
        raise ModelNotFound(
            f"no zoo: {path} is missing; set QUASAR_MODEL_ZOO to the zoo's folder or {REBUILD}"
        )
    try:
        text = read_text(path, ModelFileError)
    except ModelFileError as e:
        raise ModelFileError(f"{e}; set QUASAR_MODEL_ZOO to a zoo's folder or {REBUILD}") from None
    values = strict_json(str(path), text)
    models = values.get("models") if isinstance(values, dict) else None
    if not isinstance(models, list):
        raise ModelFileError(f"{path} holds no list named 'models'; {REBUILD}")
    entries = [_parse_entry(f"{path}: models[{i}]", value) for i, value in enumerate(models)]
    return sorted(entries, key=lambda entry: entry.name)


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model of the zoo, or a model file's path when it exists.

    A name is what has neither a folder nor the suffix .safetensors. ModelNotFound, with the closest
    name, when there is neither.
    """
    path = _own_file(name_or_path)
    return path if path is not None else _find_entry(os.fspath(name_or_path)).path


def load_model(name_or_path: str | os.PathLike[str]) -> Model:
    """Read a model by the zoo's name, its sum compared with the index, or from a file.

    Raises what find_model and read_model raise.
    """
    path = _own_file(name_or_path)
    if path is not None:
        return read_model(path)
    return _load_entry(_find_entry(os.fspath(name_or_path)))


def verify_models() -> Iterator[Verification]:
    """Read every model of the zoo, one at a time: sum, ranges, and the facts in the index."""
    for entry in list_models():
        problem = None
        try:
            model = _load_entry(entry)
            if describe(model, entry.file, entry.sha256) != entry:
                problem = f"the index says other facts than the file; {REBUILD}"
        except ModelError as e:
            problem = str(e)
        yield Verification(entry.name, entry.path, problem)


def describe(model: Model, file: str, sha256: str) -> ZooEntry:
    """The entry of a model, from what the model holds."""
    accuracy = _object(model.provenance.get("accuracy"))
    rates = _object(model.provenance.get("frame_rates"))
    blocks = [m for name, m in model.linears().items() if name.startswith("blocks.")]
    parameters = sum(m.weights.size + m.rows for m in model.linears().values())
    parameters += sum(norm.gain.size for norm in model.norms().values()) + model.position.size
    return ZooEntry(
        name=model.name,
        file=file,
        sha256=sha256,
        parameters=parameters,
        macs=count_macs(model),
        rows8=round(sum(m.rows8 for m in blocks) / sum(m.rows for m in blocks), 4),
        top1=_number(accuracy.get("top1")),
        teacher_top1=_number(accuracy.get("teacher_top1")),
        dataset=_text(accuracy.get("dataset")),
        frame_rates={
            name: fps
            for name, value in sorted(rates.items())
            if name != CLOCK and (fps := _number(value)) is not None
        },
        rates_by=_text(rates.get("by")),
        teacher=_text(model.provenance.get("teacher")),
        licence=_text(_object(model.provenance.get("weights")).get("licence")),
        summary=_text(model.provenance.get("summary")) or "",
    )


def count_macs(model: Model) -> int:
    """Multiply-accumulates that an image takes, each counted once whatever its bits.

    What a program executes: in the last block only what CLS needs, K and V of all tokens.
    """
    tokens = model.tokens
    total = tokens * model.patch.weights.size + model.head.weights.size
    for i, block in enumerate(model.blocks):
        queries = 1 if i == model.depth - 1 else tokens
        q = block.qkv.weights.size // 3
        total += queries * q + tokens * 2 * q
        total += 2 * queries * tokens * block.proj.inputs
        total += queries * sum(m.weights.size for m in (block.proj, block.fc1, block.fc2))
    return total


def build_index(folder: str | os.PathLike[str]) -> list[ZooEntry]:
    """Write a folder's index.json from its model files, each read and validated; the entries.

    ModelNotFound when there are none; ModelFileError when a file is not named after its model.
    """
    root = Path(folder)
    paths = sorted(root.glob(f"*{SUFFIX}"))
    if not paths:
        raise ModelNotFound(f"no *{SUFFIX} file in {root}; export a model there first")
    entries = []
    for path in paths:
        model = read_model(path)
        if path.name != model.name + SUFFIX:
            raise ModelFileError(
                f"{path} holds the model '{model.name}'; rename it to {model.name}{SUFFIX}"
            )
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append(describe(model, path.name, sha256))
    models = [asdict(entry) for entry in entries]
    text = json.dumps({"models": models}, indent=2, ensure_ascii=False)
    with replacing(root / INDEX, ModelFileError) as file:
        file.write(text.encode() + b"\n")
    return entries


def _own_file(name_or_path: str | os.PathLike[str]) -> Path | None:
    """The path of a model file that is not asked for by the zoo's name; None for a name."""
    text = os.fspath(name_or_path)
    path = Path(text)
    is_name = isinstance(name_or_path, str) and path.name == text and not text.endswith(SUFFIX)
    if is_name:
        return None
    if not os.path.lexists(path):
        raise ModelNotFound(f"no such file: {printable(text)}{_hint(path.stem)}")
    return path


def _hint(stem: str) -> str:
    """The zoo's name closest to a missing file's; a missing file needs no zoo to be reported."""
    try:
        return did_you_mean(stem, [entry.name for entry in list_models()])
    except ModelError:
        return ""


def _find_entry(name: str) -> ZooEntry:
    entries = {entry.name: entry for entry in list_models()}
    if name not in entries:
        hint = did_you_mean(name, entries) or ";"
        raise ModelNotFound(
            f"no model named {shown(name)}{hint} known: {', '.join(entries) or 'none'}"
            " (a file is given with its folder or its suffix)"
        )
    return entries[name]


def _load_entry(entry: ZooEntry) -> Model:
    """Read a zoo's model, its sum compared with the index."""
    model = read_model(entry.path, sha256=entry.sha256)
    if model.name != entry.name:
        raise ModelFileError(f"{entry.path} holds '{model.name}', not '{entry.name}'; {REBUILD}")
    return model


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parse_entry(where: str, value: Any) -> ZooEntry:
    """One entry of the index; ModelFileError for a missing or unknown key or another type."""
    kinds: dict[str, tuple[type, ...]] = {
        "name": (str,),
        "file": (str,),
        "sha256": (str,),
        "parameters": (int,),
        "macs": (int,),
        "rows8": (int, float),
        "top1": (int, float, type(None)),
        "teacher_top1": (int, float, type(None)),
        "dataset": (str, type(None)),
        "frame_rates": (dict,),
        "rates_by": (str, type(None)),
        "teacher": (str, type(None)),
        "licence": (str, type(None)),
        "summary": (str,),
    }
    if not isinstance(value, dict) or set(value) != set(kinds):
        found = sorted(value) if isinstance(value, dict) else value
        raise ModelFileError(
            f"{where} has {shown(found)}, expected the keys {', '.join(kinds)}; {REBUILD}"
        )
    for key, allowed in kinds.items():
        if not isinstance(value[key], allowed) or isinstance(value[key], bool):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise ModelFileError(
                f"{where}: {key} is {shown(value[key])}, expected {names}; {REBUILD}"
            )
    for overlay, fps in value["frame_rates"].items():
        if _number(fps) is None:
            raise ModelFileError(
                f"{where}: frame_rates of {shown(overlay)} is {shown(fps)}, expected a number; "
                f"{REBUILD}"
            )
    # The index points into its own folder and nowhere else.
    if Path(value["file"]).name != value["file"] or value["file"] != value["name"] + SUFFIX:
        raise ModelFileError(
            f"{where}: file is {shown(value['file'])}, expected {value['name']}{SUFFIX}; {REBUILD}"
        )
    return ZooEntry(**value)


def main(arguments: list[str] | None = None) -> int:
    """Rebuild a folder's index. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m quasar_runtime.model.zoo",
        description="Write index.json from the model files.",
    )
    parser.add_argument("folder", help="folder of *.safetensors model files")
    try:
        entries = build_index(parser.parse_args(arguments).folder)
    except QuasarError as e:
        print(f"Error: {e}", file=sys.stderr)
        return 1
    for entry in entries:
        print(f"{entry.sha256[:12]}  {entry.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
