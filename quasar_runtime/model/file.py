"""The model file: one safetensors file that holds a whole model. Described in docs/model-file.md.

The header's metadata carries a manifest (JSON) under the key 'quasar'; tensors are named after the
model's parts. With R rows of which R8 are 8-bit and R4 are 4-bit, and C inputs, a matrix NAME is

    NAME.weights8    I8   (R8, C)     its 8-bit rows, in their order
    NAME.weights4    U8   (R4, C/2)   its 4-bit rows, two's complement nibbles, even input low
    NAME.bits        U8   (R,)        8 or 4: of which of the two a row is the next
    NAME.bias        I32  (R,)
    NAME.multiplier  U16  (R,)        not for the classifier
    NAME.shift       U8   (R,)        not for the classifier

and beside these: position, head.scale, each LayerNorm's gain, each block's attention and gelu.
Reading executes nothing and follows no path; the same model gives the same bytes.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from quasar_runtime.errors import (
    ModelError,
    ModelFileError,
    ModelNotFound,
    ModelValueError,
    printable,
)
from quasar_runtime.files import kind_of
from quasar_runtime.isa.interface import TABLE_BYTES
from quasar_runtime.model.manifest import (
    FORMAT_VERSION,
    REMEDY,
    Manifest,
    manifest_text,
    parse_manifest,
    strict_json,
)
from quasar_runtime.model.network import Attention, Block, Linear, Model, Norm
from quasar_runtime.model.validate import Geometry, shown, validate

__all__ = [
    "FORMAT_VERSION",
    "MAX_FILE_BYTES",
    "MAX_HEADER_BYTES",
    "model_from_bytes",
    "model_to_bytes",
    "read_model",
    "write_model",
]

MAX_FILE_BYTES = 2**30
MAX_HEADER_BYTES = 2**24
LENGTH_BYTES = 8
"""A file begins with its header's length, a little-endian uint64."""
MANIFEST_KEY = "quasar"
DTYPES = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "F32": "<f4"}
ENTRY = ("dtype", "shape", "data_offsets")
"""What a safetensors header says of a tensor."""
ATTENTION = {
    "score_multiplier": "U16",
    "score_shift": "U8",
    "out_multiplier": "U16",
    "out_shift": "U8",
}

Arrays = dict[str, npt.NDArray[Any]]
Specs = Mapping[str, tuple[str, list[int], int]]
"""Type, shape and bytes of each tensor by name."""


def write_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Validate a model and write it. The file appears whole or not at all.

    Raises ModelValueError when the model breaks a range, ModelFileError when it is too large or
    the file cannot be written.
    """
    raw = model_to_bytes(model)
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        try:
            partial.write_bytes(raw)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as e:
        raise ModelFileError(
            f"{target} cannot be written ({e.strerror}); choose another place"
        ) from None


def read_model(path: str | os.PathLike[str], *, sha256: str | None = None) -> Model:
    """The model in a file, every range proved.

    sha256, where given, is the expected hexadecimal sum of the whole file. Raises ModelNotFound,
    ModelFileError (unreadable, truncated, oversized, other version, wrong checksum) or
    ModelValueError (a tensor or entry), each beginning with the path.
    """
    try:
        manifest, arrays = _parse(_read(Path(path), sha256))
        return _assemble(manifest, arrays)
    except ModelError as e:
        raise type(e)(f"{printable(os.fsdecode(path))}: {e}") from None


def model_from_bytes(raw: bytes) -> Model:
    """The model in a file's bytes; the errors of read_model."""
    manifest, arrays = _parse(raw)
    return _assemble(manifest, arrays)


def model_to_bytes(model: Model) -> bytes:
    """A file's bytes, the same ones for the same model. ModelValueError when it breaks a range."""
    validate(model)
    arrays = _disassemble(model)
    # The data do not depend on the metadata, so that the manifest can hold their sum.
    data = _data(save(arrays))
    text = manifest_text(model, hashlib.sha256(data).hexdigest())
    raw = save(arrays, metadata={MANIFEST_KEY: text})
    header = len(raw) - len(data) - LENGTH_BYTES
    if header > MAX_HEADER_BYTES or len(raw) > MAX_FILE_BYTES:
        raise ModelFileError(
            f"the model takes {len(raw)} bytes with a header of {header}, allowed are "
            f"{MAX_FILE_BYTES} and {MAX_HEADER_BYTES}; make it smaller"
        )
    return raw


def _data(raw: bytes) -> memoryview:
    """What follows the header."""
    return memoryview(raw)[LENGTH_BYTES + int.from_bytes(raw[:LENGTH_BYTES], "little") :]


