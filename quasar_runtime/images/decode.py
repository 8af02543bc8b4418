"""Encoded pictures and Pillow images to upright 8-bit RGB.

A file's first bytes choose the decoder; no other one gets to see it. What lies beside the pixels
(text, colour profiles, thumbnails) never costs a picture: a PNG that Pillow refuses is tried once
more without it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from quasar_runtime.errors import ImageError

MAX_PIXELS = 2**27
"""Largest decoded picture: 134 million pixels, 400 MB as RGB."""
MAX_ASPECT = 256
"""Most elongated picture: the resize multiplies the long side as much as the short one."""
MAX_TEXT = 2**19
"""Bytes kept of a PNG's text when Pillow finds it too long: the orientation stands at the head."""

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
    (0, b"II+\0", "a TIFF file"),
    (0, b"MM\0+", "a TIFF file"),
    (4, b"ftyphei", "a HEIC file"),
    (4, b"ftyphev", "a HEIC file"),
    (4, b"ftypmif1", "a HEIC file"),
    (4, b"ftypmsf1", "a HEIC file"),
    (4, b"ftypavi", "an AVIF file"),
    (4, b"ftyp", "a video or another file of the MP4 kind"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\1\0", "an icon file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"<svg", "an SVG file"),
    (0, b"<?xml", "an XML file"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<!doctype", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)
FORMATS = "JPEG, PNG, WebP or BMP"


def decode_bytes(data: bytes, name: str) -> Image.Image:
    """An encoded picture, upright, as 8-bit RGB. `name` is how messages call it.

    Raises ImageError for other kinds of file and for sizes that are refused, and whatever Pillow
    raises for damaged ones.
    """
    found = next((f for at, magic, f in SIGNATURES if data.startswith(magic, at)), None)
    if found is None:
        foreign = next((f for at, magic, f in FOREIGN if data.startswith(magic, at)), None)
        what = foreign or f"not a picture (begins with {data[:8]!r})"
        raise ImageError(f"{name}: {what}; convert it to {FORMATS}")
    if found == "WEBP":
        # Pillow registers JPEG, PNG and BMP by itself; importing WebP alone saves all the others.
        import PIL.WebPImagePlugin  # noqa: F401
    try:
        try:
            return _decode(data, found, name)
        except (ImageError, MemoryError, Image.DecompressionBombError):
            raise
        except Exception:
            if found != "PNG":  # others' decoders pass over what is beside the pixels
                raise
            return _decode(b"".join(_png_chunks(memoryview(data))), found, name)
    except Image.DecompressionBombError:
        raise ImageError(_too_large(name)) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{name}: damaged picture (begins as {found}, but its header cannot be read); "
            "copy it again or re-encode it"
        ) from None


def upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    """A Pillow image, of which a file shows its present frame, upright, as 8-bit RGB.

    It is `picture` itself where nothing is to be done. Raises as `decode_bytes` does.
    """
    check_size(*picture.size, name)  # before anything is decoded
    picture.load()
    turn = UPRIGHT.get(_orientation(picture))
    if turn is not None:
        picture = picture.transpose(turn)
    return _to_rgb(picture, name)


def check_size(width: int, height: int, name: str) -> None:
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


def eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """round(x / 257) of 16-bit values."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _decode(data: bytes, kind: str, name: str) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=[kind]) as picture:
        return upright_rgb(picture, name)


def _too_large(name: str, size: str = "") -> str:
    return (
        f"{name}: more than {MAX_PIXELS // 10**6} million pixels{size}, which is refused as a "
        "decompression bomb; scale it down"
    )


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
        return Image.fromarray(eight_bits(values)).convert("RGB")
    if mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # the same colours, without Pillow's warning
    elif mode in ("La", "RGBa"):  # colours multiplied by alpha: back to what they were
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    return picture.convert("RGB")


def _png_chunks(data: memoryview) -> Iterator[bytes | memoryview]:
    """The signature and the chunks that make the pixels and their orientation."""
    yield data[:8]
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = bytes(data[at + 4 : at + 8]), data[at + 8 : at + 8 + size]
        if kind[:1].isupper():  # transparency is dropped in any case
            yield data[at : at + 12 + size]
        elif kind == b"eXIf":
            yield _png_chunk(kind, body)
        elif kind in (b"iTXt", b"zTXt", b"tEXt"):
            text = _png_text(kind, bytes(body[: 4 * MAX_TEXT]))
            yield _png_chunk(*text) if text else b""
        at += 12 + size
    yield data[at:]


def _png_text(kind: bytes, body: bytes) -> tuple[bytes, bytes] | None:
    """Kind and body of a text chunk in which an orientation may stand, cut to MAX_TEXT."""
    keyword, _, rest = body.partition(b"\0")
    if keyword == b"XML:com.adobe.xmp" and kind == b"iTXt":
        compressed = rest[:1] == b"\1"
        text = rest[2:].split(b"\0", 2)[-1]
        head = b"\0\0\0\0"
    elif keyword in (b"Raw profile type exif", b"Raw profile type APP1"):
        compressed, text, head, kind = kind == b"zTXt", rest, b"", b"tEXt"
        text = rest[1:] if compressed else rest
    else:
        return None
    try:
        text = zlib.decompressobj().decompress(text, MAX_TEXT) if compressed else text[:MAX_TEXT]
    except zlib.error:
        return None
    return kind, keyword + b"\0" + head + text


def _png_chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    whole = kind + bytes(body)
    return struct.pack(">I", len(body)) + whole + struct.pack(">I", zlib.crc32(whole))
