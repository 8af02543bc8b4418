"""Pictures of every kind become the same raw RGB bytes; what is no picture is refused clearly."""

import io
import os
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from quasar_runtime.errors import ImageError
from quasar_runtime.images import prepare as images
from quasar_runtime.images.prepare import (
    decode,
    expand,
    hold,
    list_pictures,
    load_image,
    pictures_of,
    resize_and_crop,
    source_name,
)
from quasar_runtime.images.preprocessing import Preprocessing

HOW = Preprocessing(resize=48, crop=32)


def photo(width=80, height=60, seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def pixels(picture):
    return np.asarray(picture)


# --- resize and crop


def exact_size(width, height, resize):
    """torchvision's rule, written out: the long side is truncated."""
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


@pytest.mark.parametrize(
    "size", [(80, 60), (60, 80), (48, 48), (49, 48), (333, 500), (500, 333), (31, 97), (1, 1)]
)
def test_resize_and_crop_follow_torchvision_sizes_and_rounding(size):
    picture = photo(*size)
    width, height = exact_size(*size, HOW.resize)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - 32) / 2), round((height - 32) / 2)
    expected = pixels(resized)[top : top + 32, left : left + 32]
    assert np.array_equal(resize_and_crop(picture, HOW), expected)


def test_crop_offset_of_a_half_rounds_to_the_even_side():
    ramp = np.zeros((32, 37, 3), np.uint8)
    ramp[:] = np.arange(37, dtype=np.uint8)[None, :, None]
    how = Preprocessing(resize=32, crop=32)
    assert resize_and_crop(Image.fromarray(ramp), how)[0, 0, 0] == 2  # round(2.5)
    assert resize_and_crop(Image.fromarray(ramp[:, :35]), how)[0, 0, 0] == 2  # round(1.5)


def test_resampling_is_the_models_own():
    bilinear = Preprocessing(resize=48, crop=32, resampling="bilinear")
    assert not np.array_equal(resize_and_crop(photo(), HOW), resize_and_crop(photo(), bilinear))


def test_input_is_square_rgb_bytes_with_times():
    prepared = load_image(encoded(photo(), "JPEG"), HOW)
    assert prepared.pixels.shape == (32, 32, 3)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.decode_ms > 0
    assert prepared.preprocess_ms > 0


def test_jpeg_is_decoded_at_full_size_not_scaled_down_by_its_decoder():
    data = encoded(photo(640, 480), "JPEG", quality=95)
    assert decode(data).size == (640, 480)


# --- formats and modes


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_give_the_picture_itself(kind):
    assert np.array_equal(pixels(decode(encoded(photo(), kind))), pixels(photo()))


def test_lossless_webp_gives_the_picture_itself():
    data = encoded(photo(), "WEBP", lossless=True)
    assert np.array_equal(pixels(decode(data)), pixels(photo()))