def _read(path: Path, sha256: str | None) -> bytes:
    """A file's bytes, read only after its size and its header's length have been found sane."""
    try:
        # A FIFO would block at open, a device at read: only regular files are opened.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ModelFileError(
                f"this is {kind_of(mode)}, not a regular file; give a model's .safetensors file"
            )
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ModelFileError(
                    f"the file has {size} bytes, at most {MAX_FILE_BYTES} are allowed; "
                    "this is not a Quasar model"
                )
            _header_bytes(file.read(LENGTH_BYTES), size)
            file.seek(0)
            raw = file.read(size + 1)
    except FileNotFoundError:
        raise ModelNotFound("no such file; `quasar models list` names the models") from None
    except OSError as e:
        raise ModelFileError(f"the file cannot be read ({e.strerror}); check it") from None
    except ValueError as e:
        raise ModelNotFound(f"no such file ({e}); `quasar models list` names them") from None
    if len(raw) != size:
        raise ModelFileError("the file changed while it was read; try again")
    if sha256 is not None:
        found = hashlib.sha256(raw).hexdigest()
        if found != sha256.lower():
            raise ModelFileError(
                f"the file's sha256 is {found}, expected {sha256.lower()}; the file is damaged "
                "or has been replaced: get it again, or rebuild the index if the change is meant"
            )
    return raw


def _header_bytes(start: bytes, size: int) -> int:
    """The header's length, from a file's first bytes and its size."""
    if size == 0:
        raise ModelFileError(f"the file is empty; {REMEDY}")
    if size < LENGTH_BYTES or len(start) < LENGTH_BYTES:
        raise ModelFileError(
            f"the file is truncated: {size} bytes, a model has at least {LENGTH_BYTES}; {REMEDY}"
        )
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"not a model file: as safetensors its header would have {length} bytes, at most "
            f"{MAX_HEADER_BYTES} are allowed; give a file that Quasar exported"
        )
    if LENGTH_BYTES + length > size:
        raise ModelFileError(
            f"the file is truncated: {size} bytes, its header alone ends at byte "
            f"{LENGTH_BYTES + length}; {REMEDY}"
        )
    return length


def _parse(raw: bytes) -> tuple[Manifest, Arrays]:
    """Manifest and tensors of a file's bytes; names, types, shapes and the data's sum are right."""
    length = _header_bytes(raw[:LENGTH_BYTES], len(raw))
    try:
        text = raw[LENGTH_BYTES : LENGTH_BYTES + length].decode()
    except UnicodeDecodeError as e:
        raise ModelFileError(f"the header is not UTF-8 (byte {e.start}); {REMEDY}") from None
    header = strict_json("the header", text)
    if not isinstance(header, dict):
        raise ModelFileError(f"the header is {shown(header)}, not a JSON object; {REMEDY}")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(MANIFEST_KEY), str):
        raise ModelFileError(
            "a safetensors file without a Quasar manifest; a float checkpoint must first be "
            "exported (quasar-train export)"
        )
    if not all(_is_text(value) for item in metadata.items() for value in item):
        raise ModelFileError(
            f"not a safetensors file (its metadata holds what is not text); {REMEDY}"
        )
    manifest = parse_manifest(metadata[MANIFEST_KEY])
    data = memoryview(raw)[LENGTH_BYTES + length :]
    specs = _check_table(header, manifest.geometry)
    _check_data(header, specs, data, manifest.data_sha256)
    # Copies: aligned, and the file's bytes are free again when the model is built.
    return manifest, {
        name: np.ndarray(shape, DTYPES[dtype], data, header[name]["data_offsets"][0]).copy()
        for name, (dtype, shape, _) in specs.items()
    }


