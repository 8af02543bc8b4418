"""Labelled pictures: folders named by class, or any folder with a labels file."""

import json
import os

import pytest

from quasar_runtime.errors import DataError
from quasar_runtime.images.datasets import read_dataset
from quasar_runtime.images.names import PictureNames

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


# --- labels as the public data sets have them

PAIR = [("a.jpg", 3), ("b.jpg", 5)]
FORMS = {
    "MXNet.lst": "0\t3\ta.jpg\n1\t5.000000\tb.jpg\n",
    "tiny-imagenet.txt": "a.jpg\tn00000003\t0\t32\t44\t62\nb.jpg\tn00000005\t1\t2\t3\t4\n",
    "with text.tsv": "a.jpg\t3\tclass 3\nb.jpg\t5\tclass 5\n",
    "counted and named.csv": "a.jpg,4,class 3\nb.jpg,6,class 5\n",
    "numbered rows.csv": ",filename,label\n0,a.jpg,3\n1,b.jpg,5\n",
    "semicolons.csv": "image;class\na.jpg;class 3\nb.jpg;Class_5\n",
    "label first.txt": "n00000003 a.jpg\nn00000005 b.jpg\n",
    "heading.txt": "filename label\na.jpg 3\nb.jpg 5\n",
    "comment.txt": "# file, class\na.jpg 3\nb.jpg 5\n",
    "quotes.txt": '"a.jpg" "3"\n"b.jpg" 5\n',
    "absolute.txt": "ROOT/a.jpg 3\nROOT/b.jpg 5\n",
    "dots.txt": "./a.jpg 3\n.\\b.jpg 5\n",
    "explained.txt": "a.jpg n00000003 class 3, a kind\nb.jpg n00000005 class 5\n",
    "objects.json": json.dumps([{"file_name": "a.jpg", "label": 3}, {"image": "b.jpg", "wnid": 5}]),
    "by class.json": json.dumps({"n00000003": ["a.jpg"], "n00000005": ["b.jpg"]}),
    "lines.jsonl": '{"file": "a.jpg", "label": 3}\n{"file": "b.jpg", "label": 5}\n',
    "mark.txt": "\ufeffa.jpg 3\r\nb.jpg 5\r\n",
    "old.txt": "a.jpg 3\rb.jpg 5\r",
}


def labelled(tmp_path, files, name, text):
    root = touch(tmp_path / "data", *files)
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.replace("ROOT", str(root)).encode())
    return read_dataset(root, CLASSES, path)


@pytest.mark.parametrize("name", FORMS)
def test_unambiguous_forms_are_taken_without_a_note(tmp_path, name):
    dataset = labelled(tmp_path, ["a.jpg", "b.jpg"], name, FORMS[name])
    assert pairs(dataset) == PAIR
    assert dataset.notes == ()


@pytest.mark.parametrize("text", [FORMS["MXNet.lst"].encode("utf-16"), "a.jpg\t3\nb.jpg\t5"])
def test_spreadsheets_text_is_taken(tmp_path, text):
    assert pairs(labelled(tmp_path, ["a.jpg", "b.jpg"], "l.lst", text)) == PAIR


ASSUMED = {
    "one wnid a line": ("n00000003\nn00000005\n", "order of the pictures' names, a.jpg first"),
    "one number a line": ("3\n5\n", "development kit numbers them in another"),
    "one name a line": ("class 3\nclass 5\n", "holds labels and no file names"),
    "another folder": ("/data/val/a.jpg 3\nval\\b.jpg 5\n", "without their leading folders"),
    "another suffix": ("a.JPEG 3\nb.png 5\n", "with another suffix"),
    "another case": ("A.JPG 3\nb.jpg 5\n", "with letters of another case"),
}


@pytest.mark.parametrize("what", ASSUMED)
def test_what_is_assumed_is_said(tmp_path, what):
    text, note = ASSUMED[what]
    dataset = labelled(tmp_path, ["a.jpg", "b.jpg"], "l.txt", text)
    assert pairs(dataset) == PAIR
    assert note in " ".join(dataset.notes)


def test_an_assumption_is_said_in_a_short_line_whatever_the_name(tmp_path):
    text = f"{'9' * 5000}\x1f/sub/a.jpg 3\nsub/b.jpg 5\n"
    (note,) = labelled(tmp_path, ["sub/a.jpg", "sub/b.jpg"], "l.txt", text).notes
    assert "\\x1f/sub/a.jpg' is sub/a.jpg" in note
    assert len(note) < 300 + len(str(tmp_path))


def test_labels_counted_from_1_are_asked_about(tmp_path):
    dataset = labelled(tmp_path, ["a.jpg", "b.jpg"], "l.txt", "a.jpg 4\nb.jpg 10\n")
    assert pairs(dataset) == [("a.jpg", 3), ("b.jpg", 9)]
    (note,) = dataset.notes
    assert "do its labels count from 1? They go from 4 to 10 and none is 0" in note
    assert "10 as 9 ('class 9')" in note


def test_numbers_that_run_with_the_lines_are_asked_about(tmp_path):
    dataset = labelled(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], "val.txt", "a 1\nb 2\nc 3\n")
    assert "are they line numbers?" in " ".join(dataset.notes)


def test_names_in_other_folders_or_forms_are_found(tmp_path):
    text = "a.jpg 3\nCAFE\u0301.jpg 5\n"
    dataset = labelled(
        tmp_path, ["x/a.jpg", "y/caf\xe9.jpg"], "l.txt", text.replace("CAFE", "y/cafe")
    )
    assert pairs(dataset) == [("x/a.jpg", 3), ("y/caf\xe9.jpg", 5)]
    assert "in whichever folder they are" in " ".join(dataset.notes)


