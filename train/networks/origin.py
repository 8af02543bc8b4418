"""What a model file says of its float weights.

Author and licence are stated for a checkpoint whose sha256 is that of a published file. For any
other file they are what the user says, or "not stated".
"""

from __future__ import annotations

from dataclasses import dataclass

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Published:
    """A published checkpoint: its family, the weights' author, and the licence."""

    family: str
    weights: str
    licence: str


APACHE = "Apache-2.0, as is the checkpoint from which the model is derived"
PUBLISHED = {
    # timm's deit_tiny_patch16_224 and vit_tiny_patch16_224.augreg_in21k_ft_in1k
    "b2e17235172c1dcddacb55aa8914e2f8b4b95eb9bb7d7782f333bcbef77151b8": Published(
        "DeiT", "Touvron et al. (Meta), trained on ImageNet-1k", APACHE
    ),
    "3f1f07da5e1337265ac1eb0234d13841467caf730b3c4240bd3f98c49bc16a92": Published(
        "ViT AugReg",
        "Steiner et al. (Google), trained on ImageNet-21k, fine-tuned on ImageNet-1k",
        APACHE,
    ),
}
"""By sha256 of the file."""


@dataclass(frozen=True)
class Owner:
    """Author and licence of the weights as the user states them; None where not stated."""

    weights_from: str | None = None
    licence: str | None = None


def weights_facts(file: str, sha256: str, owner: Owner | None = None) -> dict[str, str]:
    """The origin of the float weights for a model's provenance; the user's words come first."""
    known, owner = PUBLISHED.get(sha256), owner or Owner()
    origin = f"{known.family}, {known.weights}" if known else NOT_STATED
    return {
        "from": owner.weights_from or origin,
        "file": file,
        "sha256": sha256,
        "licence": owner.licence or (known.licence if known else NOT_STATED),
    }


def family(file: str, sha256: str) -> str:
    """The network's name in a summary: its published name, or its file."""
    known = PUBLISHED.get(sha256)
    return known.family if known else f"ViT of {file}"