def _is_text(value: object) -> bool:
    """Whether this is a string of Unicode characters, without halves of surrogate pairs."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_table(header: dict[str, Any], geometry: Geometry) -> Specs:
    """What the tensors of this geometry are. ModelValueError unless the header lists exactly these;
    ModelFileError for an entry that safetensors does not know.
    """
    rows8 = []
    for name, (rows, inputs) in geometry.matrices().items():
        found = header.get(f"{name}.weights8")
        shape = found.get("shape") if isinstance(found, dict) else None
        count = shape[0] if isinstance(shape, list) and len(shape) == 2 else None
        if found is not None and (type(count) is not int or not 0 <= count <= rows):
            raise ModelValueError(
                f"{name}.weights8 has shape {shown(shape)}, allowed: (0 to {rows}, {inputs}); "
                f"{REMEDY}"
            )
        rows8.append(count or 0)
    specs = _specs(geometry, tuple(rows8))
    for name, (dtype, wanted, _) in specs.items():
        entry = header.get(name)
        if (
            not isinstance(entry, dict)
            or len(entry) != 3
            or entry.get("dtype") != dtype
            or entry.get("shape") != wanted
        ):
            _refuse_entry(name, entry, dtype, wanted)
    # Equal is not enough: True equals 1, and 32.0 equals 32.
    if {type(n) for name in specs for n in header[name]["shape"]} != {int}:
        for name, (dtype, wanted, _) in specs.items():
            if any(type(n) is not int for n in header[name]["shape"]):
                _refuse_entry(name, header[name], dtype, wanted)
    if len(header) != len(specs):
        unknown = next(name for name in header if name not in specs)
        raise ModelValueError(f"the tensor {shown(unknown)} is unknown to the format; {REMEDY}")
    return specs


def _refuse_entry(name: str, entry: Any, dtype: str, shape: list[int]) -> NoReturn:
    """Raise for what is wrong with a tensor's entry in the header."""
    if entry is None:
        raise ModelValueError(f"the tensor {name} is missing; {REMEDY}")
    if not isinstance(entry, dict):
        raise ModelFileError(f"the header's entry of {name} is not an object; {REMEDY}")
    unknown = next((key for key in entry if key not in ENTRY), None)
    if unknown is not None:
        raise ModelFileError(
            f"the header's entry of {name} has the unknown key {shown(unknown)}; {REMEDY}"
        )
    if entry.get("dtype") == dtype and entry.get("shape") == shape and len(entry) != 3:
        raise ModelFileError(f"the header's entry of {name} has no data_offsets; {REMEDY}")
    raise ModelValueError(
        f"{name} is {shown(entry.get('dtype'))} of shape {shown(entry.get('shape'))}, "
        f"allowed: {dtype} of shape {shape}; {REMEDY}"
    )


def _check_data(header: dict[str, Any], specs: Specs, data: memoryview, sha256: str) -> None:
    """Raise ModelFileError unless the tensors fill the data exactly, one after another, and the
    data have the right sum.
    """
    places = []
    for name, entry in header.items():
        offsets = entry.get("data_offsets")
        if (
            not isinstance(offsets, list)
            or len(offsets) != 2
            or not type(offsets[0]) is type(offsets[1]) is int
            or not 0 <= offsets[0] <= offsets[1]
        ):
            raise ModelFileError(f"data_offsets of {name} are {shown(offsets)}; {REMEDY}")
        places.append((offsets[0], offsets[1], name))
    places.sort()
    end = max(end for _, end, _ in places)
    if len(data) < end:
        raise ModelFileError(
            f"the file is truncated: its tensors need {end} bytes, {len(data)} are there; {REMEDY}"
        )
    if len(data) > end:
        raise ModelFileError(f"{len(data) - end} bytes follow the last tensor; {REMEDY}")
    following = 0
    for begin, end, name in places:
        if begin != following or end - begin != specs[name][2]:
            raise ModelFileError(
                f"not a safetensors file ({name} lies at bytes {begin} to {end} of the data, "
                f"expected {following} to {following + specs[name][2]}); {REMEDY}"
            )
        following = end
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelFileError(
            f"the tensor data are damaged: their sha256 is {found}, the manifest says "
            f"{shown(sha256)}; {REMEDY}"
        )