@pytest.mark.parametrize("raw", [b"caf\xe9.jpg", "caf\xe9.jpg".encode()])
def test_names_that_are_not_utf8_are_found(tmp_path, raw):
    dataset = labelled(tmp_path, [os.fsdecode(raw)], "l.txt", b"caf\xe9.jpg 3\n")
    assert [s.index for s in dataset.samples] == [3]
    assert "taken as Latin-1" in " ".join(dataset.notes)


AMBIGUOUS = {
    "two files": (["a.jpg", "a.png"], "a 3\n", r"'a' is a.jpg or a.png"),
    "two folders": (["x/a.jpg", "y/a.jpg"], "a.jpg 3\n", r"'a.jpg' is x/a.jpg or y/a.jpg"),
    "count": (["a.jpg", "b.jpg"], "3\n", "1 labels and no file names, for 2 pictures"),
    "from 0 to 10": (["a.jpg", "b.jpg"], "a.jpg 0\nb.jpg 10\n", "has labels from 0 to 10"),
    "nothing": (["a.jpg"], "\n\n", "holds no labels"),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_what_stays_ambiguous_is_refused(tmp_path, what):
    files, text, message = AMBIGUOUS[what]
    with pytest.raises(DataError, match=message):
        labelled(tmp_path, files, "l.txt", text)


def test_a_name_of_two_classes_is_refused(tmp_path):
    touch(tmp_path / "data", "a.jpg")
    (tmp_path / "l.txt").write_text("a.jpg crane\n")
    classes = [("n1", "crane"), ("n2", "crane"), ("n3", "cat")]
    with pytest.raises(DataError, match="'crane' names several classes; give n1 or n2"):
        read_dataset(tmp_path / "data", classes, tmp_path / "l.txt")


FOLDERS = {
    "indices": (["3/a.jpg", "005/b.jpg"], [3, 5], "counted from 0"),
    "indices from 1": (["4/a.jpg", "10/b.jpg"], [3, 9], "counted from 1"),
    "names": (["class 3/a.jpg", "Class_5/b.jpg"], [3, 5], "as the names of classes"),
    "wnid and name": (["n00000003-cat/a.jpg", "n00000005_x/b.jpg"], [3, 5], ""),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_are_named_by_wnid_index_or_name(tmp_path, what):
    files, indices, note = FOLDERS[what]
    dataset = read_dataset(touch(tmp_path, *files), CLASSES)
    assert sorted(s.index for s in dataset.samples) == indices
    assert note in " ".join(dataset.notes)
    assert len(dataset.notes) == bool(note)


def test_data_set_in_a_subfolder_is_pointed_out(tmp_path):
    touch(tmp_path, "train/n00000003/a.jpg", "val/n00000003/a.jpg")
    with pytest.raises(DataError, match=r"no class folders, but .*train has 1; give that one"):
        read_dataset(tmp_path, CLASSES)


# --- nothing is left out in silence


def test_what_looks_like_a_picture_is_a_sample_and_the_rest_is_told(tmp_path, cannot_be_listed):
    touch(tmp_path, "n00000003/a.jpg", "n00000003/b.HEIC", "n00000005/notes", "n00000005/in/x.jpg")
    os.mkfifo(tmp_path / "n00000003/c.jpg")
    (tmp_path / "n00000005/d.jpg").symlink_to("nowhere")
    (tmp_path / "n00000005/again").symlink_to(tmp_path / "n00000003")
    cannot_be_listed("in")
    dataset = read_dataset(tmp_path, CLASSES)
    assert pairs(dataset) == [
        ("n00000003/a.jpg", 3),
        ("n00000003/c.jpg", 3),
        ("n00000005/d.jpg", 5),
    ]
    assert [s.path.name for s in dataset.skipped] == ["in"]
    notes = "\n".join(dataset.notes)
    assert "in: cannot be listed (Permission denied)" in notes
    assert "again: a link to a folder, not followed" in notes
    assert "left out: 1 without suffix, 1 .heic" in notes


def test_labels_file_in_the_folder_is_no_file_left_out(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "l.csv").write_text("a.jpg,3\n")
    assert read_dataset(tmp_path, CLASSES, tmp_path / "l.csv").notes == ()


def test_labels_that_are_no_regular_file_of_bounded_size_are_refused(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "fifo")
    for path, message in ((tmp_path / "fifo", "FIFO"), ("/dev/zero", "character device")):
        with pytest.raises(DataError, match=message):
            read_dataset(tmp_path, CLASSES, path)
    monkeypatch.setattr("quasar_runtime.images.labels.MOST_BYTES", 10)
    (tmp_path / "long").write_text("a.jpg 3\n" * 2)
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_dataset(tmp_path, CLASSES, tmp_path / "long")


def test_lists_of_a_whole_data_set_do_not_cost_a_search_for_each_line(tmp_path):
    root = touch(tmp_path / "data", *(f"{i}.jpg" for i in range(300)))
    names = PictureNames(root, {f"{i}.jpg" for i in range(300)})
    names._overlooking = pytest.fail  # what is clearly not there is not looked for
    assert names.find("/data/train/n00000003/none.JPEG", "line 1") is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", 'a.jpg,"3\n' + "x" * 200_000, "line 1: not CSV .*; check its quotes"),
        ("l.json", "[" * 100_000, "not JSON"),
        ("l.json", "[[], [1, 2]]", "entry 1"),
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
