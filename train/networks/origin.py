"""What a model file says of its float weights: what is known of them, or what their owner says.

Author and licence are stated where the checkpoint's sha256 is that of a published file; a file of
another sum is what its owner says that it is, or "not stated".
"""

from __future__ import annotations

from dataclasses import dataclass

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Published:
    """A published checkpoint: its family, whose weights they are, and the licence."""

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
    """What the user says of the weights; None where nothing."""

    weights_from: str | None = None
    licence: str | None = None


def weights_facts(file: str, sha256: str, owner: Owner | None = None) -> dict[str, str]:
    """Where the float weights come from, for a model's provenance. The user's words come first."""
    known, owner = PUBLISHED.get(sha256), owner or Owner()
    origin = f"{known.family}, {known.weights}" if known else NOT_STATED
    return {
        "from": owner.weights_from or origin,
        "file": file,
        "sha256": sha256,
        "licence": owner.licence or (known.licence if known else NOT_STATED),
    }


def family(file: str, sha256: str) -> str:
    """What a summary calls the network: its published name, or the file that it comes from."""
    known = PUBLISHED.get(sha256)
    return known.family if known else f"ViT of {file}"
