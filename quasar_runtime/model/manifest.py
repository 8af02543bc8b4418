"""The manifest of a model file: strict JSON to and from typed values.

It holds what is not a tensor. Types, key set and geometry are checked here, before any tensor is
looked at; the ranges of the rest by `quasar_runtime.model.validate` on the whole model.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from quasar_runtime.errors import ModelFileError, ModelValueError
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa.interface import PATCH
from quasar_runtime.model.network import Model
from quasar_runtime.model.validate import Geometry, check_geometry, check_integer, fail, shown

FORMAT_VERSION = (1, 0)
"""(major, minor): older software cannot read a new major version; a minor one only adds entries."""

KEYS = (
    "architecture",
    "data_sha256",
    "format",
    "labels",
    "name",
    "norms",
    "preprocessing",
    "provenance",
    "target",
)
INTEGER_DIGITS = 20
HUGE_INTEGER = b"0" * (INTEGER_DIGITS + 1)
REMEDY = "get the file again or export the model again"


@dataclass(frozen=True)
class Manifest:
    """A parsed manifest. norms holds (shift, epsilon) by name; data_sha256 is the tensor data's."""

    name: str
    geometry: Geometry
    preprocessing: Preprocessing
    norms: dict[str, tuple[int, int]]
    labels: list[tuple[str, str]]
    provenance: dict[str, Any]
    target: dict[str, Any]
    data_sha256: str


def strict_json(what: str, text: str) -> Any:
    """Parse JSON as RFC 8259 has it, without duplicate keys, NaN, infinities or huge integers.

    Raises ModelFileError; `what` names the text in the message.
    """
    raw = text.encode("utf-8", "replace")
    unusual = b"-0" in raw or HUGE_INTEGER in raw.translate(DIGITS)
    try:
        return (CAREFUL if unusual else QUICK).decode(text)
    except RecursionError:
        raise ModelFileError(f"{what} is nested too deeply; {REMEDY}") from None
    except ValueError as e:
        raise ModelFileError(f"{what} is not valid JSON ({e}); {REMEDY}") from None


def _integer(digits: str) -> int | float:
    if len(digits) > INTEGER_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits, at most {INTEGER_DIGITS}")
    return -0.0 if digits == "-0" else int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {shown(digits)} is not finite")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} occurs more than once")
    return found


QUICK, CAREFUL = (
    json.JSONDecoder(
        parse_int=parse_int,
        parse_float=_number,
        parse_constant=_constant,
        object_pairs_hook=_unique,
    )
    for parse_int in (None, _integer)
)
"""CAREFUL looks at each integer, and takes half as long again. It gives what QUICK gives where a
text has neither more digits in a row than an integer may have nor a minus before a zero."""
DIGITS = bytes(ord("0") if chr(c).isdecimal() else c for c in range(256))
"""Replaces every digit by 0."""


def manifest_text(model: Model, data_sha256: str) -> str:
    """The manifest of a valid model as JSON: keys sorted, no spaces, so one text for one model."""
    blocks = [{"heads": block.heads, "mlp": block.mlp} for block in model.blocks]
    norms = {n: {"shift": v.shift, "epsilon": v.epsilon} for n, v in model.norms().items()}
    values = {
        "format": list(FORMAT_VERSION),
        "name": model.name,
        "architecture": {
            "image_size": model.image_size,
            "patch": PATCH,
            "width": model.width,
            "classes": model.classes,
            "blocks": blocks,
        },
        "preprocessing": {
            "resize": model.preprocessing.resize,
            "crop": model.preprocessing.crop,
            "resampling": model.preprocessing.resampling,
        },
        "norms": norms,
        "labels": [list(label) for label in model.labels],
        "provenance": model.provenance,
        "target": model.target,
        "data_sha256": data_sha256,
    }
    return json.dumps(
        values, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )


