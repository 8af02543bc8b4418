"""The float network as a teacher, and how far other networks are from it.

The distance is the Kullback-Leibler divergence of the class probabilities, mean over pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..spaces.space import Subnet
from .folded import BATCH, Folded, normed, patches
from .quantised import QuantisedNetwork
from .supernet import Supernet


@dataclass
class TeacherTargets:
    """What a student is compared with.

    log_probabilities (N, classes); residuals {block: normalised residual (N, T, width)}.
    """

    log_probabilities: Tensor
    residuals: dict[int, Tensor]


@dataclass(frozen=True)
class TeacherAgreement:
    """A network beside its teacher, on the same pictures.

    divergence: KL(teacher, network), mean over pictures; agreement: fraction with equal top-1.
    """

    divergence: float
    agreement: float


@torch.no_grad()
def teacher_forward(
    teacher: Folded, activations: Tensor, hints: tuple[int, ...], tokens: Tensor | None = None
) -> TeacherTargets:
    """The teacher's targets for patches int8 (N, T, 768); matrix products in bfloat16.

    hints: blocks whose residuals are kept; tokens: which tokens `activations` are of, None for all.
    """
    if tokens is not None:
        teacher = replace(teacher, position=teacher.position[tokens])
    residuals = {}
    with torch.autocast(activations.device.type, torch.bfloat16):
        x = teacher.embed(activations)
        for i in range(len(teacher.blocks)):
            x = teacher.block(i, x)
            if i in hints:
                residuals[i] = normed(x.float())
        logits = teacher.classify(x)
    return TeacherTargets(logits.float().log_softmax(1), residuals)


def teacher_log_probabilities(teacher: Folded, images: Tensor) -> Tensor:
    """The teacher's log-probabilities (N, classes) on uint8 images (N, S, S, 3)."""
    device = teacher.position.device
    batches = (patches(batch.to(device)) for batch in images.split(BATCH))
    return torch.cat([teacher_forward(teacher, x, ()).log_probabilities for x in batches])


def divergence(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(targets, logits), mean over the batch; both (N, classes), targets as log-probabilities.

    At temperature T both are divided by T and the result is multiplied by T^2, so that gradients
    keep their order of magnitude (Hinton et al., 2015). For large T the result is half the variance
    of the difference over the classes.
    """
    targets = (targets / temperature).log_softmax(1)
    log_probabilities = (logits / temperature).log_softmax(1)
    kl = F.kl_div(log_probabilities, targets, log_target=True, reduction="batchmean")
    return kl * temperature**2


@torch.no_grad()
def subnet_agreement(
    supernet: Supernet, subnet: Subnet, targets: Tensor, images: Tensor
) -> TeacherAgreement:
    """A subnet beside the teacher on uint8 images (N, S, S, 3).

    targets: the teacher's log-probabilities (N, classes) on the same images.
    """
    device = supernet.norm.device
    batches = (patches(batch.to(device)) for batch in images.split(BATCH))
    logits = torch.cat([supernet(x, subnet).logits for x in batches])
    equal = (logits.argmax(1) == targets.argmax(1)).double().mean()
    return TeacherAgreement(float(divergence(logits, targets)), float(equal))


@torch.inference_mode()
def network_agreement(
    network: QuantisedNetwork, folded: Folded, images: Tensor
) -> TeacherAgreement:
    """The quantised network beside the float one on uint8 images (N, S, S, 3)."""
    total, equal = 0.0, 0
    for start in range(0, len(images), BATCH):
        inputs = patches(images[start : start + BATCH])
        want, got = folded(inputs), network(inputs)
        total += float(
            F.kl_div(got.log_softmax(1), want.log_softmax(1), log_target=True, reduction="sum")
        )
        equal += int((want.argmax(1) == got.argmax(1)).sum())
    return TeacherAgreement(total / len(images), equal / len(images))
