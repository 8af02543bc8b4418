"""Proof that a model keeps every range that the devices rely on. Always on.

The reader checks the geometry before it looks at a tensor and the whole model before it hands it
out; the writer checks before it writes. What passes here compiles to descriptors inside their
ranges and runs without an overflow on every device; what can still fail is room on a chip.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from quasar_runtime.errors import ModelValueError
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa import interface as hw
from quasar_runtime.model.network import Attention, Linear, Model, Norm

MAX_DEPTH = 64
"""Most blocks: a traced program then has about 910 of the 1,024 descriptors."""
MAX_SIDE = (math.isqrt(hw.MAX_TOKENS - 1)) * hw.PATCH
"""Largest side of the square image: CLS and its patches are at most MAX_TOKENS."""
MAX_RESIZE = 4096
MAX_NAME = 64
MAX_WNID, MAX_LABEL = 64, 256
MAX_FACTS_BYTES = 2**16
"""Most bytes of provenance, and of target, as JSON."""
MAX_FACTS_NESTING = 8
RESAMPLING = ("bicubic", "bilinear")
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9.-]*")
ACCUMULATOR_LIMIT = 2**31
WEIGHT_MAX = np.zeros(256, np.uint8)
"""The largest magnitude of a weight by its row's bits; 0: no row has so many."""
WEIGHT_MAX[4], WEIGHT_MAX[8] = ar.WEIGHT4_MAX, ar.WEIGHT8_MAX
REMEDY = "export the model again with values in that range"


