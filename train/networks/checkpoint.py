"""Float vision transformers: timm-style checkpoints and their forward pass.

A checkpoint is a dictionary of tensors under timm's names (patch_embed.proj.weight, cls_token,
pos_embed, blocks.N.*, norm.*, head.*), of any width, depth, MLP width and number of 64-wide heads.
train/networks/weights.py reads it from disk.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from quasar_runtime.errors import DataError, did_you_mean
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa.interface import CHANNEL_MULTIPLE, HEAD_DIM, MAX_TOKENS, MAX_WIDTH, PATCH

from . import origin
from .plain_vit import block_numbers, completed
from .presets import PRESETS, Preset, detect_preset
from .weights import read_tensors

EPSILON = 1e-6
"""LayerNorm's epsilon in this family of checkpoints."""
MOST_SIDE = PATCH * math.isqrt(MAX_TOKENS - 1)
"""Side in pixels of the largest pictures that a model takes."""
MOST_OWN_SIDE = 1024
"""Side in pixels of the largest pictures that a checkpoint may be of, before resampling."""


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
        """Channels of the embedding."""
        return self.tensors["cls_token"].shape[-1]

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return self.tensors["pos_embed"].shape[1]

    @property
    def image_size(self) -> int:
        """Pixels of the pictures' sides."""
        return PATCH * math.isqrt(self.tokens - 1)

    @property
    def classes(self) -> int:
        """Rows of the classifier."""
        return self.tensors["head.weight"].shape[0]

    @property
    def family(self) -> str:
        """The network's name in a summary."""
        return origin.family(self.file, self.sha256)

    @property
    def stem(self) -> str:
        """The file's name without its suffixes."""
        return re.sub(r"\.(safetensors|pth|pt|bin|ckpt|pth\.tar|safetensors\.index\.json)$", "",
                      self.file)  # fmt: skip

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures are brought to the network's size."""
        return self.preset.preprocessing(self.image_size)

    def resized(self, image_size: int | None) -> Checkpoint:
        """The same network for pictures of another size (None: its own).

        The grid of position values is resampled (bicubic, antialiased). DataError for a size that
        is not allowed.
        """
        wanted = self.image_size if image_size is None else image_size
        if wanted % PATCH or not PATCH <= wanted <= MOST_SIDE:
            whose = f"{self.file} is of pictures of {wanted} pixels" if image_size is None else (
                f"the image size is {wanted}"
            )  # fmt: skip
            raise DataError(
                f"{whose}, expected a multiple of {PATCH} from {PATCH} to {MOST_SIDE}"
                + ("; give --image-size, such as 224" if image_size is None else "")
            )
        if wanted == self.image_size:
            return self
        side = wanted // PATCH
        cls, grid = self.tensors["pos_embed"][0].split([1, self.tokens - 1])
        before = self.image_size // PATCH
        planes = grid.t().reshape(1, self.width, before, before)
        planes = F.interpolate(planes, (side, side), mode="bicubic", antialias=True)
        position = torch.cat([cls, planes.reshape(self.width, -1).t()])[None]
        return replace(self, tensors={**self.tensors, "pos_embed": position})


def load_checkpoint(path: Path, preset: str | None = None) -> Checkpoint:
    """Read and check a checkpoint in any form that train/networks/weights.py reads.

    Its pictures may be larger than a model takes: `resized` brings it to size. DataError when the
    file or a tensor is missing, has another shape, or is not of this family.
    """
    if preset is not None and preset not in PRESETS:
        raise DataError(
            f"no preset '{preset}'{did_you_mean(preset, PRESETS)} Known: {', '.join(PRESETS)}"
        )
    tensors, digest = read_tensors(path)
    chosen = PRESETS[preset or detect_preset(path.name)]
    name = path.name if path.name.isprintable() else ascii(path.name)
    return check_tensors(tensors, chosen, name, digest)


