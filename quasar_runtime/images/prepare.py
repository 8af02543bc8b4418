"""Pictures to the raw RGB bytes that a program reads.

A picture is decoded, turned upright by its EXIF orientation, brought to 8-bit RGB, resized so that
its short side has `resize` pixels and cropped at its centre: Pillow's own filters, torchvision's
sizes and rounding, which is what the checkpoints were evaluated with. Nothing is normalised: mean
and deviation are folded into the model.

How other kinds of picture become RGB:

- greyscale, palette, CMYK, alpha: Pillow's `convert("RGB")`, as in the checkpoints' evaluation. An
  alpha channel is dropped, not composited.
- 16 bits per channel: round(x / 257), so that 0 and 65535 become 0 and 255.
- floating point is refused: its range is not known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO, TypeAlias, Union, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from quasar_runtime.errors import ImageError, printable
from quasar_runtime.files import PART, Listing, list_files, read_bytes
from quasar_runtime.images.arrays import array_name, array_pixels, is_array, is_batch, picture_of
from quasar_runtime.images.decode import FORMATS, decode_bytes, upright_rgb
from quasar_runtime.images.preprocessing import Preprocessing

ImageSource: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, npt.NDArray[Any], Image.Image
]
"""One picture: a path, an encoded file's bytes or file object, an array, a Pillow image."""
ImageSources: TypeAlias = ImageSource | Iterable[Any]
"""Pictures: one source, a folder, an array (N, H, W, C), or an iterable of any of these."""

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp")
MAX_BYTES = 2**28
"""Largest encoded picture."""
MOST_KINDS = 6
"""Suffixes that a message counts by name."""
OPENED_AS_TEXT = "opened as text; open it in binary mode ('rb')"
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A program's input: pixels uint8 (side, side, 3), and what it took in milliseconds."""

    pixels: npt.NDArray[np.uint8]
    decode_ms: float
    preprocess_ms: float


@dataclass(frozen=True, eq=False)
class Held:
    """A picture as it was when `hold` got it: `source` belongs to nobody else, or is the error that
    reading it gave. `ms`, milliseconds that this took.
    """

    name: str
    source: ImageSource | ImageError
    ms: float


def load_image(source: ImageSource | Held, preprocessing: Preprocessing) -> Prepared:
    """One picture as a program's input. ImageError when it cannot be read or is refused."""
    start = perf_counter()
    picture = decode(source)
    decoded = perf_counter()
    pixels = resize_and_crop(picture, preprocessing)
    end = perf_counter()
    held = source.ms if isinstance(source, Held) else 0.0
    return Prepared(pixels, (decoded - start) * 1e3 + held, (end - decoded) * 1e3)


def decode(source: ImageSource | Held) -> Image.Image:
    """One picture, upright, as 8-bit RGB at its own size. ImageError says why not."""
    name = printable(source_name(source))
    if isinstance(source, Held):
        if isinstance(source.source, ImageError):
            raise source.source
        source = source.source
    with _as_image_errors(name, source):
        if is_array(source):
            return picture_of(array_pixels(source, name))
        if isinstance(source, Image.Image):
            return upright_rgb(source, name)
        # `decode_bytes` keeps the encoded bytes alive only as long as it takes to decode them.
        return decode_bytes(_read(source, name), name)