@dataclass(frozen=True)
class Geometry:
    """What fixes the shape of every tensor. blocks holds (heads, mlp) of each block."""

    image_size: int
    width: int
    classes: int
    blocks: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """Patches and CLS."""
        return int((self.image_size // hw.PATCH) ** 2 + 1)

    def matrices(self) -> dict[str, tuple[int, int]]:
        """(rows, inputs) of each weight matrix by name, in the order in which it runs."""
        shapes = {"patch": (self.width, hw.PATCH_CHANNELS)}
        for i, (heads, mlp) in enumerate(self.blocks):
            channels = heads * hw.HEAD_DIM
            shapes[f"blocks.{i}.qkv"] = (3 * channels, self.width)
            shapes[f"blocks.{i}.proj"] = (self.width, channels)
            shapes[f"blocks.{i}.fc1"] = (mlp, self.width)
            shapes[f"blocks.{i}.fc2"] = (self.width, mlp)
        shapes["head"] = (self.classes, self.width)
        return shapes

    def norms(self) -> list[str]:
        """Names of the LayerNorms, in the order in which they run."""
        parts = [f"blocks.{i}.norm{n}" for i in range(len(self.blocks)) for n in (1, 2)]
        return [*parts, "norm"]


class _Short(reprlib.Repr):
    """repr of bounded length and depth, whatever the value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 60, 60

    def repr_int(self, value: int, level: int) -> str:
        return f"an integer of {value.bit_length()} bits" if value.bit_length() > 64 else str(value)


def shown(value: object) -> str:
    """A value as error messages print it: short, printable, one line."""
    return " ".join(_Short().repr(value).split())


def fail(what: str, found: object, allowed: str, remedy: str = REMEDY) -> NoReturn:
    """Raise ModelValueError: what was found, what is allowed, what to do."""
    raise ModelValueError(f"{what} is {shown(found)}, allowed: {allowed}; {remedy}")


def check_integer(what: str, value: object, low: int, high: int, multiple: int = 1) -> int:
    """`value` when it is an integer in [low, high] and a multiple of `multiple`."""
    inside = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    if not isinstance(value, int) or not inside or value % multiple:
        step = f" that are multiples of {multiple}" if multiple > 1 else ""
        fail(what, value, f"integers from {low} to {high}{step}")
    return value


def check_text(what: str, value: object, longest: int) -> str:
    """`value` when it is a string of 1 to `longest` printable characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
        fail(what, value, f"strings of 1 to {longest} printable characters")
    return value


def check_name(name: object) -> str:
    """A model's name: lower-case letters, digits, dots and hyphens."""
    if not isinstance(name, str) or len(name) > MAX_NAME or not NAME_PATTERN.fullmatch(name):
        fail(
            "name",
            name,
            f"at most {MAX_NAME} lower-case letters, digits, '.' and '-', letter or digit first",
            "choose such a name",
        )
    return name


def check_geometry(geometry: Geometry) -> None:
    """Raise ModelValueError unless every device can run a model of these dimensions."""
    at = "architecture."
    check_integer(at + "image_size", geometry.image_size, hw.PATCH, MAX_SIDE, hw.PATCH)
    multiple = hw.CHANNEL_MULTIPLE
    check_integer(at + "width", geometry.width, multiple, hw.MAX_WIDTH, multiple)
    check_integer(at + "classes", geometry.classes, 1, hw.MAX_CHANNELS)
    check_integer("the number of architecture.blocks", len(geometry.blocks), 1, MAX_DEPTH)
    for i, (heads, mlp) in enumerate(geometry.blocks):
        check_integer(f"{at}blocks[{i}].heads", heads, 1, hw.MAX_HEADS)
        check_integer(f"{at}blocks[{i}].mlp", mlp, multiple, hw.MAX_CHANNELS, multiple)


def validate(model: Model) -> None:
    """Raise ModelValueError, naming the tensor or entry, unless every range of the format holds."""
    check_name(model.name)
    geometry = _geometry(model)
    check_geometry(geometry)
    _check_preprocessing(model.preprocessing)
    _check_labels(model.labels, geometry.classes)
    check_facts("provenance", model.provenance)
    check_facts("target", model.target)
    _array("position", model.position, np.int16, (geometry.tokens, geometry.width))
    shapes = geometry.matrices()
    for name, matrix in model.linears().items():
        _check_linear(name, matrix, shapes[name])
    for name, norm in model.norms().items():
        _check_norm(name, norm, geometry.width)
    for i, block in enumerate(model.blocks):
        _check_attention(f"blocks.{i}.attention", block.attention, geometry.blocks[i][0])
        _array(f"blocks.{i}.gelu", block.gelu, np.int8, (hw.TABLE_BYTES,))
        _range(f"blocks.{i}.gelu", block.gelu, -ar.ACTIVATION_MAX, ar.ACTIVATION_MAX)
    _check_head(model)


def _geometry(model: Model) -> Geometry:
    """The dimensions that the model's arrays imply; their ranks are checked here."""
    check_integer("preprocessing.crop", model.preprocessing.crop, hw.PATCH, MAX_SIDE, hw.PATCH)
    matrices = {name: matrix.weights for name, matrix in model.linears().items()}
    for name, array in {"position": model.position, **matrices}.items():
        if not isinstance(array, np.ndarray) or array.ndim != 2:
            fail(name, getattr(array, "shape", array), "arrays of two dimensions")
    for i, block in enumerate(model.blocks):
        if block.qkv.rows % (3 * hw.HEAD_DIM):
            name = f"the number of rows of blocks.{i}.qkv"
            fail(name, block.qkv.rows, f"multiples of {3 * hw.HEAD_DIM}: q, k and v of each head")
    blocks = tuple((block.heads, block.mlp) for block in model.blocks)
    return Geometry(model.image_size, model.width, model.classes, blocks)


def _check_preprocessing(preprocessing: Preprocessing) -> None:
    check_integer("preprocessing.resize", preprocessing.resize, preprocessing.crop, MAX_RESIZE)
    if preprocessing.resampling not in RESAMPLING:
        fail("preprocessing.resampling", preprocessing.resampling, " or ".join(RESAMPLING))


def _check_labels(labels: list[tuple[str, str]], classes: int) -> None:
    if not isinstance(labels, list) or len(labels) != classes:
        found = len(labels) if isinstance(labels, list) else labels
        fail("the number of labels", found, f"{classes}, one per class", "give one label a class")
    for i, label in enumerate(labels):
        if not isinstance(label, tuple) or len(label) != 2:
            fail(f"labels[{i}]", label, "pairs of wnid and name")
        check_text(f"labels[{i}] (wnid)", label[0], MAX_WNID)
        check_text(f"labels[{i}] (name)", label[1], MAX_LABEL)


def check_facts(what: str, facts: object) -> None:
    """Provenance or target: a JSON object of limited size and depth that prints safely."""
    if not isinstance(facts, dict):
        fail(what, facts, "JSON objects")
    _check_json(what, facts, MAX_FACTS_NESTING)
    size = len(json.dumps(facts, ensure_ascii=False).encode())
    if size > MAX_FACTS_BYTES:
        fail(f"the size of {what}", size, f"up to {MAX_FACTS_BYTES} bytes of JSON", "shorten it")


def _check_json(what: str, value: Any, nesting: int) -> None:
    """One JSON value that prints safely and reads back as it was."""
    if isinstance(value, dict | list):
        if nesting == 0:
            fail(what, value, f"values nested at most {MAX_FACTS_NESTING} deep", "flatten it")
        items: Iterable[tuple[object, Any]] = (
            value.items() if isinstance(value, dict) else enumerate(value)
        )
        for key, item in items:
            if isinstance(value, dict):
                check_text(f"a key of {what}", key, MAX_LABEL)
            _check_json(f"{what}[{shown(key)}]", item, nesting - 1)
    elif isinstance(value, str):
        if not value.isprintable():
            fail(what, value, "printable characters")
    elif isinstance(value, float):
        if not math.isfinite(value):
            fail(what, value, "finite numbers")
    elif isinstance(value, int):
        check_integer(what, int(value), -(2**63), 2**63 - 1)
    elif value is not None:
        fail(what, value, "JSON values: objects, arrays, strings, numbers, true, false, null")


def _array(name: str, array: object, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Raise unless `array` is a NumPy array of this type and shape."""
    if isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == shape:
        return
    wanted = f"{np.dtype(dtype).name} arrays of shape {shape}"
    if not isinstance(array, np.ndarray):
        fail(name, array, wanted)
    raise ModelValueError(
        f"{name} is {array.dtype} of shape {array.shape}, allowed: {wanted}; {REMEDY}"
    )


def _range(name: str, values: npt.NDArray[Any], low: int, high: int) -> None:
    """Raise for the first entry outside [low, high]."""
    unsigned = low == 0 and values.dtype.kind == "u"
    if values.max() > high or (not unsigned and values.min() < low):
        at = int(np.flatnonzero((values < low) | (values > high))[0])
        fail(f"{name}[{at}]", int(values[at]), f"{low} to {high}")


def _check_linear(name: str, matrix: Linear, shape: tuple[int, int]) -> None:
    """Types, shapes and ranges of a matrix, and the proof that no accumulator overflows."""
    rows = shape[:1]
    _array(f"{name}.weights", matrix.weights, np.int8, shape)
    _array(f"{name}.bits", matrix.bits, np.uint8, rows)
    _array(f"{name}.bias", matrix.bias, np.int32, rows)
    _array(f"{name}.multiplier", matrix.multiplier, np.uint16, rows)
    _array(f"{name}.shift", matrix.shift, np.uint8, rows)
    limit = WEIGHT_MAX[matrix.bits]
    if not limit.all():
        row = int(np.flatnonzero(limit == 0)[0])
        fail(f"{name}.bits[{row}]", int(matrix.bits[row]), "4 or 8")
    _range(f"{name}.multiplier", matrix.multiplier, 0, ar.MULTIPLIER_MAX)
    _range(f"{name}.shift", matrix.shift, 0, ar.SHIFT_MAX)
    # abs(-128) wraps to -128 in int8, whose bits are 128 in uint8: exact, without a wider copy.
    magnitude = np.abs(matrix.weights).view(np.uint8)
    largest = magnitude.max(axis=1)
    wrong = largest > limit
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        column = int(np.flatnonzero(magnitude[row] > limit[row])[0])
        bound, bits = int(limit[row]), int(matrix.bits[row])
        fail(
            f"{name}.weights[{row}, {column}]",
            int(matrix.weights[row, column]),
            f"{-bound} to {bound} in a row of {bits} bits",
        )
    _prove_no_overflow(name, matrix, largest, lambda row: int(magnitude[row].sum(dtype=np.int64)))


def _prove_no_overflow(
    name: str, matrix: Linear, largest: npt.NDArray[np.uint8], absolute_sum: Callable[[int], int]
) -> None:
    """For every row: 127 * sum |w| + |bias| < 2^31, so that no order of summation overflows.

    inputs * max |w| bounds the sum: first for all rows together, then for each; only rows for which
    that is not enough are summed.
    """
    largest_bias = max(int(matrix.bias.max()), -int(matrix.bias.min()))
    if ar.ACTIVATION_MAX * matrix.inputs * int(largest.max()) + largest_bias < ACCUMULATOR_LIMIT:
        return
    bias = np.abs(matrix.bias.astype(np.int64))
    bound = ar.ACTIVATION_MAX * matrix.inputs * largest.astype(np.int64) + bias
    for row in map(int, np.flatnonzero(bound >= ACCUMULATOR_LIMIT)):
        worst = ar.ACTIVATION_MAX * absolute_sum(row) + int(bias[row])
        if worst >= ACCUMULATOR_LIMIT:
            fail(
                f"the largest accumulator of {name}, row {row} (bias {matrix.bias[row]})",
                worst,
                "127 * sum |w| + |bias| below 2^31",
                "make the bias or the weights of the row smaller",
            )


def _check_norm(name: str, norm: Norm, width: int) -> None:
    _array(f"{name}.gain", norm.gain, np.uint16, (width,))
    _range(f"{name}.gain", norm.gain, 0, ar.MULTIPLIER_MAX)
    check_integer(f"{name}.shift", norm.shift, 1, ar.SHIFT_MAX)
    check_integer(f"{name}.epsilon", norm.epsilon, 1, 2**32 - 1)


def _check_attention(name: str, attention: Attention, heads: int) -> None:
    limits: dict[str, tuple[type[np.generic], int, int]] = {
        "score_multiplier": (np.uint16, 1, ar.MULTIPLIER_MAX),
        "score_shift": (np.uint8, 0, ar.SCORE_SHIFT_MAX),
        "out_multiplier": (np.uint16, 0, ar.MULTIPLIER_MAX),
        "out_shift": (np.uint8, 0, ar.SHIFT_MAX),
    }
    for part, (dtype, low, high) in limits.items():
        values = getattr(attention, part)
        _array(f"{name}.{part}", values, dtype, (heads,))
        _range(f"{name}.{part}", values, low, high)


def _check_head(model: Model) -> None:
    """Patch embedding and classifier are 8-bit; the classifier's accumulators leave as they are."""
    for name, matrix in (("patch", model.patch), ("head", model.head)):
        if matrix.bits.min() != 8:
            row = int(np.flatnonzero(matrix.bits != 8)[0])
            fail(f"{name}.bits[{row}]", int(matrix.bits[row]), f"8 throughout {name}")
    _range("head.multiplier", model.head.multiplier, 1, 1)
    _range("head.shift", model.head.shift, 0, 0)
    scale = model.head_scale
    _array("head.scale", scale, np.float32, (model.classes,))
    wrong = np.flatnonzero(~(np.isfinite(scale) & (scale > 0)))
    if wrong.size:
        fail(f"head.scale[{wrong[0]}]", float(scale[wrong[0]]), "finite numbers above 0")