def check_tensors(
    tensors: dict[str, Tensor], preset: Preset, file: str = "", sha256: str = ""
) -> Checkpoint:
    """A checkpoint of these tensors, with every shape checked. DataError says what is wrong."""
    tensors = completed(tensors, file)
    depth = 1 + max(block_numbers(tensors))
    shapes = _expected_shapes(tensors, depth, file)
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found is None and name.endswith(".gamma"):
            continue
        if found is None:
            raise DataError(f"{file}: tensor {name} is missing, expected with shape {shape}")
        if found != shape:
            raise DataError(f"{file}: tensor {name} has shape {found}, expected {shape}")
        if not tensors[name].is_floating_point() or not tensors[name].float().isfinite().all():
            raise DataError(f"{file}: tensor {name} is not all finite floating point numbers")
    unknown = sorted(set(tensors) - set(shapes))
    if unknown:
        raise DataError(
            f"{file}: tensor {unknown[0]} ({len(unknown)} unknown in all) is not part of a plain "
            "ViT with a CLS token: give a plain ViT or DeiT"
        )
    floats = {n: t.to(torch.float32) for n, t in tensors.items()}
    return Checkpoint(floats, preset, depth, file, sha256)


Shapes = dict[str, tuple[int, ...]]


def _size(tensors: dict[str, Tensor], name: str, axis: int, file: str) -> int:
    """The length of an axis of a tensor. DataError where there is none."""
    if name not in tensors or tensors[name].dim() <= axis:
        raise DataError(f"{file}: tensor {name} is missing or has no axis {axis}")
    return tensors[name].shape[axis]


def _expected_shapes(tensors: dict[str, Tensor], depth: int, file: str) -> Shapes:
    """The shape of every tensor, from the few tensors that fix the geometry."""
    width, tokens = _size(tensors, "cls_token", 2, file), _size(tensors, "pos_embed", 1, file)
    if width % CHANNEL_MULTIPLE or width > MAX_WIDTH:
        raise DataError(
            f"{file}: width is {width}, expected a multiple of {CHANNEL_MULTIPLE} up to {MAX_WIDTH}"
        )
    most = (MOST_OWN_SIDE // PATCH) ** 2 + 1
    if not 2 <= tokens <= most or math.isqrt(tokens - 1) ** 2 != tokens - 1:
        raise DataError(
            f"{file}: pos_embed has {tokens} tokens, expected a square of patches, with or without "
            f"CLS, at most {most}"
        )
    patch = tuple(_size(tensors, "patch_embed.proj.weight", axis, file) for axis in (2, 3))
    if patch != (PATCH, PATCH):
        raise DataError(
            f"{file}: its patches have {'x'.join(map(str, patch))} pixels, expected "
            f"{PATCH}x{PATCH}; give a checkpoint of that patch size"
        )
    classes = _size(tensors, "head.weight", 0, file)
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, tokens, width),
        "patch_embed.proj.weight": (width, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (classes, width),
        "head.bias": (classes,),
    }
    for i in range(depth):
        shapes |= _block_shapes(tensors, f"blocks.{i}.", width, file)
    return shapes


def _block_shapes(tensors: dict[str, Tensor], b: str, width: int, file: str) -> Shapes:
    """The shapes of the tensors of a block, whose names begin with `b`."""
    inner = _size(tensors, f"{b}attn.proj.weight", 1, file)
    hidden = _size(tensors, f"{b}mlp.fc1.weight", 0, file)
    if inner % HEAD_DIM:
        raise DataError(
            f"{file}: {b}attn.proj.weight has {inner} inputs, expected a multiple of {HEAD_DIM} "
            "(heads are 64 wide)"
        )
    if hidden % CHANNEL_MULTIPLE:
        raise DataError(
            f"{file}: {b}mlp.fc1.weight has {hidden} rows, expected a multiple of "
            f"{CHANNEL_MULTIPLE}"
        )
    shapes: Shapes = {}
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


def normalise_pictures(images: Tensor, preset: Preset) -> Tensor:
    """uint8 (N, S, S, 3) to float32 (N, 3, S, S), mean and deviation as the preset says."""
    x = images.to(torch.float32) / 255
    x = (x - torch.tensor(preset.mean)) / torch.tensor(preset.std)
    return x.permute(0, 3, 1, 2)


def float_logits(checkpoint: Checkpoint, images: Tensor) -> Tensor:
    """The checkpoint's own logits: uint8 (N, S, S, 3) -> float32 (N, classes)."""
    t, width = checkpoint.tensors, checkpoint.width
    pixels = normalise_pictures(images, checkpoint.preset)
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