def test_path_bytes_file_array_and_pillow_image_agree(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photo(), "PNG"))
    with open(path, "rb") as file:
        sources = [path, str(path), path.read_bytes(), memoryview(path.read_bytes()), file]
        sources += [pixels(photo()), photo()]
        for source in sources:
            assert np.array_equal(pixels(decode(source)), pixels(photo()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation):
    upright = photo()
    # How the file stores an upright scene: where its row 0 and column 0 lie, by the definition.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }
    array = stored[orientation](pixels(upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(array)), "PNG", exif=exif)
    assert np.array_equal(pixels(decode(data)), pixels(upright))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_malformed_exif_does_not_cost_the_picture():
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert decode(data).size == (80, 60)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_other_modes_become_what_pillow_converts_them_to(mode):
    picture = photo().convert(mode)
    data = encoded(picture, "JPEG" if mode == "CMYK" else "PNG")
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(pixels(decode(data)), pixels(expected))


def test_alpha_is_dropped_and_the_colours_beneath_it_stay():
    rgba = np.dstack([pixels(photo()), np.zeros((60, 80), np.uint8)])
    assert np.array_equal(pixels(decode(encoded(Image.fromarray(rgba), "PNG"))), pixels(photo()))
    assert np.array_equal(pixels(decode(rgba)), pixels(photo()))


@pytest.mark.filterwarnings("error")
def test_palette_with_transparency_is_read_without_a_warning():
    palette = photo().convert("P")
    data = encoded(palette, "PNG", transparency=bytes(range(256)))
    assert np.array_equal(pixels(decode(data)), pixels(palette.convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped():
    wide = np.linspace(0, 65535, 60 * 80).astype(np.uint16).reshape(60, 80)
    expected = np.round(wide / 257.0).astype(np.uint8)
    for source in (encoded(Image.fromarray(wide), "PNG"), wide, np.dstack([wide] * 3)):
        assert np.array_equal(pixels(decode(source)), np.dstack([expected] * 3))


def test_sixteen_bit_greyscale_as_32_bit_integers_is_scaled_too():
    wide = np.array([[0, 257], [65535, 300]], np.int32)
    assert pixels(decode(Image.fromarray(wide)))[..., 0].tolist() == [[0, 1], [255, 1]]


def test_arrays_are_grey_rgb_or_rgba():
    grey = pixels(photo())[..., 0]
    for source in (grey, grey[..., None], np.dstack([grey] * 4), np.asfortranarray(grey)):
        assert np.array_equal(pixels(decode(source)), np.dstack([grey] * 3))


# --- refusals


def refused(source):
    with pytest.raises(ImageError) as caught:
        load_image(source, HOW)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_truncated_pictures_are_refused(kind, kept):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    message = refused(data[: int(len(data) * kept)])
    assert "damaged" in message or "truncated" in message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_flipped_bytes_give_a_picture_or_an_image_error(kind):
    data = bytearray(encoded(photo(), kind))
    rng = np.random.default_rng(1)
    for _ in range(100):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 400), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        with suppress(ImageError):
            assert load_image(bytes(damaged), HOW).pixels.shape == (32, 32, 3)


def test_empty_and_foreign_files_are_named_as_what_they_are(tmp_path):
    assert "empty" in refused(b"")
    assert "a GIF file" in refused(encoded(photo(), "GIF"))
    assert "a TIFF file" in refused(encoded(photo(), "TIFF"))
    assert "not a picture" in refused(b"hello, world")
    assert "a PDF file" in refused(b"%PDF-1.7")
    text = tmp_path / "notes.jpg"
    text.write_text("not really")
    assert str(text) in refused(text)


def test_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(encoded(photo(), "JPEG"))
    assert "did you mean 'photo.jpg'" in refused(tmp_path / "phooto.jpg")
    assert "no such file" in refused(tmp_path / "none" / "x.jpg")


def test_folder_is_refused_as_a_single_picture(tmp_path):
    assert "a folder without pictures" in refused(tmp_path)
    (tmp_path / "a.png").write_bytes(encoded(photo(), "PNG"))
    assert "a folder, expected a picture" in refused(tmp_path)


def test_unprintable_names_are_escaped(tmp_path):
    message = refused(tmp_path / "a\nb.jpg")
    assert "a\\nb.jpg" in message


def chunk(kind, body, crc=None):
    """A PNG's chunk, with a wrong sum where one is given."""
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def huge_png(width, height):
    """A valid PNG header that promises width x height pixels, with next to no data."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(12000, 12000), (50000, 50000)])
def test_decompression_bombs_are_refused_from_the_header(size):
    assert "decompression bomb" in refused(huge_png(*size))


def test_extreme_aspect_ratios_are_refused():
    assert "256 times" in refused(np.zeros((1, 300), np.uint8))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8 or uint16"),
        (np.zeros((3, 40, 41), np.uint8), "(H, W, 3)"),
        (np.zeros((4,), np.uint8), "(H, W)"),
        (np.zeros((0, 4, 3), np.uint8), "at least 1 x 1"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array, message):
    assert message in refused(array)


def test_floating_point_and_out_of_range_pillow_images_are_refused():
    assert "floating-point" in refused(Image.fromarray(np.zeros((4, 4), np.float32)))
    assert "70000" in refused(Image.fromarray(np.full((4, 4), 70000, np.int32)))


def test_other_objects_are_refused():
    assert "int is not a picture" in refused(3)
    assert "binary mode" in refused(io.StringIO("text"))


def test_oversized_files_are_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    assert "refused" in refused(encoded(photo(), "BMP"))


# --- what lies beside the pixels never costs a picture


def with_chunk(data, new, at_end):
    """A PNG with one chunk more, before its pixels or after them."""
    at = len(data) - 12 if at_end else 33
    return data[:at] + new + data[at:]


LONG = zlib.compress(b"x" * 3_000_000)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    "new",
    [
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
        chunk(b"zTXt", b"workflow\0\0" + LONG),
        chunk(b"iCCP", b"profile\0\0" + LONG),
        chunk(b"iCCP", b"bad"),
        chunk(b"eXIf", b"junk"),
        chunk(b"pHYs", b"1"),
        chunk(b"tRNS", b"\0"),
        chunk(b"tEXt", b"a\0b", crc=1),
        chunk(b"acTL", b""),
    ],
    ids=lambda data: bytes(data[4:8]).decode() if isinstance(data, bytes) else str(data),
)
def test_long_or_damaged_metadata_does_not_cost_a_png(new, at_end):
    data = with_chunk(encoded(photo(), "PNG"), new, at_end)
    assert np.array_equal(pixels(decode(data)), pixels(photo()))


def test_much_text_in_all_does_not_cost_a_png():
    data = encoded(photo(), "PNG")
    for i in range(70):  # Pillow's bound is 64 MB
        data = with_chunk(data, chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(10**6))), False)
    assert np.array_equal(pixels(decode(data)), pixels(photo()))


def test_orientation_is_followed_in_long_text_too():
    text = zlib.compress(b'<x tiff:Orientation="3"/>' + b"x" * 3_000_000)
    new = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + text)
    data = with_chunk(encoded(photo(), "PNG"), new, False)
    assert np.array_equal(pixels(decode(data)), pixels(photo())[::-1, ::-1])


def test_pixels_that_are_cut_off_are_refused_however_good_the_rest():
    data = with_chunk(encoded(photo(), "PNG"), chunk(b"iCCP", b"bad"), False)
    assert "truncated" in refused(data[:-40])


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_large_and_senseless_metadata_does_not_cost_other_kinds(kind):
    options = {"exif": b"Exif\0\0" + b"\xff" * 60_000, "icc_profile": b"z" * 3_000_000}
    plain = decode(encoded(photo(), kind, quality=90))
    rich = decode(encoded(photo(), kind, quality=90, **options))
    assert np.array_equal(pixels(rich), pixels(plain))


def test_what_follows_a_picture_is_passed_over():
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        data = encoded(photo(), kind)
        assert np.array_equal(pixels(decode(data + b"z" * 500)), pixels(decode(data)))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "MPO"])
def test_the_first_picture_of_several_is_the_one(kind):
    first, second = (
        Image.new("RGB", (40, 30), (10, 10, 10)),
        Image.new("RGB", (40, 30), (200, 0, 0)),
    )
    data = encoded(first, kind, save_all=True, append_images=[second])
    assert abs(pixels(decode(data)).astype(int) - 10).max() <= 2


# --- pictures in memory are answered as they were when they were handed over

MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"),
    *("CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "I;16L", "I;16B"),
)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_is_read(mode):
    picture = photo()
    if mode == "La":
        picture = picture.convert("LA").convert("La")
    elif mode != "RGB":
        try:
            picture = picture.convert(mode)
        except ValueError:  # this version of Pillow makes none
            picture = Image.new(mode, picture.size)
    before = pixels(decode(picture))
    assert before.shape == (60, 80, 3)
    assert np.array_equal(pixels(decode(hold(picture))), before)


def test_colours_multiplied_by_alpha_become_what_they_were():
    grey = Image.merge("RGBA", [Image.new("L", (40, 30), v) for v in (200, 100, 50, 128)])
    found = pixels(decode(grey.convert("RGBa"))).astype(int)
    assert abs(found - [200, 100, 50]).max() <= 2


ARRAYS = {
    "reversed": lambda a: a[::-1, ::-1],
    "columns first": np.asfortranarray,
    "read-only": lambda a: np.frombuffer(a.tobytes(), np.uint8).reshape(a.shape),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "other byte order": lambda a: a.astype(">u2") * 257,
    "masked nowhere": np.ma.array,
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_any_layout_are_read(kind):
    array = ARRAYS[kind](pixels(photo()))
    expected = pixels(photo()) if kind != "reversed" else pixels(photo())[::-1, ::-1]
    expected = np.broadcast_to(expected[:1], expected.shape) if kind == "broadcast" else expected
    for source in (array, hold(array)):
        assert np.array_equal(pixels(decode(source)), expected)


class Tensor:
    """What other libraries' arrays offer: PyTorch's, JAX's, frames of cameras."""

    def __init__(self, array, error=None):
        self.array, self.error, self.ndim, self.shape = array, error, array.ndim, array.shape

    def __array__(self, dtype=None, copy=None):
        if self.error:
            raise self.error
        return self.array

    def __iter__(self):
        return map(Tensor, self.array)


def test_tensors_are_arrays():
    array = pixels(photo())
    assert np.array_equal(pixels(decode(Tensor(array))), array)
    assert len(list(expand(Tensor(np.stack([array] * 3))))) == 3
    assert "transpose(1, 2, 0)" in refused(Tensor(array.transpose(2, 0, 1)))
    assert "tensor.detach().cpu()" in refused(Tensor(array, TypeError("it is on\nthe GPU")))


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.zeros((4, 4, 3)), "(array * 255).round().astype(np.uint8)"),
        (np.zeros((4, 4, 3), bool), "array.astype(np.uint8) * 255"),
        (np.zeros((4, 4, 3), int), "array.astype(np.uint8)"),
        (np.zeros((4, 4, 3), object), "an array of numbers"),
        (np.zeros((3, 4, 5), np.uint8), "array.transpose(1, 2, 0)"),
        (np.zeros((1, 4, 5, 3), np.uint8), "array[i]"),
        (np.uint8(3), "(H, W)"),
        (np.ma.masked_equal(np.zeros((4, 4), np.uint8), 0), "array.filled(0)"),
    ],
)
def test_an_array_that_is_refused_says_what_to_do(array, remedy):
    assert remedy in refused(array)
    assert remedy in refused(hold(array))


