"""Take a model file's bytes apart, change them and put them together again, without the writer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model

DTYPES = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "F32": "<f4"}


def small_model(seed: int = 1, **changes: Any) -> Model:
    """The smallest legal geometry: 2 tokens, width 32, one block of one head, 3 classes."""
    values = {"image_size": 16, "width": 32, "heads": [1], "mlp": [32], "classes": 3, "share8": 0.5}
    return random_model(seed, **{**values, **changes})


def split(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """(header, tensor data)"""
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def frame(header: str | bytes, data: bytes) -> bytes:
    """A safetensors file of a header's text and tensor data."""
    text = header.encode() if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + data


def join(header: dict[str, Any], data: bytes) -> bytes:
    """A file whose manifest has the right sum of its data."""
    manifest = json.loads(header["__metadata__"]["quasar"])
    manifest["data_sha256"] = hashlib.sha256(data).hexdigest()
    return with_manifest(header, json.dumps(manifest), data)


def with_manifest(header: dict[str, Any], manifest: str, data: bytes) -> bytes:
    """A file with this manifest text."""
    return frame(json.dumps({**header, "__metadata__": {"quasar": manifest}}), data)


def manifest_of(raw: bytes) -> Any:
    return json.loads(split(raw)[0]["__metadata__"]["quasar"])


def edit_manifest(raw: bytes, change: Callable[[Any], object]) -> bytes:
    """The file after `change(manifest)`."""
    header, data = split(raw)
    manifest = manifest_of(raw)
    change(manifest)
    return with_manifest(header, json.dumps(manifest), data)


def edit_header(raw: bytes, change: Callable[[Any], object]) -> bytes:
    """The file after `change(header)`."""
    header, data = split(raw)
    change(header)
    return frame(json.dumps(header), data)


def edit_tensor(raw: bytes, name: str, index: Any, value: Any) -> bytes:
    """The file with tensor[index] = value and the sum of its data made right."""
    header, data = split(raw)
    changed = bytearray(data)
    begin, end = header[name]["data_offsets"]
    dtype = DTYPES[header[name]["dtype"]]
    tensor = np.frombuffer(memoryview(changed)[begin:end], dtype).reshape(header[name]["shape"])
    tensor[index] = value
    return join(header, bytes(changed))
