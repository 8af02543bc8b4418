"""Arrays that are pictures: NumPy's, and whatever offers itself as one (tensors, frames)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from quasar_runtime.errors import ImageError
from quasar_runtime.images.decode import check_size, eight_bits

PROTOCOLS = ("__array__", "__array_interface__", "__dlpack__")
CHANNELS = (1, 3, 4)


def is_array(source: object) -> bool:
    """Whether `source` is an array or converts to one: a tensor, a data frame's column, a frame."""
    if isinstance(source, np.ndarray):
        return True
    return not isinstance(source, (Image.Image, str, bytes, type)) and any(
        hasattr(source, protocol) for protocol in PROTOCOLS
    )


def is_batch(array: Any) -> bool:
    """Whether an array is several sources: (N, H, W, C), or a row of paths or objects."""
    dimensions = getattr(array, "ndim", 3)
    kind = getattr(getattr(array, "dtype", None), "kind", "")
    return dimensions == 4 or (dimensions == 1 and kind in ("O", "U", "S", "T"))


def array_name(array: Any) -> str:
    """How messages and results call it, such as '<uint8 array 480x640x3>'."""
    kind = "array" if isinstance(array, np.ndarray) else type(array).__name__
    dtype = str(getattr(array, "dtype", "")).removeprefix("torch.")
    shape = "x".join(map(str, getattr(array, "shape", ())))
    return f"<{' '.join(part for part in (dtype, kind, shape) if part)}>"


def array_pixels(source: Any, name: str) -> npt.NDArray[np.uint8]:
    """The pixels, uint8 (H, W) or (H, W, 3): a view of `source` where that is possible.

    Takes uint8 or uint16 of either byte order, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), colours
    in the order RGB(A). ImageError says why not, and what to do.
    """
    array = _as_array(source, name)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"{name}: {dtype} pixels, expected uint8 or uint16 pixels, 0 to 255 or 0 to 65535; "
            + _remedy(dtype)
        )
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if not grey and (array.ndim != 3 or array.shape[2] not in CHANNELS):
        raise ImageError(
            f"{name}: expected the shape (H, W), (H, W, 3) or (H, W, 4)" + _shape_remedy(array)
        )
    check_size(array.shape[1], array.shape[0], name)
    pixels = array.reshape(array.shape[:2]) if grey else array[:, :, :3]
    return eight_bits(pixels) if dtype == np.uint16 else pixels


def picture_of(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """A picture of its own of uint8 (H, W) or (H, W, 3)."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _as_array(source: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(source, np.ma.MaskedArray) and np.any(source.mask):
        raise ImageError(f"{name}: some pixels are masked; give array.filled(0), or other values")
    try:
        if hasattr(source, "__array__") or hasattr(source, "__array_interface__"):
            return np.asarray(source)
        return np.from_dlpack(source)
    except MemoryError:
        raise
    except Exception as e:  # each library has its own
        reason = " ".join(str(e).split()) or type(e).__name__
        raise ImageError(
            f"{name}: does not become a NumPy array ({reason}); convert it, for a tensor with "
            "tensor.detach().cpu().numpy()"
        ) from None


def _remedy(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "b":
        return "give array.astype(np.uint8) * 255"
    if dtype.kind == "f":
        return "of values from 0 to 1 give (array * 255).round().astype(np.uint8)"
    if dtype.kind in "iu":
        return "of values from 0 to 255 give array.astype(np.uint8)"
    return "give an array of numbers, all rows of one length"


def _shape_remedy(array: npt.NDArray[Any]) -> str:
    shape = tuple(array.shape)
    if array.ndim == 3 and shape[0] in CHANNELS:
        return f", found {shape}: channels come last, give array.transpose(1, 2, 0)"
    if array.ndim == 4:
        return f", found {shape}: of a batch give one picture, array[i]; Session.stream takes all"
    return f", found {shape}"
