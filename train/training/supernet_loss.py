"""The loss of a supernet's subnets, for a search."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from quasar_runtime.devices.catalogue import open_device
from quasar_runtime.errors import CompileError, DeviceNotFound, ModelValueError

from ..data.pictures import pictures
from ..data.source import Source
from ..data.views import split
from ..messages import warn
from ..networks.teacher import divergence, subnet_agreement, teacher_log_probabilities
from ..quantise.emit import emit
from ..quantise.program import program_logits
from ..spaces.space import Subnet
from .run_folder import Run, load_run

LARGEST = "b8192"
"""The overlay on which subnets run to be rated, whatever overlay they are searched for."""


class SupernetLoss:
    """The divergence of a supernet's subnets from its teacher: a callable Subnet -> float.

    It is measured on pictures that the supernet was not trained on; inf for a subnet that no model
    file can hold.

    A subnet is rated by its integer program on the native device, which is several times faster
    than the supernet in PyTorch and has the same activations. The supernet rates it where there is
    no native device, or where the subnet is larger than any overlay takes.
    """

    def __init__(self, run: Run, images: Tensor) -> None:
        self.run, self.images = run, images
        self.targets = teacher_log_probabilities(run.teacher, images)

    @classmethod
    def load(cls, folder: Path, images: Path) -> SupernetLoss:
        """Load a run's folder, and the pictures of which the run held some out.

        DataError when either cannot be read.
        """
        run, source = load_run(folder), Source(images)
        if run.facts["images"] != images.absolute().name:
            warn(
                f"{folder} was trained on {run.facts['images']}, not on {images}: it may have seen "
                "the pictures that subnets are now rated on"
            )
        held_out = split(source.names, run.recipe).held_out
        return cls(run, pictures(source, held_out, run.preprocessing))

    def __call__(self, subnet: Subnet) -> float:
        """The divergence of a subnet; inf for one that no model file can hold."""
        run = self.run
        labels = [(f"n{i:08}", str(i)) for i in range(run.supernet.space.classes)]
        try:
            model = emit(run.supernet.extract(subnet), "subnet", run.preprocessing, labels)
        except ModelValueError:
            return math.inf
        try:
            threads = torch.get_num_threads()
            with open_device("native", overlay=LARGEST, threads=threads) as device:
                logits = program_logits(model, self.images, device)
        except (CompileError, DeviceNotFound):
            return subnet_agreement(run.supernet, subnet, self.targets, self.images).divergence
        return float(divergence(logits, self.targets))
