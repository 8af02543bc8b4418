"""Accuracy of the integer program and of the float checkpoint, and nearness of the two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from quasar_runtime.devices.base import Device
from quasar_runtime.devices.catalogue import open_device
from quasar_runtime.errors import DataError, DeviceNotFound, ImageError
from quasar_runtime.images.datasets import Dataset, Sample, read_dataset
from quasar_runtime.images.prepare import load_image
from quasar_runtime.measure.evaluate import Evaluation
from quasar_runtime.model.network import Model
from quasar_runtime.session.session import Session

from ..command import warn_left_out
from ..networks.checkpoint import Checkpoint, float_logits
from ..networks.folded import Folded, patches
from ..networks.quantised import QuantisedNetwork

BATCH = 32
DEFAULT_OVERLAY = "b1024"


@dataclass(frozen=True)
class Accuracy:
    """Percent of pictures whose class came first, or among the first five."""

    images: int
    top1: float
    top5: float


@dataclass(frozen=True)
class Nearness:
    """Kullback-Leibler divergence from the float network's answer, and share of equal answers."""

    divergence: float
    agreement: float


def open_fast_device(overlay: str = DEFAULT_OVERLAY) -> Device:
    """The native device, or the reference where the engine is not built: the same bytes."""
    try:
        return open_device("native", overlay=overlay, threads=torch.get_num_threads())
    except DeviceNotFound:
        return open_device("reference", overlay=overlay)


def program_accuracy(model: Model, folder: Path) -> Accuracy:
    """Run the compiled integer program on an ImageFolder, as its target overlay would. Pictures
    that cannot be read do not count; they are named. DataError when none can be."""
    dataset = read_dataset(folder, model.labels)
    overlay = str(model.target.get("overlay", DEFAULT_OVERLAY))
    with open_fast_device(overlay) as device, Session(model, device) as session:
        evaluation = Evaluation(session, dataset)
        for _ in tqdm(evaluation.run(), "evaluate", len(dataset.samples), unit="img", leave=False):
            pass
    warn_left_out((f"{o.sample.path}: {o.error}" for o in evaluation.failed), str(folder))
    if evaluation.top1 is None or evaluation.top5 is None:
        raise DataError(f"{folder}: none of its {len(dataset.samples)} pictures can be read")
    return Accuracy(evaluation.images, evaluation.top1, evaluation.top5)


def program_logits(model: Model, images: Tensor, device: Device) -> Tensor:
    """The integer program's logits (N, classes) on uint8 images (N, S, S, 3)."""
    with Session(model, device) as session:
        accumulators = np.stack([session.run(pixels)[0] for pixels in images.numpy()])
        return torch.from_numpy(accumulators * session.program.scale).float()


@contextmanager
def full_precision() -> Iterator[None]:
    """Matrix multiplications in full float32, whatever the export has chosen for itself."""
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before


@lru_cache(maxsize=4)
def teacher_accuracy(
    checkpoint: Checkpoint, folder: Path, labels: tuple[tuple[str, str], ...]
) -> Accuracy:
    """Run the float checkpoint on an ImageFolder, in float32."""
    first = five = count = 0
    read = _readable(read_dataset(folder, labels), checkpoint)
    while batch := list(islice(read, BATCH)):
        pixels = np.stack([image for _, image in batch])
        with full_precision(), torch.inference_mode():
            logits = float_logits(checkpoint, torch.from_numpy(pixels))
            top = logits.topk(min(5, logits.shape[1]), dim=1).indices
        right = top == torch.tensor([sample.index for sample, _ in batch])[:, None]
        first, five = first + int(right[:, 0].sum()), five + int(right.any(1).sum())
        count += len(batch)
    if not count:
        raise DataError(f"{folder}: none of its pictures can be read")
    return Accuracy(count, 100 * first / count, 100 * five / count)


def _readable(
    dataset: Dataset, checkpoint: Checkpoint
) -> Iterator[tuple[Sample, npt.NDArray[np.uint8]]]:
    """The samples that can be decoded, with their pixels."""
    for sample in tqdm(dataset.samples, "teacher", unit="img", leave=False):
        with suppress(ImageError):  # the program's run names them
            yield sample, load_image(sample.path, checkpoint.preprocessing).pixels


@torch.inference_mode()
def nearness(network: QuantisedNetwork, folded: Folded, images: Tensor) -> Nearness:
    """The quantised network beside the float one, on uint8 images (N, S, S, 3)."""
    divergence, equal = 0.0, 0
    for start in range(0, len(images), BATCH):
        inputs = patches(images[start : start + BATCH])
        want, got = folded(inputs), network(inputs)
        divergence += float(
            F.kl_div(got.log_softmax(1), want.log_softmax(1), log_target=True, reduction="sum")
        )
        equal += int((want.argmax(1) == got.argmax(1)).sum())
    return Nearness(divergence / len(images), equal / len(images))
