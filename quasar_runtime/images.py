"""Pictures to the raw RGB bytes that a program reads.

A picture is decoded, turned upright by its EXIF orientation, brought to 8-bit RGB, resized so that
its short side has `resize` pixels and cropped at its centre: Pillow's own filters, torchvision's
sizes and rounding, which is what the checkpoints were evaluated with. Nothing is normalised: mean
and deviation are folded into the model.

How other kinds of picture become RGB:

- greyscale, palette, CMYK, alpha: Pillow's `convert("RGB")`, as in the checkpoints' evaluation. An
  alpha channel is dropped, not composited.
- 16 bits a channel: round(x / 257), so that 0 and 65535 become 0 and 255.
- floating point is refused: its range is not known.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from quasar_runtime.errors import ImageError, did_you_mean

if TYPE_CHECKING:
    from quasar_runtime.model import Preprocessing

ImageSource: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, npt.NDArray[Any], Image.Image
]
"""One picture: a path, an encoded file's bytes or file object, an array, a Pillow image."""
ImageSources: TypeAlias = ImageSource | Iterable[Any]
"""Pictures: one source, a folder, an array (N, H, W, C), or an iterable of any of these."""

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp")
MAX_BYTES = 2**28
"""Largest encoded picture."""
MAX_PIXELS = 2**27
"""Largest decoded picture: 134 million pixels, 400 MB as RGB."""
MAX_ASPECT = 256
"""Most elongated picture: the resize multiplies the long side as much as the short one."""

# Orientation tag -> what turns the picture upright. 1 is upright already.
EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# (offset, bytes there, what it is): only the four formats below are ever decoded.
SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
)
FOREIGN = (
    (0, b"GIF8", "a GIF file"),
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (4, b"ftyphei", "a HEIC file"),
    (4, b"ftypmif1", "a HEIC file"),
    (4, b"ftypavif", "an AVIF file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"<svg", "an SVG file"),
    (0, b"<?xml", "an XML file"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)
FORMATS = "JPEG, PNG, WebP or BMP"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A program's input: pixels uint8 (side, side, 3), and what it took in milliseconds."""

    pixels: npt.NDArray[np.uint8]
    decode_ms: float
    preprocess_ms: float


def load_image(source: ImageSource, preprocessing: Preprocessing) -> Prepared:
    """One picture as a program's input. ImageError when it cannot be read or is refused."""
    start = perf_counter()
    picture = decode(source)
    decoded = perf_counter()
    pixels = resize_and_crop(picture, preprocessing)
    end = perf_counter()
    return Prepared(pixels, (decoded - start) * 1e3, (end - decoded) * 1e3)


def decode(source: ImageSource) -> Image.Image:
    """One picture, upright, as 8-bit RGB at its own size. ImageError says why not."""
    name = source_name(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    try:
        if isinstance(source, Image.Image):
            return _upright_rgb(source, name)
        # `_open` keeps the encoded bytes alive only as long as it takes to decode them.
        with _open(_read(source, name), name) as picture:
            return _upright_rgb(picture, name)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to decode it; use a smaller picture") from None
    except Exception as e:  # Pillow's decoders raise nearly anything on damaged files
        raise ImageError(
            f"{name}: damaged or truncated picture ({_one_line(e)}); copy it again or re-encode it"
        ) from e


def resize_and_crop(picture: Image.Image, how: Preprocessing) -> npt.NDArray[np.uint8]:
    """RGB picture -> uint8 (crop, crop, 3).

    The short side becomes `resize`, the long one int(resize * long / short); the crop begins at
    round((size - crop) / 2), half to even: torchvision's Resize and CenterCrop on Pillow images.
    """
    width, height = picture.size
    short, long = min(width, height), int(how.resize * max(width, height) / min(width, height))
    size = (how.resize, long) if width == short else (long, how.resize)
    if size != picture.size:
        picture = picture.resize(size, RESAMPLING[how.resampling])
    left, top = (round((side - how.crop) / 2) for side in picture.size)
    return np.asarray(picture.crop((left, top, left + how.crop, top + how.crop)))


def source_name(source: object) -> str:
    """How messages and results name a picture; printable whatever the file's name holds."""
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
    elif isinstance(source, np.ndarray):
        return f"<{source.dtype} array {'x'.join(map(str, source.shape))}>"
    elif isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or f"<image {source.width}x{source.height}>"
    elif isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{len(source)} bytes>"
    else:
        name = getattr(source, "name", None) or f"<{type(source).__name__}>"
    name = name if isinstance(name, str) else str(name)
    return name if name.isprintable() else repr(name)


def folder_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in a folder and its subfolders, by suffix, sorted; hidden ones left out."""
    found = []
    for here, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        found += [Path(here, f) for f in files if is_picture_name(f)]
    return sorted(found)


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture when a folder is listed."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def expand(images: ImageSources) -> Iterator[ImageSource]:
    """Single pictures of `images`, lazily and in order.

    A folder without pictures is passed on as it is, so that decoding it says what is wrong.
    """
    if is_single(images):
        yield cast("ImageSource", images)
    elif isinstance(images, (str, os.PathLike)):
        yield from folder_images(images) or (images,)
    elif isinstance(images, np.ndarray):
        yield from images
    elif isinstance(images, Iterable):
        for image in cast("Iterable[Any]", images):
            yield from expand(image)
    else:
        yield cast("ImageSource", images)  # decoding it says what is wrong with anything else


def is_single(source: object) -> bool:
    """Whether `source` is one picture rather than a folder, a batch or an iterable of pictures."""
    if isinstance(source, (str, os.PathLike)):
        return not os.path.isdir(source)
    if isinstance(source, np.ndarray):
        return source.ndim != 4
    kinds = (bytes, bytearray, memoryview, Image.Image)
    return isinstance(source, kinds) or hasattr(source, "read")


def _read(source: object, name: str) -> bytes:
    """The encoded bytes of a path, bytes or file object."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        data = _read_path(os.fspath(source), name)
    elif hasattr(source, "read"):
        data = source.read(MAX_BYTES + 1)
        if not isinstance(data, bytes):
            raise ImageError(f"{name}: opened as text; open it in binary mode ('rb')")
    else:
        raise ImageError(
            f"{name}: a {type(source).__name__} is not a picture; give a path, bytes, a file, "
            "a NumPy array or a Pillow image"
        )
    if not data:
        raise ImageError(f"{name}: empty; expected a {FORMATS} picture")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"{name}: more than {MAX_BYTES >> 20} MB encoded, refused; re-encode it smaller"
        )
    return data


def _read_path(path: str, name: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        if folder_images(path):
            why = "a folder, expected a picture; Session.stream takes folders"
        else:
            why = f"a folder without pictures; expected files ending in {', '.join(SUFFIXES)}"
        raise ImageError(f"{name}: {why}") from None
    except FileNotFoundError:
        parent = os.path.dirname(path) or "."
        known = os.listdir(parent) if os.path.isdir(parent) else []
        hint = did_you_mean(os.path.basename(path), known) or "; check the path"
        raise ImageError(f"{name}: no such file{hint}") from None
    except (OSError, ValueError) as e:
        raise ImageError(f"{name}: cannot be read ({_one_line(e)})") from None


def _open(data: bytes, name: str) -> Image.Image:
    """An image of the format that the signature states; no other decoder gets to see the bytes."""
    found = next((f for at, magic, f in SIGNATURES if data.startswith(magic, at)), None)
    if found is None:
        foreign = next((f for at, magic, f in FOREIGN if data.startswith(magic, at)), None)
        what = foreign or f"not a picture (begins with {data[:8]!r})"
        raise ImageError(f"{name}: {what}; convert it to {FORMATS}")
    if found == "WEBP":
        # Pillow registers JPEG, PNG and BMP by itself; importing WebP alone saves all the others.
        import PIL.WebPImagePlugin  # noqa: F401
    try:
        return Image.open(io.BytesIO(data), formats=[found])
    except Image.DecompressionBombError:
        raise ImageError(_too_large(name)) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{name}: damaged picture (begins as {found}, but its header cannot be read); "
            "copy it again or re-encode it"
        ) from None


def _too_large(name: str, size: str = "") -> str:
    return (
        f"{name}: more than {MAX_PIXELS // 10**6} million pixels{size}, which is refused as a "
        "decompression bomb; scale it down"
    )


def _check_size(width: int, height: int, name: str) -> None:
    """Refuse sizes whose decoding or resizing would take unreasonable memory."""
    if width < 1 or height < 1:
        raise ImageError(f"{name}: {width} x {height} pixels; expected at least 1 x 1")
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(name, f" ({width} x {height})"))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{name}: {width} x {height} pixels, one side more than {MAX_ASPECT} times the other, "
            "which is refused; crop it"
        )


