"""The emitted model run as its integer program."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from quasar_runtime.devices.base import Device
from quasar_runtime.devices.catalogue import open_device
from quasar_runtime.errors import DeviceNotFound
from quasar_runtime.model.network import Model
from quasar_runtime.session.session import Session

from ..cost.cycles import PREFERRED_OVERLAY


def open_fast_device(overlay: str = PREFERRED_OVERLAY) -> Device:
    """The native device; without an engine the reference device, which gives the same bytes."""
    try:
        return open_device("native", overlay=overlay, threads=torch.get_num_threads())
    except DeviceNotFound:
        return open_device("reference", overlay=overlay)


def program_logits(model: Model, images: Tensor, device: Device) -> Tensor:
    """Logits (N, classes) of the integer program on uint8 images (N, S, S, 3)."""
    with Session(model, device) as session:
        accumulators = np.stack([session.run(pixels)[0] for pixels in images.numpy()])
        return torch.from_numpy(accumulators * session.program.scale).float()
