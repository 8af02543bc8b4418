"""Float vision transformers: timm-style checkpoints, their presets and their forward pass.

A checkpoint is a dictionary of tensors under timm's names (patch_embed.proj.weight, cls_token,
pos_embed, blocks.N.*, norm.*, head.*), of any width, depth, MLP width and number of 64-wide heads.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from quasar_runtime.errors import DataError, did_you_mean
from quasar_runtime.interface import CHANNEL_MULTIPLE, HEAD_DIM, MAX_TOKENS, MAX_WIDTH, PATCH
from quasar_runtime.model import Preprocessing

EPSILON = 1e-6
"""LayerNorm's epsilon in this family of checkpoints."""


@dataclass(frozen=True)
class Preset:
    """How a family of checkpoints wants its pictures: (byte / 255 - mean) / std, per colour."""

    family: str
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str

    def preprocessing(self, image_size: int) -> Preprocessing:
        """The resize scales with the image size, as the family's own evaluation does."""
        return Preprocessing(resize=round(self.resize * image_size / 224), crop=image_size)


PRESETS = {
    "deit": Preset(
        "DeiT",
        256,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "Touvron et al. (Meta), trained on ImageNet-1k",
    ),
    "augreg": Preset(
        "ViT AugReg",
        248,
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        "Steiner et al. (Google), trained on ImageNet-21k, fine-tuned on ImageNet-1k",
    ),
}


@dataclass(eq=False)
class Checkpoint:
    """Float tensors of a vision transformer.

    tensors     float32 by timm's names, layer scale as blocks.N.ls1.gamma and ls2.gamma
    preset      how its pictures are prepared
    file, sha256  where it comes from
    """

    tensors: dict[str, Tensor]
    preset: Preset
    depth: int
    file: str
    sha256: str

    @property
    def width(self) -> int:
        return self.tensors["cls_token"].shape[-1]

    @property
    def tokens(self) -> int:
        return self.tensors["pos_embed"].shape[1]

    @property
    def image_size(self) -> int:
        return PATCH * round((self.tokens - 1) ** 0.5)

    @property
    def classes(self) -> int:
        return self.tensors["head.weight"].shape[0]

    @property
    def preprocessing(self) -> Preprocessing:
        return self.preset.preprocessing(self.image_size)

    def resized(self, image_size: int | None) -> Checkpoint:
        """The same network for pictures of another size (None: its own): its grid of position
        values resampled (bicubic, antialiased), the rest as it is. DataError for a size that is not
        allowed."""
        if image_size is None or image_size == self.image_size:
            return self
        side = image_size // PATCH
        if image_size % PATCH or not 1 <= side * side < MAX_TOKENS:
            most = PATCH * math.isqrt(MAX_TOKENS - 1)
            raise DataError(
                f"the image size is {image_size}, expected a multiple of {PATCH} from {PATCH} to "
                f"{most}"
            )
        cls, grid = self.tensors["pos_embed"][0].split([1, self.tokens - 1])
        before = self.image_size // PATCH
        planes = grid.t().reshape(1, self.width, before, before)
        planes = F.interpolate(planes, (side, side), mode="bicubic", antialias=True)
        position = torch.cat([cls, planes.reshape(self.width, -1).t()])[None]
        return replace(self, tensors={**self.tensors, "pos_embed": position})


def detect_preset(name: str) -> str:
    """The preset that a file's name tells: 'deit' or 'augreg'. DataError when it tells neither."""
    low = name.lower()
    for preset in PRESETS:
        if preset in low:
            return preset
    raise DataError(
        f"cannot tell from the name '{name}' how pictures are prepared; "
        f"give --preset, one of {', '.join(PRESETS)}"
    )