def _upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    _check_size(*picture.size, name)  # before anything is decoded
    picture.load()
    turn = UPRIGHT.get(_orientation(picture))
    if turn is not None:
        picture = picture.transpose(turn)
    return _to_rgb(picture, name)


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or it is unreadable."""
    try:
        value = picture.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # malformed EXIF must not cost the picture
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    mode = picture.mode
    if mode == "RGB":
        return picture
    if mode == "F":
        raise ImageError(f"{name}: floating-point pixels; convert them to 8 or 16 bits")
    if mode.startswith("I"):  # 16-bit greyscale; some versions of Pillow open it as 32-bit
        values = np.asarray(picture)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageError(f"{name}: pixel values from {low} to {high}, allowed 0 to 65535")
        return Image.fromarray(_eight_bits(values)).convert("RGB")
    if mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # the same colours, without Pillow's warning
    return picture.convert("RGB")


def _eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """round(x / 257) of 16-bit values."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_array(array: npt.NDArray[Any], name: str) -> Image.Image:
    """uint8 or uint16, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), colours in the order RGB(A)."""
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name}: expected uint8 or uint16 pixels, 0 to 255 or 0 to 65535")
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if not grey and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise ImageError(f"{name}: expected the shape (H, W), (H, W, 3) or (H, W, 4)")
    _check_size(array.shape[1], array.shape[0], name)
    pixels = array.reshape(array.shape[:2]) if grey else array[:, :, :3]
    if array.dtype == np.uint16:
        pixels = _eight_bits(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def _one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")
