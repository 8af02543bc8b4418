"""Damaged and forged pictures of the four formats that are read.

Every kind of file that Pillow writes in them, small, and mutations that know the formats' parts:
PNG's chunks with their sums made right, JPEG's segments, RIFF's chunks, BMP's header.
"""

from __future__ import annotations

import io
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from tools.campaigns.bytes_mutations import flipped, mutate_bytes, number

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNKS = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt",
    b"zTXt", b"iTXt", b"bKGD", b"pHYs", b"sBIT", b"hIST", b"tIME", b"eXIf", b"acTL", b"fcTL",
    b"fdAT", b"sPLT", b"abcd", b"ABCD",
]  # fmt: skip
MARKERS = (0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2,
           0xED, 0xEE, 0xFE)  # fmt: skip
FOURCC = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ")


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@cache
def seeds() -> dict[str, list[bytes]]:
    """Legal pictures by format."""
    rng = np.random.default_rng(7)
    smooth = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    rgb = Image.fromarray(smooth)
    grey, palette, bits = rgb.convert("L"), rgb.convert("P"), rgb.convert("1")
    rgba, greya = rgb.convert("RGBA"), rgb.convert("LA")
    deep = Image.fromarray(smooth[:, :, 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 50)
    text.add_text("z", "c" * 500, zip=True)
    text.add_itxt("i", "d" * 50, "en", "i")
    many = PngImagePlugin.PngInfo()
    for i in range(60):
        many.add_text(f"key {i}", "value" * 5)
    profile = rng.bytes(300)
    second = rgb.transpose(Image.Transpose.ROTATE_180)
    return {
        "PNG": [
            _saved(rgb, "PNG", pnginfo=text, exif=exif, icc_profile=profile, dpi=(72, 72)),
            _saved(rgba, "PNG", pnginfo=many),
            *(_saved(p, "PNG") for p in (grey, greya, palette, bits, deep)),
            _saved(palette, "PNG", transparency=3),
            _saved(rgb, "PNG", save_all=True, append_images=[second]),
        ],
        "JPEG": [
            _saved(rgb, "JPEG", exif=exif, icc_profile=profile, comment=b"comment"),
            _saved(rgb, "JPEG", progressive=True, subsampling=2, restart_marker_rows=1),
            _saved(grey, "JPEG", optimize=True),
            _saved(rgb.convert("CMYK"), "JPEG"),
            _saved(rgb, "JPEG", subsampling=0, quality=95),
        ],
        "WEBP": [
            _saved(rgb, "WEBP", exif=exif, icc_profile=profile),
            _saved(rgba, "WEBP", lossless=True),
            _saved(rgba, "WEBP", quality=30),
            _saved(rgb, "WEBP", save_all=True, append_images=[second]),
        ],
        "BMP": [_saved(p, "BMP") for p in (rgb, rgba, grey, palette, bits)],
    }


def mutated_picture(rng: np.random.Generator) -> bytes:
    """A picture with one mutation, now and then with more."""
    by_format = seeds()
    kind = list(by_format)[int(rng.integers(len(by_format)))]
    files = by_format[kind]
    raw = files[int(rng.integers(len(files)))]
    other = files[int(rng.integers(len(files)))]
    for _ in range(1 + int(rng.integers(4) == 0) + int(rng.integers(16) == 0)):
        if rng.random() < 0.4:
            raw = mutate_bytes(rng, raw, other)
        else:
            raw = {"PNG": in_png, "JPEG": in_jpeg, "WEBP": in_webp, "BMP": in_bmp}[kind](rng, raw)
    return raw


def in_png(rng: np.random.Generator, raw: bytes) -> bytes:
    """A change in PNG's chunks. Their sums are right but for one in ten."""
    chunks = _png_chunks(raw)
    if not chunks:
        return mutate_bytes(rng, raw)
    at = int(rng.integers(len(chunks)))
    if rng.random() < 0.3:
        at = next((i for i, (name, _) in enumerate(chunks) if name == b"IDAT"), at)
    name, data = chunks[at]
    match rng.integers(9):
        case 0:
            chunks[at] = name, mutate_bytes(rng, data)
        case 1:
            chunks[at] = CHUNKS[rng.integers(len(CHUNKS))], data
        case 2:
            chunks.insert(at, chunks[int(rng.integers(len(chunks)))])
        case 3:
            del chunks[at]
        case 4:
            other = int(rng.integers(len(chunks)))
            chunks[at], chunks[other] = chunks[other], chunks[at]
        case 5:
            chunks[0] = b"IHDR", _changed_header(rng, chunks[0][1])
        case 6:
            chunks[at] = name, _recompressed(rng, data)
        case 7:
            chunks.insert(at, _forged_chunk(rng))
        case _:
            chunks[at:at] = [_forged_chunk(rng)] * int(rng.integers(2, 2000))
    raw = SIGNATURE + b"".join(_png_chunk(*chunk) for chunk in chunks)
    return flipped(rng, raw, 8) if rng.random() < 0.1 else raw


def _png_chunks(raw: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 12 <= len(raw):
        size = int.from_bytes(raw[at : at + 4], "big")
        chunks.append((raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def _changed_header(rng: np.random.Generator, data: bytes) -> bytes:
    """Another size, depth, colour type or interlacing."""
    header = bytearray(data.ljust(13, b"\0"))
    if rng.random() < 0.5:
        at = 4 * int(rng.integers(2))
        header[at : at + 4] = number(rng, 4, "big")
    else:
        header[int(rng.integers(8, 13))] = int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 255]))
    return bytes(header)


def _recompressed(rng: np.random.Generator, data: bytes) -> bytes:
    """Other compressed content: mutated, none, or far more than was announced."""
    try:
        content = zlib.decompress(data)
    except zlib.error:
        content = data
    if rng.random() < 0.1:
        content *= int(rng.integers(2, 2000))
    return zlib.compress(mutate_bytes(rng, content), 1)


def _forged_chunk(rng: np.random.Generator) -> tuple[bytes, bytes]:
    """A chunk of any kind with plausible, random or bomb-like content."""
    name = CHUNKS[int(rng.integers(len(CHUNKS)))]
    match rng.integers(5):
        case 0:
            return name, rng.bytes(int(rng.integers(60)))
        case 1:
            return name, b""
        case 2:
            return name, b"key\0\0" + zlib.compress(bytes(int(rng.integers(2**21))), 1)
        case 3:
            return b"iTXt", b"key\0\1\0en\0key\0" + zlib.compress(
                bytes(int(rng.integers(2**21))), 1
            )
        case _:
            return name, number(rng, 4, "big") * int(rng.integers(1, 7))


def in_jpeg(rng: np.random.Generator, raw: bytes) -> bytes:
    """A change in JPEG's segments, or in the data between them."""
    segments = _jpeg_segments(raw)
    if len(segments) < 2:
        return mutate_bytes(rng, raw)
    at = int(rng.integers(1, len(segments)))
    changed = bytearray(segments[at])
    match rng.integers(8):
        case 0:
            segments[at] = segments[at][:2] + mutate_bytes(rng, segments[at][2:])
        case 1:
            changed[2:4] = number(rng, 2, "big")  # a length that lies
            segments[at] = bytes(changed)
        case 2:
            changed[1:2] = bytes([MARKERS[int(rng.integers(len(MARKERS)))]])
            segments[at] = bytes(changed)
        case 3:
            segments.insert(at, segments[int(rng.integers(len(segments)))])
        case 4:
            del segments[at]
        case 5:
            segments = [_other_frame(rng, s) for s in segments]
        case 6:
            segments.insert(at, _forged_segment(rng))
        case _:
            other = int(rng.integers(1, len(segments)))
            segments[at], segments[other] = segments[other], segments[at]
    return b"".join(segments)


def _jpeg_segments(raw: bytes) -> list[bytes]:
    """The segments with their markers; the last one has all data from SOS on."""
    segments, at = [raw[:2]], 2
    while at + 4 <= len(raw) and raw[at] == 0xFF and raw[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
        segments.append(raw[at:end])
        at = end
    return [*segments, raw[at:]] if at < len(raw) else segments


def _other_frame(rng: np.random.Generator, segment: bytes) -> bytes:
    """A start of frame with another size, precision or sampling."""
    if len(segment) < 12 or segment[1] not in (0xC0, 0xC1, 0xC2):
        return segment
    changed = bytearray(segment)
    if rng.random() < 0.5:
        at = 5 + 2 * int(rng.integers(2))
        changed[at : at + 2] = number(rng, 2, "big")
    else:
        changed[int(rng.integers(4, len(segment)))] = int(rng.integers(256))
    return bytes(changed)


def _forged_segment(rng: np.random.Generator) -> bytes:
    starts = (b"Exif\0\0II*\0", b"Exif\0\0MM\0*", b"ICC_PROFILE\0\1\2", b"JFIF\0", b"Adobe\0",
              b"Photoshop 3.0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0", b"")  # fmt: skip
    content = starts[int(rng.integers(len(starts)))] + rng.bytes(int(rng.integers(200)))
    marker = bytes([0xFF, MARKERS[int(rng.integers(len(MARKERS)))]])
    return marker + (len(content) + 2).to_bytes(2, "big") + content


def in_webp(rng: np.random.Generator, raw: bytes) -> bytes:
    """A change in RIFF's chunks, the sizes made right but for one in five."""
    chunks, at = [], 12
    while at + 8 <= len(raw):
        size = int.from_bytes(raw[at + 4 : at + 8], "little")
        chunks.append((raw[at : at + 4], raw[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    if not chunks:
        return mutate_bytes(rng, raw)
    at = int(rng.integers(len(chunks)))
    name, data = chunks[at]
    match rng.integers(6):
        case 0 | 1:
            chunks[at] = name, mutate_bytes(rng, data)
        case 2:
            chunks[at] = FOURCC[int(rng.integers(len(FOURCC)))], data
        case 3:
            chunks.insert(at, chunks[int(rng.integers(len(chunks)))])
        case 4:
            del chunks[at]
        case _:
            place = int(rng.integers(min(len(data), 16) + 1))
            chunks[at] = name, data[:place] + number(rng, 3, "little") + data[place + 3 :]
    body = b"WEBP"
    for name, data in chunks:
        size = number(rng, 4, "little") if rng.random() < 0.05 else len(data).to_bytes(4, "little")
        body += name + size + data + bytes(len(data) % 2)
    size = number(rng, 4, "little") if rng.random() < 0.1 else len(body).to_bytes(4, "little")
    return b"RIFF" + size + body


def in_bmp(rng: np.random.Generator, raw: bytes) -> bytes:
    """Another field of the headers: offset, sizes, planes, bits, compression, colours, masks."""
    changed = bytearray(raw.ljust(70, b"\0"))
    for _ in range(int(rng.integers(1, 3))):
        at, size = ((2, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4),
                    (46, 4), (50, 4), (54, 4), (66, 4))[int(rng.integers(13))]  # fmt: skip
        value = number(rng, size, "little")
        if rng.random() < 0.5:
            value = int(rng.choice([0, 1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 64, 124])).to_bytes(
                size, "little"
            )
        changed[at : at + size] = value
    return bytes(changed)