def test_lists_of_numbers_are_one_refusal_not_one_for_each_number():
    numbers = pixels(photo()).tolist()
    assert list(expand(numbers)) == [numbers]
    assert "np.asarray" in refused(numbers)
    assert list(expand([{"a.jpg": 1}, np.array(["b.jpg", "c.jpg"])])) == [
        {"a.jpg": 1},
        "b.jpg",
        "c.jpg",
    ]


def closed(source):
    source.close()
    return source


def test_closed_files_and_images_are_told_as_such(tmp_path):
    path = tmp_path / "a.png"
    photo().save(path)
    with Image.open(path) as left:
        pass
    file = open(path, "rb")  # noqa: SIM115 - closed beneath the image
    beneath = Image.open(file)
    file.close()
    view = memoryview(b"abc")
    view.release()
    sources = [closed(io.BytesIO(b"x")), closed(open(path, "rb")), closed(photo())]  # noqa: SIM115
    for source in [*sources, left, beneath, view]:
        assert "closed before it was read" in refused(source)
        assert "closed before it was read" in refused(hold(source))


def test_file_objects_are_read_to_their_end_from_where_they_stand():
    data = encoded(photo(), "PNG")

    class Pipe(io.RawIOBase):
        """Gives what it has in small parts, as pipes and sockets do."""

        rest = data

        def read(self, size=-1):
            part, self.rest = self.rest[:1000], self.rest[1000:]
            return part

    assert np.array_equal(pixels(decode(Pipe())), pixels(photo()))
    ended = io.BytesIO()
    photo().save(ended, "PNG")
    assert "seek(0)" in refused(ended)