def hold(source: ImageSource) -> ImageSource | Held:
    """`source` as it is now, whatever its owner does with it next: paths and bytes are themselves,
    arrays are copied, file objects read, Pillow images decoded. Decoding it gives what decoding
    `source` now would give, errors included.
    """
    if isinstance(source, (str, os.PathLike, bytes)):
        return source
    start, full_name = perf_counter(), source_name(source)
    name = printable(full_name)
    own: ImageSource | ImageError
    try:
        with _as_image_errors(name, source):
            if is_array(source):
                own = array_pixels(source, name).copy()
            elif isinstance(source, Image.Image):
                picture = upright_rgb(source, name)
                own = picture.copy() if picture is source else picture
                own.info = {}  # it is upright now: no orientation is to be followed again
            else:
                own = _read(source, name)
    except ImageError as e:
        own = e
    return Held(full_name, own, (perf_counter() - start) * 1e3)


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
    """What results call a picture: its path as given, or a description such as '<JpegImageFile
    640x480>'. A path's bytes that are no text are Python's surrogate escapes, so that `os.fsencode`
    gives the path back; messages escape them (`errors.printable`).
    """
    if isinstance(source, Held):
        return source.name
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    if is_array(source):
        return array_name(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        with suppress(ValueError):  # a memoryview that was released
            return f"<{source.nbytes if isinstance(source, memoryview) else len(source)} bytes>"
    name = None
    with suppress(Exception):  # an object's own attributes, whatever they do
        name = getattr(source, "filename" if isinstance(source, Image.Image) else "name", None)
    if isinstance(name, int) and not isinstance(name, bool):
        return f"<file descriptor {name}>"
    if name and isinstance(name, (str, bytes, os.PathLike)):
        return os.fsdecode(name)
    if isinstance(source, Image.Image):
        return f"<image {source.width}x{source.height}>"
    return f"<{type(source).__name__}>"


def list_pictures(folder: str | os.PathLike[str]) -> Listing:
    """The pictures in a folder and its subfolders, by suffix, sorted; hidden ones left out.

    A `Listing`: `found`; `skipped`, what looked like a picture and is none, and folders that could
    not be looked into, each with its `path`, `why` and whether it was `wanted`; `others`, the
    numbers of other files by suffix.
    """
    return list_files(folder, is_picture_name)


def pictures_of(listing: Listing) -> list[Path]:
    """Pictures, and among them what looked like one or may hold some: decoding says why not."""
    return sorted([*listing.found, *(s.path for s in listing.skipped if s.wanted)])


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture when a folder is listed."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def expand(images: ImageSources) -> Iterator[ImageSource]:
    """Single pictures of `images`, lazily and in order.

    What of a folder cannot be read, and a folder without pictures, is passed on as it is, so that
    decoding it says what is wrong.
    """
    if is_single(images):
        yield cast("ImageSource", images)
    elif isinstance(images, (str, os.PathLike)):
        yield from pictures_of(list_pictures(images)) or (images,)
    else:
        for image in cast("Iterable[Any]", images):
            yield from expand(image)


def is_single(source: object) -> bool:
    """Whether `source` is one picture rather than a folder, a batch or an iterable of pictures."""
    if isinstance(source, (str, os.PathLike)):
        return not os.path.isdir(source)
    if is_array(source):
        return not is_batch(source)
    if isinstance(source, (bytes, bytearray, memoryview, Image.Image)) or hasattr(source, "read"):
        return True
    # Decoding says what is wrong with anything else.
    return not isinstance(source, Iterable) or isinstance(source, Mapping) or _is_numbers(source)


def _is_numbers(source: object) -> bool:
    """Whether `source` is a list of numbers, or of such lists: pixels, not pictures."""
    for _ in range(4):
        if not isinstance(source, (list, tuple)) or not source:
            return False
        source = source[0]
        if isinstance(source, (int, float, np.number)):
            return True
    return False


def _read(source: object, name: str) -> bytes:
    """The encoded bytes of a path, bytes or file object."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        data = _read_path(os.fsdecode(source), name)
    elif hasattr(source, "read"):
        data = _read_file(source, name)
    else:
        numbers = "; for numbers np.asarray(pixels, np.uint8)" * _is_numbers(source)
        raise ImageError(
            f"{name}: a {type(source).__name__} is not a picture; give a path, bytes, a file, "
            f"a NumPy array or a Pillow image{numbers}"
        )
    if not data:
        raise ImageError(f"{name}: empty{_rewind(source)}; expected a {FORMATS} picture")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"{name}: more than {MAX_BYTES >> 20} MB encoded, refused; re-encode it smaller"
        )
    return data


def _read_file(file: Any, name: str) -> bytes:
    """What is left of a file object; raw ones and pipes give it in parts."""
    data = bytearray()
    while len(data) <= MAX_BYTES:
        try:
            part = file.read(min(PART, MAX_BYTES + 1 - len(data)))
        except Exception as e:  # a file object is whatever has a method `read`
            if isinstance(e, MemoryError) or _is_closed(file, e):
                raise
            text = isinstance(e, UnicodeDecodeError)
            why = OPENED_AS_TEXT if text else f"cannot be read ({_one_line(e)})"
            raise ImageError(f"{name}: {why}") from None
        if part is None:
            raise ImageError(f"{name}: has nothing to read yet; open it as a blocking file")
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise ImageError(f"{name}: {OPENED_AS_TEXT}")
        if not part:
            break
        data += part
    return bytes(data)


def _rewind(source: object) -> str:
    """What to say of a file object that stands at its end."""
    with suppress(Exception):
        if source.tell() > 0:  # type: ignore[attr-defined]
            return " from its present position on; seek(0) before"
    return ""


def _read_path(path: str, name: str) -> bytes:
    if os.path.isdir(path):
        raise ImageError(f"{name}: {_what_folder(path)}")
    if re.match(r"[a-z]+://", path) and not os.path.exists(path):
        raise ImageError(f"{name}: an address, and nothing is downloaded; give a file or its bytes")
    return read_bytes(path, MAX_BYTES, ImageError)


def _what_folder(path: str) -> str:
    """Why a folder is no picture."""
    listing = list_pictures(path)
    if any(s.path == Path(path) for s in listing.skipped):
        return listing.skipped[0].why
    if listing.found:
        return "a folder, expected a picture; Session.stream takes folders"
    there = f" (it holds {count_kinds(listing.others)} files)" if listing.others else ""
    return f"a folder without pictures{there}; expected files ending in {', '.join(SUFFIXES)}"


def count_kinds(others: Mapping[str, int]) -> str:
    """The numbers of files by suffix in words: '3 .heic, 1 .gif, 2 without suffix'."""
    kinds = sorted(others.items(), key=lambda kind: (-kind[1], kind[0]))
    shown = [f"{n} {printable(suffix) or 'without suffix'}" for suffix, n in kinds[:MOST_KINDS]]
    rest = sum(n for _, n in kinds[MOST_KINDS:])
    return ", ".join([*shown, f"{rest} other"] if rest else shown)


@contextmanager
def _as_image_errors(name: str, source: object) -> Iterator[None]:
    """Whatever goes wrong with a picture is an ImageError of one line."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to decode it; use a smaller picture") from None
    except Exception as e:  # Pillow's decoders raise nearly anything on damaged files
        if _is_closed(source, e):
            raise ImageError(
                f"{name}: closed before it was read; hand it over while it is open"
            ) from None
        raise ImageError(
            f"{name}: damaged or truncated picture ({_one_line(e)}); copy it again or re-encode it"
        ) from e


def _is_closed(source: object, error: Exception) -> bool:
    """Whether a file object, a Pillow image or the file beneath it was closed."""
    if isinstance(source, Image.Image):
        # Pillow has an assertion, an error of its own, or the file's.
        unread = isinstance(error, (AssertionError, AttributeError)) and _file_of(source) is None
        return unread or "closed" in str(error)
    with suppress(Exception):
        return bool(source.closed)  # type: ignore[attr-defined]
    return isinstance(source, memoryview)


def _file_of(picture: Image.Image) -> object:
    return getattr(picture, "fp", None)


def _one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")
