"""Folders and tars of pictures as they come: what cannot be read is named and left out."""

from __future__ import annotations

import io
import os
import pickle
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image

from quasar_runtime.errors import DataError
from tests.train.export_cases import SIZE, random_checkpoint, random_images, write_tar
from train.data.labels import load_labels
from train.data.pictures import calibration_prefixes, decoded, pictures
from train.data.source import Source
from train.data.views import Augmentation, Batches, Views, load

HOW = random_checkpoint().preprocessing


def encoded(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(random_images(1, seed, 64)[0].numpy()).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of three pictures."""
    for i in range(9):
        path = tmp_path / "set" / f"class{i % 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(i))
    return tmp_path / "set"


def test_a_picture_that_cannot_be_read_is_named_left_out_and_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Source(folder)
    bad = folder / "class1" / "4.png"
    bad.write_bytes(bad.read_bytes()[:90])
    found = decoded(good, good.names, 4, HOW)
    assert found.left_out == ["class1/4.png"] or len(found.images) == 4
    everything = decoded(good, good.names, 100, HOW)
    assert len(everything.images) == 8
    assert everything.left_out == ["class1/4.png"]
    assert "class1/4.png: damaged or truncated" in capsys.readouterr().err
    five = decoded(good, ["class1/4.png", *good.names[:3]], 2, HOW)
    assert five.names == good.names[:2]
    np.testing.assert_array_equal(five.images, everything.images[:2])


def test_a_set_of_which_nothing_can_be_read_is_refused(folder: Path) -> None:
    source = Source(folder)
    for path in folder.glob("*/*"):
        path.write_bytes(b"\0" * 10)
    with pytest.raises(DataError, match="none of 9 pictures can be read; the first: class"):
        pictures(source, source.names, HOW)


def test_hidden_files_are_no_part_and_odd_ones_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = Source(folder).names
    (folder / "class0" / "._0.png").write_bytes(b"\0\5\26\7")
    (folder / "class0" / ".DS_Store").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.png").write_bytes(b"x")
    os.mkfifo(folder / "class0" / "fifo.png")
    (folder / "class0" / "gone.png").symlink_to("nowhere")
    (folder / "class0" / "linked.png").symlink_to(folder / "class0" / "0.png")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(folder / "class0" / "s.png"))
    (folder / "class0" / "more").mkdir()
    (folder / "class0" / "more" / "deep.png").write_bytes(encoded(1))
    assert Source(folder).names == sorted([*names, "class0/linked.png"])
    said = capsys.readouterr().err
    assert "class0/fifo.png: a FIFO" in said
    assert "class0/gone.png: a link to nowhere" in said
    assert "class0/s.png: a socket" in said
    assert "such as class0/more/deep.png; left out" in said
    assert "._0" not in said


def test_class_folders_may_be_links(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "subset").mkdir()
    (tmp_path / "subset" / "class1").symlink_to(folder / "class1")
    assert Source(tmp_path / "subset").names == ["class1/1.png", "class1/4.png", "class1/7.png"]


def test_what_lies_elsewhere_is_pointed_at(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").write_bytes(encoded(0))
    with pytest.raises(DataError, match=r"such as a\.png, lie in no class folder"):
        Source(tmp_path / "flat")
    (tmp_path / "flat" / "a.png").unlink()
    (tmp_path / "flat").rmdir()
    with pytest.raises(DataError, match=r"lie deeper, such as set/class0/.*folder above the cl"):
        Source(tmp_path)
    os.mkfifo(tmp_path / "pictures.tar")
    with pytest.raises(DataError, match="a FIFO"):
        Source(tmp_path / "pictures.tar")
    with pytest.raises(DataError, match="no such file; did you mean 'set'"):
        Source(tmp_path / "sett")


# --- tars ---


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **changes: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def test_odd_members_of_a_tar_are_named_and_the_others_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.tar"
    long_name = "ü" * 120
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "./a/1.png", b"old")
        add(tar, "./a/1.png", encoded(1))
        add(tar, f"a/{long_name}.png", encoded(2))
        add(tar, "/b/absolute.png", encoded(3))
        add(tar, "../b/up.png", encoded(4))
        add(tar, "b/._x.png", b"hidden")
        add(tar, "a/soft.png", type=tarfile.SYMTYPE, linkname="1.png")
        add(tar, "b/hard.png", type=tarfile.LNKTYPE, linkname="./a/1.png")
        add(tar, "b/fifo.png", type=tarfile.FIFOTYPE)
        add(tar, "b/deep/er.png", encoded(5))
    source = Source(path)
    assert source.names == ["a/1.png", f"a/{long_name}.png", "b/absolute.png", "b/hard.png"]
    assert source.read("a/1.png") == source.read("b/hard.png") == encoded(1)
    said = capsys.readouterr().err
    assert "../b/up.png: a name with '..'; left out" in said
    assert "a/soft.png: a link; left out" in said
    assert "b/fifo.png: no regular file; left out" in said
    assert "such as b/deep/er.png; left out" in said


def test_folders_around_all_classes_are_overlooked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i in range(4):
            add(tar, f"imagenette2/train/n{i % 2}/{i}.png", encoded(i))
    assert Source(tmp_path / "a.tar").names == ["n0/0.png", "n0/2.png", "n1/1.png", "n1/3.png"]
    assert (
        "its class folders are taken to be those in imagenette2/train/" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("mode", "kind"), [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz")])
def test_a_compressed_tar_is_refused_with_what_unpacks_it(
    mode: str, kind: str, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "a.tar", f"w:{mode}") as tar:  # type: ignore[call-overload]
        add(tar, "a/1.png", encoded(0))
    with pytest.raises(DataError, match=rf"compressed \({kind}\); unpack it first \(tar "):
        Source(tmp_path / "a.tar")


def test_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", random_images(6))
    whole = (tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        last = tar.getmembers()[-1]
    (tmp_path / "a.tar").write_bytes(whole[: last.offset_data + last.size // 2])
    with pytest.raises(DataError, match=r"truncated or damaged after .*copy it again"):
        Source(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match="not a tar"):
        Source(tmp_path / "a.tar")


# --- training on them ---


def test_a_training_sees_the_next_picture_in_place_of_a_bad_one(folder: Path) -> None:
    source = Source(folder)
    views = Views(source, source.names, SIZE, Augmentation(1.0, 1.0, 0.0), 7)
    bad = folder / source.names[3]
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    image, where, why = views[(0, 3)]
    assert where == source.names[4].split("/")[0]
    assert len(why) == 1
    assert why[0].startswith(source.names[3])
    assert torch.equal(image, views[(0, 3)][0])
    for path in folder.glob("*/*"):
        path.unlink()
    with pytest.raises(DataError, match="9 pictures in a row cannot be read"):
        views[(0, 0)]


def test_workers_read_the_same_pictures_and_a_source_can_be_sent_to_them(tmp_path: Path) -> None:
    write_tar(tmp_path / "mix.tar", random_images(8, size=64))
    source = Source(tmp_path / "mix.tar")
    source.read(source.names[0])  # the file is open before the workers are made
    views = Views(source, source.names, SIZE, Augmentation(), 7)
    batches = Batches(8, 4, 0, 0, 2)
    here = [images for images, _, _ in load(views, batches, 0)]
    for one, (two, _, failed) in zip(here, load(views, batches, 1), strict=True):
        assert torch.equal(one, two)
        assert failed == []
    sent = pickle.loads(pickle.dumps(source))  # as forkserver and spawn do
    assert sent._file is None
    assert sent.read(source.names[1]) == source.read(source.names[1])


def test_only_the_mix_of_this_project_is_calibrated_on_in_part() -> None:
    assert calibration_prefixes(["a/nette_1.jpg", "a/tiny_2.jpg"]) == ("nette", "woof", "imagen")
    assert calibration_prefixes(["a/imagen1.jpg", "a/foto2.jpg"]) == ("",)


# --- labels ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"index": 0, "wnid": "", "name": "a"}]', "entry 0: wnid is '', expected 1 to 64"),
        ('[{"index": 0, "wnid": "a", "name": "b\\n"}]', r"entry 0: name is 'b\\n'"),
        ('[{"index": 0, "wnid": "a", "name": 5}]', "entry 0: name is 5"),
        ('[{"index": true, "wnid": "a", "name": "b"}]', "index is True"),
        ('[{"index": 0, "wnid": "a"}]', "expected an object of index, wnid, name"),
        ("[]", "not a labels file"),
        ("[" * 100000, "not a labels file"),
        (
            '[{"index": 0, "wnid": "a", "name": "b"}, {"index": 1, "wnid": "a", "name": "c"}]',
            "class 1 has the wnid 'a' of class 0",
        ),
        (
            '[{"index": 0, "wnid": "a", "name": "b"}, {"index": 0, "wnid": "c", "name": "c"}]',
            "class 0 has a label already",
        ),
    ],
)
def test_labels_that_no_model_file_holds_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_labels(path)