def test_file_objects_that_fail_are_refused():
    class Broken:
        def __init__(self, answer):
            self.answer = answer

        def read(self, size):
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    assert "cannot be read (Input/output error)" in refused(
        Broken(OSError(5, "Input/output error"))
    )
    assert "nothing to read yet" in refused(Broken(None))
    assert "cannot be read (odd)" in refused(Broken(RuntimeError("odd")))


def test_names_are_the_path_as_given_and_escaped_only_for_people(tmp_path):
    names = ["a\nb.jpg", "at\u202f3\xa0PM.jpg", "\u732b\u3000\u200d.jpg", os.fsdecode(b"\xff.jpg")]
    for name in names:
        assert source_name(tmp_path / name) == str(tmp_path / name)
        assert os.fsencode(source_name(name)) == os.fsencode(name)
    assert source_name(os.fsencode(names[3])) == "<5 bytes>"
    shown = [refused(tmp_path / name) for name in names]
    assert "a\\nb.jpg" in shown[0]
    assert names[1] in shown[1]
    assert names[2] in shown[2]
    assert "\\udcff.jpg" in shown[3]


# --- paths that are no files


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_devices_are_named_as_what_they_are(path):
    assert "a character device, not a regular file" in refused(path)


def test_fifos_are_named_as_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert "a FIFO (named pipe), not a regular file" in refused(tmp_path / "a.jpg")


