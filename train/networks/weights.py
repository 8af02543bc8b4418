"""Read float tensors from checkpoint files.

Supported are safetensors, PyTorch's own files (.pth, .pt, .bin, .pth.tar: tensors and plain values
alone, never code) and the index of a checkpoint in several parts. The first bytes decide what a
file is, not its name. For any other file the error says what it is and what to do.
"""

from __future__ import annotations

import argparse
import codecs
import hashlib
import json
import pathlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from quasar_runtime.errors import DataError
from quasar_runtime.files import list_files, open_regular
from quasar_runtime.model.validate import shown

from ..messages import warn

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt")
HEAD_BYTES = 4096
MOST_INDEX_BYTES = 2**24
WRAPPINGS = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
"""Keys under which training scripts save the weights; averaged ones first, as in timm."""
LANDMARK = "patch_embed.proj.weight"
"""A tensor of every network of this family; what stands before its name is a prefix."""

Tensors = dict[str, Tensor]


def read_tensors(path: Path) -> tuple[Tensors, str]:
    """(tensors by timm's names, sha256 of the file).

    The sha256 of an index is that of its parts' bytes in turn. DataError when there is nothing
    there, or it holds no tensors that can be read safely.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder; {_inside(path)}")
    with open_regular(path) as file:
        head = file.read(HEAD_BYTES)
    if head[:1] == b"{":
        return _from_index(path)
    tensors = _read(path, head)
    return plain(tensors, path.name), _sha256([path])


def plain(found: Any, file: str) -> Tensors:
    """A file's content as tensors by timm's names, without wrappings and a common prefix.

    DataError when it holds no tensors.
    """
    tensors = _unwrapped(found, file)
    return without_prefix(tensors, file)


def without_prefix(tensors: Tensors, file: str) -> Tensors:
    """The tensors without the prefix that wrappers put before all names.

    Such as `module.`, `model.` and `_orig_mod.`. A classifier beside the network is kept. DataError
    when there are several networks.
    """
    prefixes = {n.removesuffix(LANDMARK) for n in tensors if n.endswith(LANDMARK)}
    if not prefixes or prefixes == {""}:
        return tensors
    if len(prefixes) > 1:
        several = ", ".join(repr(p) for p in sorted(prefixes))
        raise DataError(f"{file}: holds several networks, under {several}; save one of them alone")
    (prefix,) = prefixes
    inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    beside = {n: t for n, t in tensors.items() if not n.startswith(prefix)}
    inside |= {n: t for n, t in beside.items() if n.startswith("head.") and n not in inside}
    others = sorted(set(beside) - set(inside))
    if others:
        warn(f"{file}: {len(others)} tensors beside '{prefix}*' left out: {', '.join(others[:3])}")
    return inside


def _read(path: Path, head: bytes) -> Any:
    """The content of a single file, by its first bytes."""
    for begins, what in FOREIGN:
        if begins(head):
            raise DataError(f"{path}: {what}")
    if head[:4] == b"PK\3\4" or head[:1] == b"\x80":
        return _from_torch(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as e:
        reason = " ".join(str(e).split())
        whole = "incomplete" in reason.lower() or "too large" in reason.lower()
        if whole and head[8:9] == b"{":
            raise DataError(f"{path}: truncated ({reason}); copy it again") from None
        raise DataError(
            f"{path}: not a safetensors file ({reason}); give a checkpoint as .safetensors or as "
            "PyTorch's .pth"
        ) from None


def _page(head: bytes) -> bool:
    return head.lstrip()[:1] == b"<"


FOREIGN: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda h: not h, "empty; copy it again"),
    (
        lambda h: h.startswith(b"version https://git-lfs"),
        "a Git LFS pointer, not the weights; run `git lfs pull`, or download the file itself",
    ),
    (_page, "a web page, not weights; the download has failed: fetch the file's own address"),
    (lambda h: h.startswith(b"\x1f\x8b"), "compressed (gzip); unpack it first"),
    (lambda h: h.startswith(b"BZh"), "compressed (bzip2); unpack it first"),
    (lambda h: h.startswith(b"\xfd7zXZ"), "compressed (xz); unpack it first"),
    (lambda h: h.startswith(b"\x28\xb5\x2f\xfd"), "compressed (zstd); unpack it first"),
    (
        lambda h: h.startswith(b"\x89HDF"),
        "an HDF5 file (Keras); give a PyTorch checkpoint under timm's names",
    ),
    (
        lambda h: h[257:262] == b"ustar",
        "a tar archive; unpack it and give the checkpoint in it",
    ),
    (
        lambda h: h.startswith(b"GGUF"),
        "a GGUF file; give a float checkpoint under timm's names",
    ),
)


def _from_torch(path: Path) -> Any:
    """The content of a file of torch.save; no code is run."""
    _refuse_other_archives(path)
    harmless: list[Any] = [argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath, np.dtype]
    harmless += [np.ndarray, *_numpy_helpers(), *(type(np.dtype(k)) for k in "?bhilqBHILQefd")]
    try:
        with torch.serialization.safe_globals(harmless), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        named = re.search(r"GLOBAL ([\w.]+)", str(e))
        if named is None:
            raise DataError(f"{path}: a damaged PyTorch file; copy it again") from None
        raise DataError(
            f"{path}: holds a Python object ({named[1]}) beside the tensors, whose reading could "
            "run code; save the tensors alone: torch.save(model.state_dict(), ...)"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError) as e:
        raise DataError(
            f"{path}: a damaged or truncated PyTorch file ({' '.join(str(e).split())[:120]}); "
            "copy it again"
        ) from None


def _numpy_helpers() -> list[Any]:
    """The functions that unpickle NumPy's scalars and arrays; they make nothing else."""
    core = getattr(np, "_core", None) or np.core
    multiarray = core.multiarray
    return [multiarray.scalar, multiarray._reconstruct, codecs.encode]


