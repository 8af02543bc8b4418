"""Small random checkpoints under timm's names, and pictures for them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from train.networks.checkpoint import PRESETS, Checkpoint, check_tensors

SIZE = 48
TOKENS = (SIZE // 16) ** 2 + 1
WIDTH = 64
CLASSES = 10


def random_tensors(
    seed: int = 0, *, depth: int = 2, heads: int = 1, layer_scale: bool = False
) -> dict[str, Tensor]:
    """Tensors of a ViT of width 64, MLP 96, ten classes, images of 48 pixels."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int, spread: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=g) * spread

    def near_one(n: int) -> Tensor:
        return 1 + 0.3 * torch.randn(n, generator=g)

    t = {
        "cls_token": normal(1, 1, WIDTH),
        "pos_embed": normal(1, TOKENS, WIDTH, spread=0.5),
        "patch_embed.proj.weight": normal(WIDTH, 3, 16, 16, spread=0.05),
        "patch_embed.proj.bias": normal(WIDTH, spread=0.1),
        "norm.weight": near_one(WIDTH),
        "norm.bias": normal(WIDTH, spread=0.2),
        "head.weight": normal(CLASSES, WIDTH, spread=0.4),
        "head.bias": normal(CLASSES, spread=0.1),
    }
    for i in range(depth):
        b = f"blocks.{i}."
        for norm in ("norm1", "norm2"):
            t[f"{b}{norm}.weight"], t[f"{b}{norm}.bias"] = (
                near_one(WIDTH),
                normal(WIDTH, spread=0.2),
            )
        for name, rows, inputs in (
            ("attn.qkv", 192 * heads, WIDTH),
            ("attn.proj", WIDTH, 64 * heads),
            ("mlp.fc1", 96, WIDTH),
            ("mlp.fc2", WIDTH, 96),
        ):
            t[f"{b}{name}.weight"] = normal(rows, inputs, spread=inputs**-0.5)
            t[f"{b}{name}.bias"] = normal(rows, spread=0.1)
        if layer_scale:
            t[f"{b}ls1.gamma"], t[f"{b}ls2.gamma"] = near_one(WIDTH), near_one(WIDTH)
    return t


def random_checkpoint(seed: int = 0, preset: str = "deit", **options: object) -> Checkpoint:
    """A checked checkpoint of random tensors."""
    return check_tensors(random_tensors(seed, **options), PRESETS[preset], "random", "0" * 64)  # type: ignore[arg-type]


def random_images(count: int, seed: int = 0, size: int = SIZE) -> Tensor:
    """uint8 (count, size, size, 3): smooth colours with noise, so that pictures differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).astype(np.float32)
    fine = coarse.repeat(size // 4, 1).repeat(size // 4, 2) + rng.normal(
        0, 20, (count, size, size, 3)
    )
    return torch.from_numpy(np.clip(fine, 0, 255).astype(np.uint8))


def write_tar(path: Path, images: Tensor, classes: int = 3) -> None:
    """The images as PNG in an ImageFolder inside a tar."""
    with tarfile.open(path, "w") as tar:
        for i, image in enumerate(images):
            buffer = io.BytesIO()
            Image.fromarray(image.numpy()).save(buffer, "PNG")
            info = tarfile.TarInfo(f"n{i % classes:08d}/p_{i}.png")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
