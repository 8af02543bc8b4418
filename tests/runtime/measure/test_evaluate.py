"""Accuracy on labelled pictures, stopped and resumed without counting anything twice."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from quasar_runtime.errors import DataError
from quasar_runtime.images.datasets import read_dataset
from quasar_runtime.measure.evaluate import Evaluation
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.session.session import Session

MODEL = random_model(0)


@pytest.fixture(scope="module")
def session():
    with Session(MODEL, "reference", overlay="b64") as opened:
        yield opened


@pytest.fixture
def dataset(session, tmp_path):
    """Eight pictures: 0 to 3 labelled with their first class, 4 and 5 with their third, 6 and 7
    with their last."""
    labels = {}
    for i in range(8):
        image = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        ranked = [p.index for p in session.classify(image, top=10).predictions]
        labels[f"{i}.png"] = ranked[0] if i < 4 else ranked[2] if i < 6 else ranked[9]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return read_dataset(tmp_path, MODEL.labels, tmp_path / "labels.json")


def finish(session, dataset, resume=None):
    evaluation = Evaluation(session, dataset, resume)
    return evaluation, list(evaluation.run())


def test_accuracy_is_in_percent(session, dataset):
    evaluation, outcomes = finish(session, dataset)
    assert len(outcomes) == 8
    found = evaluation.as_dict()
    assert found == {
        "model": "synthetic",
        "device": "reference",
        "overlay": "b64",
        "images": 8,
        "top1": 50.0,
        "top5": 75.0,
        "failed": [],
        "skipped": [],
        "notes": [],
    }


def test_per_class_counts_add_up(session, dataset):
    evaluation, _ = finish(session, dataset)
    classes = evaluation.as_dict(per_class=True)["classes"]
    assert sum(c["images"] for c in classes) == 8
    right = sum(c["images"] * c["top1"] / 100 for c in classes)
    assert right == pytest.approx(4)
    assert [c["index"] for c in classes] == sorted({s.index for s in dataset.samples})
    assert classes[0]["wnid"] == MODEL.labels[classes[0]["index"]][0]


def test_unreadable_pictures_are_named_and_do_not_count(session, dataset, tmp_path):
    (tmp_path / "0.png").write_bytes(b"broken")
    evaluation, _ = finish(session, dataset)
    assert evaluation.images == 7
    assert [f["file"] for f in evaluation.as_dict()["failed"]] == ["0.png"]
    assert evaluation.top1 == pytest.approx(100 * 3 / 7, abs=1e-3)


def test_nothing_counted_has_no_accuracy(session, dataset):
    assert Evaluation(session, dataset).top1 is None


def test_stopped_run_goes_on_where_it_ended(session, dataset, tmp_path):
    state = tmp_path / "state.jsonl"
    evaluation = Evaluation(session, dataset, state)
    run = evaluation.run()
    for _ in range(3):
        next(run)
    run.close()
    with open(state, "a") as file:
        file.write('{"file": "3.png", "to')  # cut off in the middle of a line
    again, outcomes = finish(session, dataset, state)
    assert again.done == 3
    assert [o.sample.name for o in outcomes] == [f"{i}.png" for i in range(3, 8)]
    assert (again.images, again.top1, again.top5) == (8, 50.0, 75.0)
    third, outcomes = finish(session, dataset, state)
    assert outcomes == []
    assert (third.images, third.top1, third.top5) == (8, 50.0, 75.0)


def test_failed_pictures_are_tried_again(session, dataset, tmp_path):
    good = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(b"broken")
    finish(session, dataset, tmp_path / "state")
    (tmp_path / "0.png").write_bytes(good)
    evaluation, outcomes = finish(session, dataset, tmp_path / "state")
    assert len(outcomes) == 1
    assert evaluation.images == 8


def test_state_of_another_model_is_refused(session, dataset, tmp_path):
    finish(session, dataset, tmp_path / "state")
    with (
        Session(random_model(1), "reference", overlay="b64") as other,
        pytest.raises(DataError, match="program"),
    ):
        Evaluation(other, dataset, tmp_path / "state")


@pytest.mark.parametrize(
    "content", [b"a letter, without a newline", b"a letter\n", b"[1]\n", b'{"format": "x"}\n']
)
def test_files_that_are_no_state_are_refused_and_left_as_they_are(
    session, dataset, tmp_path, content
):
    (tmp_path / "letter").write_bytes(content)
    with pytest.raises(DataError, match="letter"):
        Evaluation(session, dataset, tmp_path / "letter")
    assert (tmp_path / "letter").read_bytes() == content


@pytest.mark.parametrize(
    "line",
    ["{}", '{"file": 3, "top": [1]}', '{"file": "0.png", "top": [true]}', "[" * 10**5],
    ids=["empty", "number", "boolean", "deep"],
)
def test_damaged_lines_are_refused_with_their_number(session, dataset, tmp_path, line):
    state = tmp_path / "state"
    finish(session, dataset, state)
    lines = state.read_text().splitlines()
    lines[3] = line
    state.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="line 4"):
        Evaluation(session, dataset, state)


def test_state_that_cannot_be_written_is_refused_before_anything_runs(session, dataset, tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        Evaluation(session, dataset, tmp_path / "none" / "state")


def test_state_is_no_picture_of_the_data_and_no_pipe(session, dataset, tmp_path):
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="also read by this command"):
        Evaluation(session, dataset, tmp_path / "0.png")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DataError, match="a FIFO"):
        Evaluation(session, dataset, tmp_path / "fifo")


def test_full_disk_costs_the_state_and_not_the_answers(session, dataset, tmp_path, monkeypatch):
    written = []

    def write(state, value):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(value)

    monkeypatch.setattr("quasar_runtime.measure.evaluate._write_line", write)
    evaluation, outcomes = finish(session, dataset, tmp_path / "state")
    assert len(outcomes) == evaluation.images == 8
    assert "No space left on device" in str(evaluation.problem)
    assert len(written) == 3


def test_names_that_are_no_text_are_kept_and_found_again(session, tmp_path):
    name = os.fsdecode(b"\xff \xe9\n.png")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    (tmp_path / "labels.json").write_text(json.dumps({name: 1}))
    dataset = read_dataset(tmp_path, MODEL.labels, tmp_path / "labels.json")
    state = tmp_path / "state"
    finish(session, dataset, state)
    kept = json.loads(state.read_text().splitlines()[1])["file"]
    assert os.fsencode(kept) == os.fsencode(name)
    assert Evaluation(session, dataset, state).remaining == []


def test_pictures_that_are_no_files_fail_and_the_others_count(session, dataset, tmp_path):
    (tmp_path / "0.png").unlink()
    os.mkfifo(tmp_path / "0.png")
    evaluation, _ = finish(session, dataset)
    assert evaluation.images == 7
    (failed,) = evaluation.as_dict()["failed"]
    assert "a FIFO (named pipe), not a regular file" in failed["error"]