def _refuse_other_archives(path: Path) -> None:
    """DataError for a zip archive that torch.save did not write."""
    if not zipfile.is_zipfile(path):
        return  # PyTorch's older format, or truncated: torch.load says
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(n.endswith(".npy") for n in names):
        raise DataError(f"{path}: NumPy arrays (a JAX checkpoint?); convert it to timm's names")
    if any(n.endswith("/constants.pkl") for n in names):
        raise DataError(f"{path}: a TorchScript program; save its state_dict() with torch.save")
    if not any(n.endswith("data.pkl") for n in names):
        raise DataError(f"{path}: a ZIP archive; unpack it and give the checkpoint in it")


def _from_index(path: Path) -> tuple[Tensors, str]:
    """The tensors of a checkpoint in several parts, by its .index.json."""
    with open_regular(path) as file:
        raw = file.read(MOST_INDEX_BYTES)
    try:
        places = json.loads(raw)["weight_map"]
        parts = sorted(set(places.values()))
        if not parts or not all(isinstance(p, str) and Path(p).name == p for p in parts):
            raise ValueError("names of parts are not those of files beside it")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise DataError(
            f"{path}: JSON, but no index of a checkpoint's parts ({shown(str(e))}); give the "
            "checkpoint itself"
        ) from None
    found: dict[str, Any] = {}
    for part in parts:
        file_of = path.with_name(part)
        with open_regular(file_of) as file:
            head = file.read(HEAD_BYTES)
        found.update(_unwrapped(_read(file_of, head), part))
    lost = sorted(set(places) - set(found))
    if lost:
        raise DataError(f"{path}: names {shown(lost[0])}, which none of its {len(parts)} parts has")
    digest = _sha256([path.with_name(part) for part in parts])
    return without_prefix(found, path.name), digest


def _unwrapped(found: Any, file: str) -> Tensors:
    """The dictionary of tensors inside what a training script saved."""
    for _ in range(4):
        if isinstance(found, Mapping):
            tensors = {n: t for n, t in found.items() if isinstance(t, Tensor)}
            if any(isinstance(n, str) and n.endswith(LANDMARK) for n in tensors):
                return {str(n): _ordinary(t, str(n), file) for n, t in tensors.items()}
            inner = [k for k in WRAPPINGS if isinstance(found.get(k), Mapping) and found[k]]
            if inner:
                if len(inner) > 1:
                    warn(f"{file}: holds {', '.join(inner)}; '{inner[0]}' is taken")
                found = found[inner[0]]
                continue
            if tensors:  # whatever network it is: what is missing is said by who checks them
                return {str(n): _ordinary(t, str(n), file) for n, t in tensors.items()}
        break
    what = "a dictionary without tensors" if isinstance(found, Mapping) else type(found).__name__
    raise DataError(f"{file}: holds {what}; expected the tensors of a model (its state_dict)")


def _ordinary(tensor: Tensor, name: str, file: str) -> Tensor:
    """A dense, contiguous tensor. DataError for any other kind."""
    if tensor.is_quantized or tensor.layout != torch.strided or tensor.is_meta:
        raise DataError(f"{file}: tensor {name} is quantised, sparse or empty; give float weights")
    return tensor.detach().contiguous()


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open_regular(path) as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _inside(folder: Path) -> str:
    """The advice for a path that is a folder."""
    found = list_files(folder, lambda n: n.endswith((*SUFFIXES, ".index.json"))).found
    if not found:
        return f"give the checkpoint's file ({', '.join(SUFFIXES[:4])})"
    index = next((p for p in found if p.name.endswith(".index.json")), found[0])
    return f"give the file in it, such as {index}"
