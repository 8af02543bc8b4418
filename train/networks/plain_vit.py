"""Plain ViTs: what they lack is completed with zeros, other networks are refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from quasar_runtime.errors import DataError

OPTIONAL_BIASES = (
    *(f"blocks.{{}}.{name}.bias" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")),
    "patch_embed.proj.bias",
    "head.bias",
)
"""Biases that some plain ViTs are trained without (qkv_bias=False and so on): zeros."""

OTHER_NAMES = (
    (r"(^|\.)encoder\.layer\.\d+\.", "Hugging Face transformers"),
    (r"(^|\.)encoder\.layers\.encoder_layer_\d+\.", "torchvision"),
    (r"(^|\.)transformer\.resblocks\.\d+\.", "OpenCLIP"),
    (r"(^|\.)Transformer/encoderblock", "JAX's vision_transformer"),
)
"""Patterns of tensor names in other libraries."""

OTHER_NETWORKS = (
    (r"^(dist_token|head_dist\.)", "a distillation token (distilled DeiT)"),
    (r"^(reg_token|register_tokens)", "register tokens"),
    (r"^fc_norm\.", "the mean of the tokens under its classifier (fc_norm), not CLS"),
    (r"^attn_pool\.", "attention pooling under its classifier, not CLS"),
    (r"^pre_logits\.", "a layer before its classifier (pre_logits)"),
    (r"^norm_pre\.", "a LayerNorm before its blocks (norm_pre)"),
    (r"\.attn\.[qk]_norm\.", "norms of queries and keys (qk_norm)"),
    (r"(relative_position_bias_table|\.rel_pos)", "relative positions"),
    (r"\.attn\.q_bias$", "biases of queries and values apart (BEiT)"),
    (r"\.mlp\.(w12|w1|fc1_g)\.", "gated MLPs (SwiGLU)"),
    (r"^(patch_embed\.(norm|conv)|layers\.\d)", "another architecture than a plain ViT"),
)
"""Patterns of tensor names that a plain ViT does not have, and what they belong to."""


def block_numbers(tensors: Mapping[str, Tensor]) -> set[int]:
    """The numbers N of the tensors `blocks.N.*`."""
    return {int(m[1]) for n in tensors if (m := re.match(r"blocks\.(\d+)\.", n))}


def completed(tensors: dict[str, Tensor], file: str) -> dict[str, Tensor]:
    """The tensors as a plain ViT has them.

    Layer scale gets its present name, biases that no block has are zeros, and CLS has a zero
    position where only patches have one (DeiT III). DataError names what a plain ViT does not have,
    or what is missing.
    """
    for pattern, whose in OTHER_NAMES:
        if any(re.search(pattern, n) for n in tensors):
            raise DataError(f"{file}: has the names of {whose}; convert it to timm's names")
    for pattern, what in OTHER_NETWORKS:
        if found := next((n for n in sorted(tensors) if re.search(pattern, n)), None):
            raise DataError(
                f"{file}: has {what} (tensor {found}), which is not supported; give a plain ViT or "
                "DeiT"
            )
    numbers = block_numbers(tensors)
    if not numbers or numbers != set(range(len(numbers))):
        some = ", ".join(sorted(tensors)[:3]) or "none"
        raise DataError(
            f"{file}: blocks are numbered {sorted(numbers)}, expected 0, 1, 2 and so on; give a "
            f"ViT or DeiT checkpoint under timm's names (its tensors: {some}, ...)"
        )
    if "cls_token" not in tensors:
        raise DataError(f"{file}: cls_token is missing: it has no class token; give a plain ViT")
    if "head.weight" not in tensors:
        raise DataError(
            f"{file}: head.weight is missing: it has no classifier; give a checkpoint that was "
            "fine-tuned on classes"
        )
    named = {
        n.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"): t
        for n, t in tensors.items()
    }
    return _with_cls_position(_with_biases(named, len(numbers)))


def _with_biases(tensors: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Zeros for each kind of bias that none of the layers has."""
    for pattern in OPTIONAL_BIASES:
        names = list(dict.fromkeys(pattern.format(i) for i in range(depth)))
        weights = [n.replace(".bias", ".weight") for n in names]
        if not any(n in tensors for n in names) and all(w in tensors for w in weights):
            zeros = {
                n: torch.zeros(tensors[w].shape[0]) for n, w in zip(names, weights, strict=True)
            }
            tensors = {**tensors, **zeros}
    return tensors


def _with_cls_position(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    position = tensors.get("pos_embed")
    if position is None or position.dim() != 3 or position.shape[1] < 4:
        return tensors
    tokens = position.shape[1]
    if math.isqrt(tokens) ** 2 != tokens:
        return tensors
    cls = position.new_zeros(1, 1, position.shape[2])
    return {**tensors, "pos_embed": torch.cat([cls, position], 1)}