def load_checkpoint(path: Path, preset: str | None = None) -> Checkpoint:
    """Read and check a checkpoint.

    DataError when the file or a tensor is missing, odd in shape, or not of this family.
    """
    if preset is not None and preset not in PRESETS:
        raise DataError(
            f"no preset '{preset}'{did_you_mean(preset, PRESETS)} Known: {', '.join(PRESETS)}"
        )
    if not path.is_file():
        raise DataError(f"no checkpoint at {path}; give the path of a .safetensors file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as e:
        raise DataError(f"{path.name} is not a safetensors file ({e}); convert it first") from None
    chosen = PRESETS[preset or detect_preset(path.name)]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return check_tensors(tensors, chosen, path.name, digest)


def check_tensors(
    tensors: dict[str, Tensor], preset: Preset, file: str = "", sha256: str = ""
) -> Checkpoint:
    """A checkpoint of these tensors, every shape proved. DataError says what is wrong."""
    numbers = {int(m[1]) for n in tensors if (m := re.match(r"blocks\.(\d+)\.", n))}
    if not numbers or numbers != set(range(len(numbers))):
        raise DataError(
            f"{file}: blocks are numbered {sorted(numbers)}, expected 0, 1, 2 and so on; "
            "give a ViT or DeiT checkpoint under timm's names"
        )
    depth = len(numbers)
    tensors = {n.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"): t
               for n, t in tensors.items()}  # fmt: skip
    shapes = _expected_shapes(tensors, depth, file)
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found is None and name.endswith(".gamma"):
            continue
        if found is None:
            raise DataError(f"{file}: tensor {name} is missing, expected with shape {shape}")
        if found != shape:
            raise DataError(f"{file}: tensor {name} has shape {found}, expected {shape}")
        if not tensors[name].is_floating_point() or not torch.isfinite(tensors[name]).all():
            raise DataError(f"{file}: tensor {name} is not all finite floating point numbers")
    unknown = sorted(set(tensors) - set(shapes))
    if unknown:
        raise DataError(
            f"{file}: tensor {unknown[0]} ({len(unknown)} unknown in all) is not part of a plain "
            "ViT with a CLS token; distillation tokens, QKV norms and pooling heads are not "
            "supported: give a plain ViT or DeiT"
        )
    floats = {n: t.to(torch.float32) for n, t in tensors.items()}
    return Checkpoint(floats, preset, depth, file, sha256)


def _expected_shapes(
    tensors: dict[str, Tensor], depth: int, file: str
) -> dict[str, tuple[int, ...]]:
    """The shape that each tensor must have, from the few that fix the geometry."""

    def size(name: str, axis: int) -> int:
        if name not in tensors or tensors[name].dim() <= axis:
            raise DataError(f"{file}: tensor {name} is missing or has no axis {axis}")
        return tensors[name].shape[axis]

    width, tokens = size("cls_token", 2), size("pos_embed", 1)
    if width % CHANNEL_MULTIPLE or width > MAX_WIDTH:
        raise DataError(
            f"{file}: width is {width}, expected a multiple of {CHANNEL_MULTIPLE} up to {MAX_WIDTH}"
        )
    if round((tokens - 1) ** 0.5) ** 2 != tokens - 1 or not 2 <= tokens <= MAX_TOKENS:
        raise DataError(
            f"{file}: pos_embed has {tokens} tokens, expected a square of patches and CLS, "
            f"at most {MAX_TOKENS}"
        )
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, tokens, width),
        "patch_embed.proj.weight": (width, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (size("head.weight", 0), width),
        "head.bias": (size("head.weight", 0),),
    }
    for i in range(depth):
        b = f"blocks.{i}."
        inner, hidden = size(f"{b}attn.proj.weight", 1), size(f"{b}mlp.fc1.weight", 0)
        if inner % HEAD_DIM:
            raise DataError(
                f"{file}: {b}attn.proj.weight has {inner} inputs, expected a multiple of {HEAD_DIM}"
                " (heads are 64 wide)"
            )
        if hidden % CHANNEL_MULTIPLE:
            raise DataError(
                f"{file}: {b}mlp.fc1.weight has {hidden} rows, expected a multiple of "
                f"{CHANNEL_MULTIPLE}"
            )
        for norm in ("norm1", "norm2"):
            shapes[f"{b}{norm}.weight"] = shapes[f"{b}{norm}.bias"] = (width,)
        for name, rows, inputs in (
            ("attn.qkv", 3 * inner, width),
            ("attn.proj", width, inner),
            ("mlp.fc1", hidden, width),
            ("mlp.fc2", width, hidden),
        ):
            shapes[f"{b}{name}.weight"], shapes[f"{b}{name}.bias"] = (rows, inputs), (rows,)
        shapes[f"{b}ls1.gamma"] = shapes[f"{b}ls2.gamma"] = (width,)
    return shapes


def normalise(images: Tensor, preset: Preset) -> Tensor:
    """uint8 (N, S, S, 3) to float32 (N, 3, S, S), mean and deviation as the preset says."""
    x = images.to(torch.float32) / 255
    x = (x - torch.tensor(preset.mean)) / torch.tensor(preset.std)
    return x.permute(0, 3, 1, 2)


def float_logits(checkpoint: Checkpoint, images: Tensor) -> Tensor:
    """The checkpoint's own logits: uint8 (N, S, S, 3) -> float32 (N, classes)."""
    t, width = checkpoint.tensors, checkpoint.width
    pixels = normalise(images, checkpoint.preset)
    x = F.conv2d(pixels, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=PATCH)
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([t["cls_token"].expand(len(x), -1, -1), x], 1) + t["pos_embed"]
    for i in range(checkpoint.depth):
        b = f"blocks.{i}."
        z = F.layer_norm(x, (width,), t[f"{b}norm1.weight"], t[f"{b}norm1.bias"], EPSILON)
        qkv = F.linear(z, t[f"{b}attn.qkv.weight"], t[f"{b}attn.qkv.bias"])
        q, k, v = qkv.reshape(*x.shape[:2], 3, -1, HEAD_DIM).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y = F.linear(mixed, t[f"{b}attn.proj.weight"], t[f"{b}attn.proj.bias"])
        x = x + y * t.get(f"{b}ls1.gamma", torch.ones(()))
        z = F.layer_norm(x, (width,), t[f"{b}norm2.weight"], t[f"{b}norm2.bias"], EPSILON)
        y = F.gelu(F.linear(z, t[f"{b}mlp.fc1.weight"], t[f"{b}mlp.fc1.bias"]))
        y = F.linear(y, t[f"{b}mlp.fc2.weight"], t[f"{b}mlp.fc2.bias"])
        x = x + y * t.get(f"{b}ls2.gamma", torch.ones(()))
    cls = F.layer_norm(x[:, 0], (width,), t["norm.weight"], t["norm.bias"], EPSILON)
    return F.linear(cls, t["head.weight"], t["head.bias"])