def parse_manifest(text: str) -> Manifest:
    """Parse a manifest. ModelFileError: not JSON, another version. ModelValueError: an entry."""
    values = strict_json("the manifest", text)
    if not isinstance(values, dict):
        fail("the manifest", values, "JSON objects")
    minor = _check_version(values.get("format"))
    # A later minor version may have added entries that this software does not need.
    _check_keys("the manifest", values, KEYS, ignore_unknown=minor > FORMAT_VERSION[1])
    geometry = _parse_geometry(values["architecture"])
    return Manifest(
        name=_string("name", values["name"]),
        geometry=geometry,
        preprocessing=_parse_preprocessing(values["preprocessing"], geometry.image_size),
        norms=_parse_norms(values["norms"], geometry),
        labels=_parse_labels(values["labels"]),
        provenance=_object("provenance", values["provenance"]),
        target=_object("target", values["target"]),
        data_sha256=_string("data_sha256", values["data_sha256"]),
    )


def _check_version(version: object) -> int:
    """The minor version; ModelFileError when the major one is not this software's."""
    if (
        not isinstance(version, list)
        or len(version) != 2
        or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in version)
    ):
        fail("format", version, "[major, minor], two integers")
    major, minor = version
    if major != FORMAT_VERSION[0]:
        remedy = "update quasar" if major > FORMAT_VERSION[0] else "export the model again"
        raise ModelFileError(
            f"the file has format version {major}.{minor}, this software reads "
            f"{FORMAT_VERSION[0]}.x; {remedy}"
        )
    return int(minor)


def _check_keys(
    what: str, values: dict[str, Any], keys: tuple[str, ...], *, ignore_unknown: bool = False
) -> None:
    missing = [key for key in keys if key not in values]
    unknown = [key for key in values if key not in keys]
    if missing:
        raise ModelValueError(f"{what} lacks {shown(missing[0])}; {REMEDY}")
    if unknown and not ignore_unknown:
        raise ModelValueError(
            f"{what} has the unknown key {shown(unknown[0])}, allowed: {', '.join(keys)}; {REMEDY}"
        )


def _object(what: str, value: object, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        fail(what, value, "JSON objects")
    if keys is not None:
        _check_keys(what, value, keys)
    return value


def _list(what: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        fail(what, value, "JSON arrays")
    return value


def _string(what: str, value: object) -> str:
    if not isinstance(value, str):
        fail(what, value, "strings")
    return value


def _parse_geometry(value: object) -> Geometry:
    keys = ("image_size", "patch", "width", "classes", "blocks")
    values = _object("architecture", value, keys)
    check_integer("architecture.patch", values["patch"], PATCH, PATCH)
    blocks = []
    for i, block in enumerate(_list("architecture.blocks", values["blocks"])):
        shape = _object(f"architecture.blocks[{i}]", block, ("heads", "mlp"))
        blocks.append((shape["heads"], shape["mlp"]))
    geometry = Geometry(values["image_size"], values["width"], values["classes"], tuple(blocks))
    check_geometry(geometry)
    return geometry


def _parse_preprocessing(value: object, image_size: int) -> Preprocessing:
    values = _object("preprocessing", value, ("resize", "crop", "resampling"))
    check_integer("preprocessing.crop", values["crop"], image_size, image_size)
    return Preprocessing(values["resize"], values["crop"], values["resampling"])


def _parse_norms(value: object, geometry: Geometry) -> dict[str, tuple[int, int]]:
    norms = _object("norms", value, tuple(geometry.norms()))
    parsed = {}
    for name in geometry.norms():
        values = _object(f"norms[{shown(name)}]", norms[name], ("shift", "epsilon"))
        parsed[name] = (values["shift"], values["epsilon"])
    return parsed


def _parse_labels(value: object) -> list[tuple[str, str]]:
    labels = []
    for i, label in enumerate(_list("labels", value)):
        if not isinstance(label, list) or len(label) != 2:
            fail(f"labels[{i}]", label, "pairs of wnid and name")
        labels.append((label[0], label[1]))
    return labels
