"""Every zoo model on real photographs: the reference's accumulators, with every kernel set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.native.device import NativeDevice, available_kernels
from quasar_runtime.devices.reference.executor import run
from quasar_runtime.images.prepare import load_image
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.zoo import list_models, load_model
from quasar_runtime.session.session import Session

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT.parent / "shared" / "data" / "imagenet_sample"
MODELS = [entry.name for entry in list_models()]
COUNT = 20


def sample() -> list[Path]:
    """Pictures of COUNT classes spread over the sample."""
    folders = sorted(os.listdir(SAMPLE))
    chosen = folders[:: len(folders) // COUNT][:COUNT]
    return [min((SAMPLE / name).iterdir()) for name in chosen]


@cache
def expected(model: str, pictures: tuple[Path, ...]) -> list[npt.NDArray[np.int32]]:
    """What the reference answers."""
    loaded = load_model(model)
    program = compile_model(loaded, load_overlay("b1024"))
    pixels = [load_image(p, loaded.preprocessing).pixels for p in pictures]
    return [run(program, x)[: 4 * loaded.classes].view("<i4") for x in pixels]


def answers(
    model: str, kernels: str, pictures: tuple[Path, ...]
) -> Iterator[npt.NDArray[np.int32]]:
    with (
        NativeDevice(load_overlay("b1024"), threads=1, kernels=kernels) as device,
        Session(model, device) as s,
    ):
        for picture in pictures:
            yield s.run(s.preprocess(picture))[0]


@pytest.mark.parametrize("kernels", available_kernels())
@pytest.mark.parametrize("model", MODELS)
def test_kernels_give_the_references_bytes_on_the_example_photos(model: str, kernels: str) -> None:
    pictures = tuple(sorted((ROOT / "examples").glob("*.jpg")))
    assert len(pictures) >= 2
    for want, got in zip(expected(model, pictures), answers(model, kernels, pictures), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the labelled photographs are not on this machine")
@pytest.mark.parametrize("kernels", available_kernels())
@pytest.mark.parametrize("model", MODELS)
def test_kernels_give_the_references_bytes_on_twenty_photos(model: str, kernels: str) -> None:
    pictures = tuple(sample())
    assert len(pictures) == COUNT
    for want, got in zip(expected(model, pictures), answers(model, kernels, pictures), strict=True):
        np.testing.assert_array_equal(got, want)
