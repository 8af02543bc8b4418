"""Labelled pictures: folders named by class, or any folder with a labels file."""

import json

import pytest

from quasar_runtime.datasets import read_dataset
from quasar_runtime.errors import DataError

CLASSES = [(f"n{i:08d}", f"class {i}") for i in range(10)]


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def pairs(dataset):
    return [(s.name, s.index) for s in dataset.samples]


def test_folders_named_by_wnid_are_the_classes(tmp_path):
    touch(tmp_path, "n00000003/b.jpg", "n00000003/deep/a.png", "n00000001/c.JPEG", "readme.txt")
    dataset = read_dataset(tmp_path, CLASSES)
    assert pairs(dataset) == [
        ("n00000001/c.JPEG", 1),
        ("n00000003/b.jpg", 3),
        ("n00000003/deep/a.png", 3),
    ]
    assert all(s.path.is_file() for s in dataset.samples)
    assert dataset.notes == ()


def test_folders_that_are_no_class_are_left_out_with_a_note(tmp_path):
    touch(tmp_path, "n00000003/b.jpg", "cats/a.jpg", ".cache/x.jpg")
    dataset = read_dataset(tmp_path, CLASSES)
    assert pairs(dataset) == [("n00000003/b.jpg", 3)]
    assert "cats" in dataset.notes[0]
    assert "cache" not in dataset.notes[0]


def test_no_folder_that_is_a_class_is_an_error_that_names_both_sides(tmp_path):
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg")
    with pytest.raises(DataError, match=r"none of its 2 folders \(cat, dog\).*n00000000.*--labels"):
        read_dataset(tmp_path, CLASSES)


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="no class folders"):
        read_dataset(tmp_path, CLASSES)
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(tmp_path / "none", CLASSES)
    touch(tmp_path, "n00000003/notes.txt")
    with pytest.raises(DataError, match="hold no pictures"):
        read_dataset(tmp_path, CLASSES)
    with pytest.raises(DataError, match="not a folder"):
        read_dataset(tmp_path / "n00000003/notes.txt", CLASSES)


LABELS = {
    "labels.csv": "a.jpg,n00000003\nsub/b c.png,5\n",
    "heading.csv": 'filename,wnid\r\na.jpg,n00000003\r\n\r\n"sub/b c.png",n00000005\r\n',
    "kaggle.csv": "ImageId,PredictionString\na,n00000003 85 1 49 72 \nsub/b c,n00000005 1 2\n",
    "labels.txt": "a.jpg n00000003\n\nsub/b c.png   5\n",
    "object.json": json.dumps({"a.jpg": "n00000003", "./sub/b c.png": 5}),
    "list.json": json.dumps([["a.jpg", 3], ["sub/b c.png", "5"]]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_files_give_wnids_or_indices(tmp_path, name):
    touch(tmp_path / "data", "a.jpg", "sub/b c.png")
    (tmp_path / name).write_text(LABELS[name])
    dataset = read_dataset(tmp_path / "data", CLASSES, tmp_path / name)
    assert pairs(dataset) == [("a.jpg", 3), ("sub/b c.png", 5)]
    assert dataset.notes == ()


def test_what_has_no_counterpart_is_left_out_with_a_note(tmp_path):
    touch(tmp_path / "data", "a.jpg", "extra.jpg")
    labels = tmp_path / "labels.txt"
    labels.write_text("a.jpg 1\ngone.jpg 2\n")
    dataset = read_dataset(tmp_path / "data", CLASSES, labels)
    assert pairs(dataset) == [("a.jpg", 1)]
    assert "1 of the files" in dataset.notes[0]
    assert "1 pictures without a label" in dataset.notes[1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "a.jpg n00000033\n", r"line 1: the label 'n00000033'.*0 to 9.*; did you mean"),
        (
            "l.txt",
            "a.jpg 11\n",
            "neither a wnid of the model, nor an index from 0 to 9, nor the name",
        ),
        ("l.txt", "a.jpg 1\na.jpg 2\n", "line 2: a.jpg is labelled 2, above 1"),
        ("l.txt", "a.jpg\n", "line 1: 'a.jpg', expected a file name and a label"),
        ("l.txt", "other.jpg 1\n", "none of the 1 files it names"),
        ("l.csv", "a.jpg,\n", "expected a file name and a label"),
        ("l.csv", "a.jpg,cat\n", "the label 'cat'"),
        ("l.json", "{", "not JSON"),
        ("l.json", "3", "expected an object or a list"),
        ("l.json", '[["a.jpg"]]', "entry 1"),
        ("l.json", '{"a.jpg": true}', "the label is True"),
        ("l.json", '{"a.jpg": 1.5}', "the label is 1.5"),
    ],
)
def test_malformed_labels_say_where_and_what(tmp_path, name, text, message):
    touch(tmp_path / "data", "a.jpg")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / "data", CLASSES, tmp_path / name)


def test_labels_file_that_cannot_be_read_is_refused(tmp_path):
    touch(tmp_path, "a.jpg")
    with pytest.raises(DataError, match="no such file"):
        read_dataset(tmp_path, CLASSES, tmp_path / "none.csv")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text"):
        read_dataset(tmp_path, CLASSES, tmp_path / "binary.txt")
