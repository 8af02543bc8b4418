"""Top-1 and top-5 accuracy of the integer program and of the float checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from quasar_runtime.errors import DataError, ImageError
from quasar_runtime.images.datasets import Dataset, Sample, read_dataset
from quasar_runtime.images.prepare import load_image
from quasar_runtime.measure.evaluate import Evaluation
from quasar_runtime.model.network import Model
from quasar_runtime.session.session import Session

from ..cost.cycles import PREFERRED_OVERLAY
from ..messages import warn_left_out
from ..networks.checkpoint import Checkpoint, float_logits
from ..networks.folded import BATCH
from ..networks.precision import full_precision
from ..quantise.program import open_fast_device


@dataclass(frozen=True)
class Accuracy:
    """Percent of `images` pictures whose class came first (top1), or in the first five (top5)."""

    images: int
    top1: float
    top5: float


def program_accuracy(model: Model, folder: Path) -> Accuracy:
    """Accuracy of the compiled integer program, for its target overlay, on an ImageFolder.

    Pictures that cannot be read are named and do not count. DataError when none can be read.
    """
    dataset = read_dataset(folder, model.labels)
    overlay = str(model.target.get("overlay", PREFERRED_OVERLAY))
    with open_fast_device(overlay) as device, Session(model, device) as session:
        evaluation = Evaluation(session, dataset)
        for _ in tqdm(evaluation.run(), "evaluate", len(dataset.samples), unit="img", leave=False):
            pass
    warn_left_out((f"{o.sample.path}: {o.error}" for o in evaluation.failed), str(folder))
    if evaluation.top1 is None or evaluation.top5 is None:
        raise DataError(f"{folder}: none of its {len(dataset.samples)} pictures can be read")
    return Accuracy(evaluation.images, evaluation.top1, evaluation.top5)


@lru_cache(maxsize=4)
def teacher_accuracy(
    checkpoint: Checkpoint, folder: Path, labels: tuple[tuple[str, str], ...]
) -> Accuracy:
    """Accuracy of the float checkpoint on an ImageFolder, in float32.

    DataError when no picture can be read.
    """
    first = five = count = 0
    read = _readable(read_dataset(folder, list(labels)), checkpoint)
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