def test_addresses_are_not_fetched():
    assert "nothing is downloaded" in refused("https://example.org/a.jpg")


# --- folders and iterables


def test_what_of_a_folder_cannot_be_read_keeps_its_place(tmp_path, cannot_be_listed):
    for name in ("a.png", "d.png", "note.txt", "old.GIF"):
        (tmp_path / name).write_bytes(encoded(photo(), "PNG"))
    os.mkfifo(tmp_path / "b.jpg")
    (tmp_path / "c.jpg").symlink_to("nowhere")
    (tmp_path / "closed").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path)
    cannot_be_listed("closed")
    listing = list_pictures(tmp_path)
    names = [path.name for path in pictures_of(listing)]
    assert names == ["a.png", "b.jpg", "c.jpg", "closed", "d.png"]
    assert listing.others == {".txt": 1, ".gif": 1}
    sources = list(expand(tmp_path))
    assert [source.name for source in sources] == names
    assert "FIFO" in refused(sources[1])
    assert "a link to nowhere" in refused(sources[2])
    assert "cannot be listed (Permission denied)" in refused(sources[3])
    assert "1 .gif, 1 .txt" in refused_folder_of(tmp_path, "old.GIF", "note.txt")


def refused_folder_of(tmp_path, *names):
    folder = tmp_path / "others"
    folder.mkdir()
    for name in names:
        (tmp_path / name).rename(folder / name)
    return refused(folder)


def test_folders_are_listed_sorted_with_subfolders_and_without_hidden_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("z.JPG", "b/a.webp", ".hidden.png", ".cache/x.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    found = [p.relative_to(tmp_path).as_posix() for p in list_pictures(tmp_path).found]
    assert found == ["b/a.webp", "z.JPG"]


def test_iterables_are_expanded_in_order_and_lazily(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    batch = np.zeros((2, 4, 4, 3), np.uint8)
    taken = []

    def source():
        for item in ("x.jpg", tmp_path, batch, [photo(), b"abc"]):
            taken.append(item)
            yield item

    found = expand(source())
    assert next(found) == "x.jpg"
    assert taken == ["x.jpg"]
    assert next(found) == tmp_path / "a.png"
    assert [type(f) for f in found] == [np.ndarray, np.ndarray, Image.Image, bytes]
    assert list(expand(tmp_path / "none")) == [tmp_path / "none"]