@lru_cache(maxsize=16)
def _specs(geometry: Geometry, rows8: tuple[int, ...]) -> Specs:
    """Type, shape and bytes of every tensor, given how many rows of each matrix are 8-bit."""
    specs: dict[str, tuple[str, tuple[int, ...]]] = {
        "position": ("I16", (geometry.tokens, geometry.width)),
        "head.scale": ("F32", (geometry.classes,)),
    }
    for (name, (rows, inputs)), wide in zip(geometry.matrices().items(), rows8, strict=True):
        specs[f"{name}.weights8"] = "I8", (wide, inputs)
        specs[f"{name}.weights4"] = "U8", (rows - wide, inputs // 2)
        specs[f"{name}.bits"] = "U8", (rows,)
        specs[f"{name}.bias"] = "I32", (rows,)
        if name != "head":
            specs[f"{name}.multiplier"] = "U16", (rows,)
            specs[f"{name}.shift"] = "U8", (rows,)
    for name in geometry.norms():
        specs[f"{name}.gain"] = "U16", (geometry.width,)
    for i, (heads, _) in enumerate(geometry.blocks):
        for part, dtype in ATTENTION.items():
            specs[f"blocks.{i}.attention.{part}"] = dtype, (heads,)
        specs[f"blocks.{i}.gelu"] = "I8", (TABLE_BYTES,)
    return {
        name: (dtype, list(shape), math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize)
        for name, (dtype, shape) in specs.items()
    }


def pack_nibbles(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """int8 (R, C) in [-8, 7] to uint8 (R, C/2): the nibble of an even input is the low half."""
    nibbles = rows.view(np.uint8) & 15
    return (nibbles[:, 0::2] | nibbles[:, 1::2] << 4).astype(np.uint8, copy=False)


def unpack_nibbles(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """uint8 (R, C/2) to int8 (R, C): the inverse of pack_nibbles."""
    rows = np.empty((packed.shape[0], 2 * packed.shape[1]), np.int8)
    rows[:, 0::2] = (packed << 4).view(np.int8) >> 4
    rows[:, 1::2] = packed.view(np.int8) >> 4
    return rows


def _disassemble(model: Model) -> Arrays:
    """Every tensor of the file by name."""
    arrays: Arrays = {"position": model.position, "head.scale": model.head_scale}
    for name, matrix in model.linears().items():
        wide = matrix.bits == 8
        arrays[f"{name}.weights8"] = matrix.weights[wide]
        arrays[f"{name}.weights4"] = pack_nibbles(matrix.weights[~wide])
        arrays[f"{name}.bits"] = matrix.bits
        arrays[f"{name}.bias"] = matrix.bias
        if name != "head":
            arrays[f"{name}.multiplier"] = matrix.multiplier
            arrays[f"{name}.shift"] = matrix.shift
    for name, norm in model.norms().items():
        arrays[f"{name}.gain"] = norm.gain
    for i, block in enumerate(model.blocks):
        for part in ATTENTION:
            arrays[f"blocks.{i}.attention.{part}"] = getattr(block.attention, part)
        arrays[f"blocks.{i}.gelu"] = block.gelu
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _assemble(manifest: Manifest, arrays: Arrays) -> Model:
    """The validated model. Takes tensors out of `arrays`, so that packed rows are freed."""

    def norm(name: str) -> Norm:
        shift, epsilon = manifest.norms[name]
        return Norm(arrays.pop(f"{name}.gain"), shift, epsilon)

    blocks = []
    for i in range(len(manifest.geometry.blocks)):
        at = f"blocks.{i}"
        parts = {part: arrays.pop(f"{at}.attention.{part}") for part in ATTENTION}
        blocks.append(
            Block(
                norm1=norm(f"{at}.norm1"),
                qkv=_linear(f"{at}.qkv", arrays),
                attention=Attention(**parts),
                proj=_linear(f"{at}.proj", arrays),
                norm2=norm(f"{at}.norm2"),
                fc1=_linear(f"{at}.fc1", arrays),
                gelu=arrays.pop(f"{at}.gelu"),
                fc2=_linear(f"{at}.fc2", arrays),
            )
        )
    model = Model(
        name=manifest.name,
        preprocessing=manifest.preprocessing,
        position=arrays.pop("position"),
        patch=_linear("patch", arrays),
        blocks=blocks,
        norm=norm("norm"),
        head=_linear("head", arrays),
        head_scale=arrays.pop("head.scale"),
        labels=manifest.labels,
        provenance=manifest.provenance,
        target=manifest.target,
    )
    validate(model)
    return model


def _linear(name: str, arrays: Arrays) -> Linear:
    """A matrix from its tensors. ModelValueError when bits and the two kinds of rows disagree."""
    weights8, weights4 = arrays.pop(f"{name}.weights8"), arrays.pop(f"{name}.weights4")
    bits, bias = arrays.pop(f"{name}.bits"), arrays.pop(f"{name}.bias")
    # The classifier's accumulators leave the device as they are.
    if name == "head":
        multiplier, shift = np.ones(bits.size, np.uint16), np.zeros(bits.size, np.uint8)
    else:
        multiplier, shift = arrays.pop(f"{name}.multiplier"), arrays.pop(f"{name}.shift")
    wide = bits == 8
    rows8 = int(np.count_nonzero(wide))
    if rows8 != len(weights8):
        raise ModelValueError(
            f"{name}.bits says that {rows8} rows are 8-bit, {name}.weights8 has {len(weights8)}; "
            f"{REMEDY}"
        )
    weights = weights8
    if len(weights4):
        weights = np.empty((bits.size, weights8.shape[1]), np.int8)
        weights[wide] = weights8
        weights[~wide] = unpack_nibbles(weights4)
    return Linear(weights, bits, bias, multiplier, shift)
