"""The forms in which people's checkpoints lie on disk: read, or refused for what they are."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file
from torch import Tensor

from quasar_runtime.errors import DataError
from tests.train.export_cases import SIZE, random_checkpoint, random_images, random_tensors
from train.networks.checkpoint import (
    PRESETS,
    Checkpoint,
    check_tensors,
    float_logits,
    load_checkpoint,
)
from train.networks.origin import NOT_STATED, PUBLISHED, Owner, family, weights_facts

IMAGES = random_images(2, seed=5)
Tensors = dict[str, Tensor]


def logits(checkpoint: Checkpoint) -> Tensor:
    return float_logits(checkpoint, IMAGES)


WANTED = logits(random_checkpoint())


def loaded(path: Path) -> Checkpoint:
    return load_checkpoint(path, "deit")


# --- read ---


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "net."])
def test_a_prefix_that_a_wrapper_puts_before_all_names_is_taken_away(
    prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_file({prefix + n: t for n, t in random_tensors().items()}, path)
    assert torch.equal(logits(loaded(path)), WANTED)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: {"state_dict": t, "epoch": 3, "best": np.float64(0.5)},
        lambda t: {"model": t, "optimizer": {"state": {}}, "args": argparse.Namespace(lr=1e-3)},
        lambda t: {"state_dict": {f"model.{n}": v for n, v in t.items()}, "hyper_parameters": {}},
        lambda t: {"model": {"state_dict": t}},
        lambda t: {"backbone." + n if "head" not in n else n: v for n, v in t.items()},
        lambda t: {n: torch.nn.Parameter(v) for n, v in t.items()},
        lambda t: {**t, "epoch": 7},
    ],
)
@pytest.mark.parametrize("old_format", [False, True])
def test_what_training_scripts_save_is_read(
    wrap: Callable[[Tensors], Any], old_format: bool, tmp_path: Path
) -> None:
    path = tmp_path / "last.pth.tar"
    torch.save(wrap(random_tensors()), path, _use_new_zipfile_serialization=not old_format)
    assert torch.equal(logits(loaded(path)), WANTED)


def test_averaged_weights_are_taken_before_the_last_ones_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "both.pth"
    torch.save({"model": random_tensors(9), "model_ema": random_tensors(0)}, path)
    assert torch.equal(logits(loaded(path)), WANTED)
    assert "holds model_ema, model; 'model_ema' is taken" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_read(kind: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({n: t.to(kind) for n, t in random_tensors().items()}, path)
    near = float((logits(loaded(path)) - WANTED).abs().max())
    assert near < 0.1 * float(WANTED.std()) + 0.02


def test_transposed_and_shared_memory_is_read(tmp_path: Path) -> None:
    tensors = random_tensors()
    name = "blocks.0.mlp.fc1.weight"
    tensors[name] = tensors[name].t().contiguous().t()
    torch.save(tensors, tmp_path / "a.pt")
    assert torch.equal(logits(loaded(tmp_path / "a.pt")), WANTED)


def test_a_checkpoint_in_parts_is_read_by_its_index(tmp_path: Path) -> None:
    tensors = random_tensors()
    names = sorted(tensors)
    parts = {"a-1-of-2.safetensors": names[::2], "a-2-of-2.safetensors": names[1::2]}
    for part, chosen in parts.items():
        save_file({n: tensors[n] for n in chosen}, tmp_path / part)
    places = {n: part for part, chosen in parts.items() for n in chosen}
    index = tmp_path / "a.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert torch.equal(logits(loaded(index)), WANTED)
    (tmp_path / "a-2-of-2.safetensors").unlink()
    with pytest.raises(DataError, match=r"a-2-of-2\.safetensors: no such file"):
        loaded(index)
    index.write_text(json.dumps({"weight_map": {"x": "../../etc/passwd"}}))
    with pytest.raises(DataError, match="no index of a checkpoint's parts"):
        loaded(index)


def test_biases_that_no_block_has_are_zeros() -> None:
    tensors = random_tensors()
    for i in range(2):
        tensors[f"blocks.{i}.attn.qkv.bias"] = torch.zeros(192)
    want = logits(check_tensors(dict(tensors), PRESETS["deit"]))
    without = {n: t for n, t in tensors.items() if not n.endswith("qkv.bias")}
    assert torch.equal(logits(check_tensors(without, PRESETS["deit"])), want)
    del tensors["blocks.1.attn.qkv.bias"]
    with pytest.raises(DataError, match=r"blocks\.1\.attn\.qkv\.bias is missing"):
        check_tensors(tensors, PRESETS["deit"])


def test_without_a_position_for_cls_it_is_zero() -> None:
    tensors = random_tensors()
    tensors["pos_embed"][:, 0] = 0
    want = logits(check_tensors(dict(tensors), PRESETS["deit"]))
    tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
    assert torch.equal(logits(check_tensors(tensors, PRESETS["deit3"])), want)


def test_a_checkpoint_of_larger_pictures_is_brought_to_size_or_refused() -> None:
    tensors = random_tensors()
    tensors["pos_embed"] = torch.randn(1, 24 * 24 + 1, 64)
    checkpoint = check_tensors(tensors, PRESETS["deit"], "large.pth")
    assert checkpoint.resized(SIZE).image_size == SIZE
    with pytest.raises(DataError, match=r"pictures of 384 pixels, .* give --image-size"):
        checkpoint.resized(None)


# --- refused ---


class Evil:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch stolen",)


def save_shape(tensors: Tensors) -> bytes:
    from safetensors.torch import save

    return save(tensors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "a web page, not weights"),
        (b'{"error": "not found"}', "JSON, but no index"),
        (gzip.compress(b"x" * 100, mtime=0), "compressed .gzip.; unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "an HDF5 file"),
        (b"\0" * 257 + b"ustar" + b"\0" * 250, "a tar archive"),
        (b"no checkpoint at all", "not a safetensors file"),
        (pickle.dumps({"a": 1}), "a damaged PyTorch file|dictionary without tensors"),
        (b"\x80\x02garbage", "damaged"),
        (b"PK\x03\x04truncated", "damaged or truncated PyTorch file"),
        (save_shape(random_tensors())[:-100], "truncated"),
        (save_shape(random_tensors())[:300], "truncated|not a safetensors"),
    ],
)
def test_what_is_no_checkpoint_is_named_as_what_it_is(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        loaded(path)


def test_code_in_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    for new in (True, False):
        torch.save(
            {"model": random_tensors(), "x": Evil()}, path, _use_new_zipfile_serialization=new
        )
        with pytest.raises(DataError, match=r"holds a Python object .* save the tensors alone"):
            loaded(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError):
        loaded(path)
    assert not (tmp_path / "stolen").exists()


def test_other_archives_folders_and_fifos_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "jax.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="NumPy arrays"):
        loaded(tmp_path / "jax.npz")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(DataError, match="holds list; expected the tensors"):
        loaded(tmp_path / "list.pt")
    (tmp_path / "hub").mkdir()
    save_file(random_tensors(), tmp_path / "hub" / "model.safetensors")
    with pytest.raises(
        DataError, match=r"a folder; give the file in it, such as .*hub/model\.safe"
    ):
        loaded(tmp_path / "hub")
    os.mkfifo(tmp_path / "fifo.pth")
    with pytest.raises(DataError, match=r"a FIFO \(named pipe\), not a regular file"):
        loaded(tmp_path / "fifo.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"fc_norm.weight": torch.ones(64)}), r"mean of the tokens .*fc_norm"),
        (lambda t: t.update(dist_token=torch.ones(1, 1, 64)), "a distillation token"),
        (lambda t: t.update(reg_token=torch.ones(1, 4, 64)), "register tokens"),
        (lambda t: t.update({"blocks.0.attn.q_norm.weight": torch.ones(64)}), "qk_norm"),
        (lambda t: t.update({"norm_pre.weight": torch.ones(64)}), "LayerNorm before its blocks"),
        (lambda t: t.pop("cls_token"), "no class token"),
        (lambda t: t.pop("head.weight"), "no classifier"),
        (
            lambda t: t.update({"patch_embed.proj.weight": torch.ones(64, 3, 32, 32)}),
            "patches have 32x32 pixels",
        ),
        (
            lambda t: t.update({"vit.encoder.layer.0.output.dense.weight": torch.ones(64, 64)}),
            "names of Hugging Face transformers",
        ),
        (
            lambda t: t.update({n.replace("blocks", "x.blocks"): v for n, v in dict(t).items()}),
            "not part of a plain ViT",
        ),
    ],
)
def test_a_network_that_is_no_plain_vit_is_refused_for_what_it_has(
    change: Callable[[Tensors], Any], message: str
) -> None:
    tensors = random_tensors()
    change(tensors)
    with pytest.raises(DataError, match=message):
        check_tensors(tensors, PRESETS["deit"], "file")


def test_several_networks_in_a_file_are_not_guessed_at(tmp_path: Path) -> None:
    tensors = random_tensors()
    both = {f"{who}.{n}": t.clone() for who in ("student", "teacher") for n, t in tensors.items()}
    save_file(both, tmp_path / "dino.safetensors")
    with pytest.raises(DataError, match=r"several networks, under 'student\.', 'teacher\.'"):
        loaded(tmp_path / "dino.safetensors")


# --- whose weights they are ---


def test_origin_and_licence_are_stated_for_published_files_alone() -> None:
    mine = weights_facts("deit_mine.pth", "0" * 64)
    assert (mine["from"], mine["licence"]) == (NOT_STATED, NOT_STATED)
    assert mine["file"] == "deit_mine.pth"
    said = weights_facts("a.pth", "0" * 64, Owner("my own", "CC0-1.0"))
    assert (said["from"], said["licence"]) == ("my own", "CC0-1.0")
    for sha256, known in PUBLISHED.items():
        facts = weights_facts("any name", sha256)
        assert known.weights in facts["from"]
        assert facts["licence"] == known.licence
        assert family("any name", sha256) == known.family
    assert family("deit_mine.pth", "0" * 64) == "ViT of deit_mine.pth"
