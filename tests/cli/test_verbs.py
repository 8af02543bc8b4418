"""The command line: every verb's answers, its JSON, its errors and exit codes."""

import errno
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import click
import pytest
from PIL import Image

from quasar_runtime.cli.app import quasar
from quasar_runtime.cli.infer import infer

REFERENCE = ["--device", "reference", "--overlay", "b64"]


# --- infer


def test_infer_prints_a_table_of_the_best_classes(call, pictures):
    lines = call("infer", pictures / "a.png", *REFERENCE).stdout.splitlines()
    assert re.fullmatch(r".*a\.png  \(\d+\.\d ms\)", lines[0])
    assert len(lines) == 6
    for place, line in enumerate(lines[1:], 1):
        assert re.fullmatch(rf"   {place}  +\d+\.\d%  n\d{{8}}  class \d", line)


def test_infer_json_holds_wnid_label_and_probability(call, pictures):
    found = json.loads(call("infer", pictures, "--json", "--top", 3, *REFERENCE).stdout)
    assert set(found) == {"model", "device", "overlay", "results", "skipped", "error"}
    assert found["model"] == "q-vit-160fps"
    assert [Path(r["source"]).name for r in found["results"]] == ["a.png", "b.jpg"]
    for result in found["results"]:
        assert set(result) == {"source", "error", "predictions", "times", "cycles"}
        assert result["cycles"] is None
        assert result["error"] is None
        assert len(result["predictions"]) == 3
        assert set(result["predictions"][0]) == {"index", "wnid", "label", "probability"}
        assert set(result["times"]) == {"decode_ms", "preprocess_ms", "infer_ms"}
        values = [p["probability"] for p in result["predictions"]]
        assert values == sorted(values, reverse=True)


def test_quasar_infer_is_the_same_command():
    from quasar_runtime.cli import infer_main

    assert infer_main.__module__ == "quasar_runtime.cli"
    assert quasar.get_command(click.Context(quasar), "infer") is infer


def test_infer_reads_standard_input(call, pictures):
    data = (pictures / "b.jpg").read_bytes()
    piped = json.loads(call("infer", "-", "--json", *REFERENCE, stdin=data).stdout)
    named = json.loads(call("infer", pictures / "b.jpg", "--json", *REFERENCE).stdout)
    assert piped["results"][0]["predictions"] == named["results"][0]["predictions"]


def test_infer_quiet_prints_one_line_a_picture(call, pictures):
    lines = call("infer", pictures, "-q", *REFERENCE).stdout.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r".*a\.png: class \d", lines[0])


def test_infer_profile_shows_kinds_of_operations_or_each_one(call, pictures):
    kinds = call("infer", pictures / "a.png", "--profile", *REFERENCE).stdout
    for kind in ("matrices", "attention", "LayerNorm", "loads and stores", "--each"):
        assert kind in kinds
    assert "blocks.1.attention" not in kinds
    text = call("infer", pictures / "a.png", "--profile", "--each", *REFERENCE).stdout
    assert "blocks.1.attention" in text
    data = json.loads(call("infer", pictures / "a.png", "--profile", "--json", *REFERENCE).stdout)
    names = [layer["name"] for layer in data["results"][0]["profile"]["layers"]]
    assert names[-1] == "end"


def test_infer_takes_a_model_file(call, zoo, pictures):
    path = zoo / "tiny-w8.safetensors"
    found = json.loads(call("infer", pictures / "a.png", "-m", path, "--json", *REFERENCE).stdout)
    assert found["model"] == "tiny-w8"


def test_bad_pictures_are_reported_and_the_others_answered(call, pictures):
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    result = call("infer", pictures, pictures / "gone.jpg", "-q", *REFERENCE, code=1)
    assert len(result.stdout.splitlines()) == 2
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("Error: ") for line in errors)
    assert "broken.jpg" in errors[0]
    assert "gone.jpg: no such file" in errors[1]


def test_bad_pictures_keep_their_place_in_json(call, pictures):
    result = call("infer", pictures / "gone.jpg", pictures / "a.png", "--json", *REFERENCE, code=1)
    first, second = json.loads(result.stdout)["results"]
    assert "no such file" in first["error"]
    assert first["predictions"] == []
    assert second["error"] is None


# --- folders: nothing is left out in silence


def test_what_looks_like_a_picture_in_a_folder_and_is_none_is_an_error_of_its_own(call, pictures):
    os.mkfifo(pictures / "b.jpg.jpg")
    (pictures / "c.png").symlink_to("nowhere")
    result = call("infer", pictures, "--json", *REFERENCE, code=1)
    found = {Path(r["source"]).name: r["error"] for r in json.loads(result.stdout)["results"]}
    assert list(found) == ["a.png", "b.jpg", "b.jpg.jpg", "c.png"]
    assert found["a.png"] is found["b.jpg"] is None
    assert "a FIFO (named pipe), not a regular file" in found["b.jpg.jpg"]
    assert "a link to nowhere" in found["c.png"]
    assert len(result.stderr.splitlines()) == 2


def test_pictures_of_kinds_that_are_not_read_are_told_counted_and_an_error(call, pictures):
    for name in ("x.HEIC", "y.heic", "notes.txt"):
        (pictures / name).write_bytes(b"")
    result = call("infer", pictures, "--json", *REFERENCE, code=1)
    assert "left out, no pictures: 2 .heic, 1 .txt" in result.stderr
    assert [(s["suffix"], s["files"]) for s in json.loads(result.stdout)["skipped"]] == [
        (".heic", 2),
        (".txt", 1),
    ]


def test_other_files_and_linked_folders_are_told_and_no_error(call, pictures):
    (pictures / "notes.txt").write_bytes(b"")
    (pictures / "again").symlink_to(pictures)
    result = call("infer", pictures, "--json", *REFERENCE)
    assert "again: a link to a folder, not followed" in result.stderr
    skipped = json.loads(result.stdout)["skipped"]
    assert [s["why"] for s in skipped] == [
        "a link to a folder, not followed",
        "no kind that is read",
    ]
    assert Path(skipped[0]["source"]).exists()


def test_folders_that_cannot_be_listed_are_errors(call, pictures, monkeypatch):
    (pictures / "closed").mkdir()
    scandir = os.scandir

    def refuse(path="."):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = call("infer", pictures, "-q", *REFERENCE, code=1)
    assert len(result.stdout.splitlines()) == 2
    assert "closed: cannot be listed (Permission denied)" in result.stderr


NAMES = ("a\nb.png", "at 3.04\u202fPM.png", "a\xa0b.png", "\u732b\u3000\u200d.png", b"\xff\xe9.png")


def test_json_holds_the_path_itself_and_people_see_it_in_one_line(shell, tmp_path):
    for name in NAMES:
        with open(os.path.join(os.fsencode(tmp_path), os.fsencode(name)), "wb") as file:
            Image.new("RGB", (40, 40)).save(file, "PNG")
    out, _ = shell("infer", tmp_path, "--json", *REFERENCE).communicate(timeout=60)
    sources = [r["source"] for r in json.loads(out)["results"]]
    found = {os.path.basename(os.fsencode(source)) for source in sources}
    assert found == set(map(os.fsencode, NAMES))
    shown, _ = shell("infer", tmp_path, "-q", *REFERENCE).communicate(timeout=60)
    lines = shown.split("\n")
    assert len(lines) == len(NAMES) + 1
    assert all(any(name in line for line in lines) for name in NAMES[1:4])
    assert any("a\\nb.png" in line for line in lines)


def test_answers_until_the_device_failed_are_kept(call, pictures, monkeypatch):
    from quasar_runtime.devices.reference.device import ReferenceDevice
    from quasar_runtime.errors import DeviceFault

    wait, waits = ReferenceDevice.wait, []

    def fail(device, timeout):
        waits.append(timeout)
        if len(waits) == 2:
            raise DeviceFault("stopped")
        return wait(device, timeout)

    monkeypatch.setattr(ReferenceDevice, "wait", fail)
    result = call("infer", pictures, "--json", *REFERENCE, code=1)
    found = json.loads(result.stdout)
    assert [Path(r["source"]).name for r in found["results"]] == ["a.png"]
    assert found["error"] == "stopped"
    waits.clear()
    (pictures / "l.txt").write_text("1\n1\n")
    labels = ["--labels", pictures / "l.txt"]
    found = json.loads(call("eval", pictures, "--json", *labels, *REFERENCE, code=1).stdout)
    assert (found["images"], found["error"]) == (1, "stopped")


# --- errors and exit codes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["infer", "x.jpg", "-m", "q-vit-160fp"], "did you mean 'q-vit-160fps'"),
        (["infer", "x.jpg", "-m", "none/x.safetensors"], "no such file"),
        (["infer", "x.jpg", "-d", "referense"], "did you mean 'reference'"),
        (["infer", "x.jpg", "-d", "reference", "--overlay", "b1023"], "did you mean 'b1024'"),
        (["inspect", "tiny-w9"], "did you mean 'tiny-w8'"),
        (["models", "show", "tiny"], "did you mean 'tiny-w8'"),
        (["models", "verify", "tiny"], "did you mean 'tiny-w8'"),
        (["eval", "nowhere", *REFERENCE], "nowhere: no such folder"),
        (["bench", "nowhere.jpg", *REFERENCE], "nowhere.jpg: no such file"),
    ],
)
def test_bad_names_and_files_are_one_line_and_exit_code_1(call, arguments, message):
    result = call(*arguments, code=1)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["infer"],
        ["infer", "x.jpg", "--top", "0"],
        ["infer", "x.jpg", "--top", "many"],
        ["infer", "x.jpg", "--threads", "0"],
        ["infer", "x.jpg", "--timeout", "0"],
        ["infer", "x.jpg", "--nonsense"],
        ["infer", "x.jpg", "--each"],
        ["bench", "--runs", "0"],
        ["eval"],
        ["completion", "tcsh"],
        ["infr"],
        ["models", "lst"],
    ],
)
def test_wrong_usage_is_exit_code_2(call, arguments):
    assert "Usage:" in call(*arguments, code=2).stderr


def test_unknown_verb_names_the_closest_one(call):
    assert "did you mean 'infer'" in call("infr", code=2).stderr
    assert "did you mean 'list'" in call("models", "lst", code=2).stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("number", "lines", "code"),
    [(signal.SIGINT, ["Interrupted"], 130), (signal.SIGTERM, [], 143)],
)
def test_interrupted_or_terminated_command_exits_in_order(shell, number, lines, code):
    process = shell("infer", "-", *REFERENCE, stdin=subprocess.PIPE)
    # More than a pipe holds: once this is written, the command is reading, and waits for the rest.
    process.stdin.write("x" * 2**20)
    process.stdin.flush()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (out, err.splitlines(), process.returncode) == ("", lines, code)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_that_decodes_and_reads_ends_at_a_signal(shell, pictures, number):
    """Decoders are at work, a FIFO lies in the folder, and standard input never comes."""
    os.mkfifo(pictures / "b.png")
    process = shell("infer", "-q", pictures, "-", *REFERENCE, stdin=subprocess.PIPE)
    # More than a pipe holds: once this is written, the command has begun to read.
    process.stdin.write("x" * 2**20)
    process.stdin.flush()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode in (130, 143)


@pytest.mark.skipif(os.name != "posix", reason="FIFOs")
def test_inputs_that_are_no_files_end_every_verb_at_once(shell, tmp_path):
    os.mkfifo(tmp_path / "f")
    os.mkfifo(tmp_path / "f.safetensors")
    (tmp_path / "n00000001").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "n00000001" / "a.png")
    fifo = tmp_path / "f"
    commands = [
        ["infer", fifo, *REFERENCE],
        ["infer", "x.jpg", "-m", tmp_path / "f.safetensors", *REFERENCE],
        ["bench", fifo, *REFERENCE],
        ["eval", tmp_path, "--labels", fifo, *REFERENCE],
        ["eval", tmp_path, "--resume", fifo, *REFERENCE],
        ["models", "verify", tmp_path / "f.safetensors"],
        ["inspect", tmp_path / "f.safetensors"],
        ["overlays", "install", fifo],
    ]
    for command in commands:
        process = shell(*command)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, command
        assert "a FIFO (named pipe)" in out + err, command


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_closed_pipe_is_quiet(shell, pictures):
    read, write = os.pipe()
    os.close(read)
    process = shell("infer", pictures, *REFERENCE, stdout=write)
    _, err = process.communicate(timeout=60)
    os.close(write)
    assert (process.returncode, err) == (141, "")


def test_pillow_warnings_do_not_reach_the_user(shell, tmp_path):
    exif = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg", exif=exif)
    process = shell("infer", tmp_path / "a.jpg", *REFERENCE)
    out, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", 0)
    assert "class" in out


def test_names_that_no_encoding_holds_are_escaped(shell, tmp_path):
    path = os.fsencode(tmp_path / "a") + b"\xff.png"
    with open(path, "wb") as file:
        Image.new("RGB", (40, 40)).save(file, "PNG")
    process = shell("infer", os.fsdecode(path), *REFERENCE)
    out, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", 0)
    assert "a\\udcff.png" in out


# --- eval


@pytest.fixture
def labelled(pictures):
    for wnid, name in (("n00000001", "a.png"), ("n00000002", "b.jpg")):
        (pictures / wnid).mkdir()
        (pictures / name).rename(pictures / wnid / name)
    return pictures


def test_eval_json_has_top1_top5_and_images(call, labelled):
    found = json.loads(call("eval", labelled, "--json", *REFERENCE).stdout)
    assert set(found) == {
        *("model", "device", "overlay", "images", "top1", "top5"),
        *("failed", "skipped", "notes", "error"),
    }
    assert found["images"] == 2
    assert found["top1"] in (0, 50, 100)
    assert found["failed"] == []


def test_eval_is_resumable_and_tells_classes_apart(call, labelled, tmp_path):
    options = ["--resume", tmp_path / "state.jsonl", "--per-class", "--json", *REFERENCE]
    first = call("eval", labelled, *options).stdout
    assert [c["wnid"] for c in json.loads(first)["classes"]] == ["n00000001", "n00000002"]
    assert call("eval", labelled, *options).stdout == first


def test_eval_takes_a_labels_file(call, pictures):
    (pictures / "labels.csv").write_text("a.png,1\nb.jpg,n00000002\n")
    text = call("eval", pictures, "--labels", pictures / "labels.csv", *REFERENCE).stdout
    assert "of 2 images" in text


def test_eval_reports_unreadable_pictures_and_exits_with_1(call, labelled):
    (labelled / "n00000001" / "c.jpg").write_bytes(b"")
    result = call("eval", labelled, "--json", *REFERENCE, code=1)
    assert json.loads(result.stdout)["images"] == 2
    assert "c.jpg: empty" in result.stderr


def test_eval_says_what_it_assumed_and_left_out(call, pictures):
    (pictures / "x.heic").write_bytes(b"")
    (pictures / "labels.txt").write_text("1\nn00000002\n")
    options = ["--labels", pictures / "labels.txt", "--json", *REFERENCE]
    result = call("eval", pictures, *options)
    notes = json.loads(result.stdout)["notes"]
    assert len(notes) == 2
    assert "order of the pictures' names" in notes[0]
    assert "left out: 1 .heic" in notes[1]
    assert len(result.stderr.splitlines()) == 2


def test_eval_refuses_to_overwrite_its_inputs(call, pictures):
    labels = pictures / "labels.txt"
    labels.write_text("")
    for resume in (labels, pictures / "a.png"):
        before = resume.read_bytes()
        options = ["--labels", labels, "--resume", resume, *REFERENCE]
        call("eval", pictures, *options, code=1)
        assert resume.read_bytes() == before


def test_eval_checks_its_labels_before_it_opens_the_device(call, pictures, monkeypatch):
    monkeypatch.setattr(
        "quasar_runtime.session.session.Session.__init__", lambda *a, **k: pytest.fail("opened")
    )
    (pictures / "labels.txt").write_text("a.png nothing\n")
    result = call("eval", pictures, "--labels", pictures / "labels.txt", *REFERENCE, code=1)
    assert "the label 'nothing'" in result.stderr
    (pictures / "labels.txt").write_text("a.png 1\n")
    options = ["--labels", pictures / "labels.txt", "--resume", pictures / "none" / "state"]
    assert "no such folder" in call("eval", pictures, *options, *REFERENCE, code=1).stderr


def test_eval_of_folders_that_are_no_class_is_refused(call, pictures):
    (pictures / "cat").mkdir()
    assert "is a class of the model" in call("eval", pictures, *REFERENCE, code=1).stderr


# --- the other verbs


def test_bench_prints_latency_throughput_and_operations(call, tmp_path):
    trace = tmp_path / "out.json"
    options = ["--runs", 2, "--warmup", 1, "--trace", trace, *REFERENCE]
    text = call("bench", "--each", *options).stdout
    for word in ("p50", "p90", "p99", "inferences/s", "end to end", "blocks.0.qkv"):
        assert word in text
    kinds = call("bench", *options).stdout
    assert "matrices" in kinds
    assert "blocks.0.qkv" not in kinds
    assert json.loads(trace.read_text())["traceEvents"]
    found = json.loads(call("bench", "--json", *options).stdout)
    assert found["infer"]["runs"] == 2


BENCH = ["bench", "-n", 1, "--warmup", 0, *REFERENCE]


@pytest.mark.parametrize("warmup", [0, 3])
def test_bench_leaves_out_a_picture_that_cannot_be_read_and_says_which(call, pictures, warmup):
    broken = pictures / "a-broken.jpg"
    broken.write_bytes(b"no picture")
    options = ["bench", pictures, "-n", 4, "--warmup", warmup, "--json", *REFERENCE]
    result = call(*options, code=1)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "a-broken.jpg" in line
    found = json.loads(result.stdout)
    assert found["decode"]["runs"] == found["infer"]["runs"] == 4
    assert [entry["file"] for entry in found["failed"]] == [str(broken)]


def test_bench_of_pictures_of_which_none_can_be_read_says_so(call, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    result = call("bench", tmp_path, *BENCH[1:], code=1)
    (line,) = result.stderr.splitlines()
    assert "none of 2 pictures can be read" in line
    assert result.stdout == ""


def test_a_trace_that_cannot_be_written_is_told_first_and_costs_no_figures(call, tmp_path):
    trace = tmp_path / "none" / "out.json"
    result = call(*BENCH, "--trace", trace, code=1)
    assert "inferences/s" in result.stdout
    (line,) = result.stderr.splitlines()
    assert "out.json: cannot be written: " in line
    assert "the figures come without a trace" in line


def test_a_trace_that_fails_late_costs_no_figures_and_leaves_nothing(call, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = call(*BENCH, "--trace", tmp_path / "out.json", code=1)
    assert "inferences/s" in result.stdout
    assert "out.json: cannot be written (No space left on device)" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_figures_that_cannot_be_printed_cost_no_trace(shell, tmp_path):
    process = shell(*BENCH, "--trace", tmp_path / "out.json", via=">&- 1</dev/null")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "standard output cannot be written" in err
    assert json.loads((tmp_path / "out.json").read_text())["traceEvents"]


@pytest.mark.parametrize("option", ["--trace", "--vcd"])
@pytest.mark.parametrize("what", ["picture", "picture of the folder", "model"])
def test_an_output_never_overwrites_an_input(call, zoo, pictures, option, what):
    model = zoo / "tiny-w8.safetensors"
    taken = model if what == "model" else pictures / "a.png"
    before = taken.read_bytes()
    read = pictures if "folder" in what else pictures / "a.png"
    device = REFERENCE if option == "--trace" else ["-d", "rtl", "--overlay", "b64"]
    for name in (model, "tiny-w8"):
        result = call("bench", read, "-m", name, option, taken, *device, code=1)
        assert "is also read by this command" in result.stderr
        assert taken.read_bytes() == before


def test_two_outputs_are_two_files(call, pictures):
    both = ["--trace", pictures / "x", "--vcd", f"{pictures}/./x"]
    result = call("bench", *both, "-d", "rtl", "--overlay", "b64", code=1)
    assert "two things would be written to it" in result.stderr


def test_models_list_names_every_model(call):
    found = json.loads(call("models", "list", "--json").stdout)
    assert [entry["name"] for entry in found] == ["q-vit-160fps", "tiny-w8"]
    assert call("models", "list", "-q").stdout.split() == ["q-vit-160fps", "tiny-w8"]
    assert "q-vit-160fps" in call("models", "list").stdout


def test_models_show_says_where_the_weights_come_from(call):
    assert "synthetic, random" in call("models", "show", "tiny-w8").stdout
    assert "synthetic, random" in call("models", "show", "tiny-w8", "--all").stdout
    found = json.loads(call("models", "show", "tiny-w8", "--json").stdout)
    assert found["provenance"] == {"weights": "synthetic, random"}
    assert found["rows8"] > 0


def test_models_verify_finds_a_damaged_file(call, zoo, tmp_path):
    assert call("models", "verify").stdout == "q-vit-160fps: ok\ntiny-w8: ok\n"
    data = bytearray((zoo / "tiny-w8.safetensors").read_bytes())
    data[-100] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(data)
    result = call("models", "verify", "tiny-w8", damaged, "--json", code=1)
    good, bad = json.loads(result.stdout)
    assert good == {"name": "tiny-w8", "ok": True, "problem": None}
    assert not bad["ok"]
    assert bad["problem"]


def test_inspect_shows_model_and_program(call):
    every = ["--memory", "--descriptors", "--each"]
    text = call("inspect", "tiny-w8", "--overlay", "b64", *every).stdout
    for word in ("blocks.1.fc2", "4-bit", "descriptors", "patch.weights", "rows8=", "array cycles"):
        assert word in text
    found = json.loads(call("inspect", "tiny-w8", "--overlay", "b64", "--json").stdout)
    assert found["model"]["name"] == "tiny-w8"
    program = found["program"]
    assert f"predicted: {program['predicted']['cycles']:,} cycles per image" in text
    assert "150 cycles latency and 12 GB/s; not measured on a board" in text
    assert program["descriptors"][-1]["operation"] == "end"
    for area in program["memory"]:
        assert area["bytes"] > 0
        if area["area"] == "program":
            assert area["offset"] + area["bytes"] <= program["bytes"]
    assert program["macs"] == sum(d["macs"] for d in program["descriptors"])
    areas = [a for a in program["memory"] if a["area"] == "program"]
    read = sum(d["bytes"] for d in program["descriptors"])
    assert read == sum(a["bytes"] for a in areas if a["name"] != "descriptors")


def test_inspect_predicts_what_the_cycle_model_says(call, zoo):
    from quasar_runtime.compiler.compile import compile_model
    from quasar_runtime.cycles.predict import program_cycles
    from quasar_runtime.isa.overlay import load_overlay
    from quasar_runtime.model.zoo import load_model

    program = compile_model(load_model(zoo / "tiny-w8.safetensors"), load_overlay("b64"))
    expected = program_cycles(program)
    options = ["tiny-w8", "--overlay", "b64", "--json"]
    found = json.loads(call("inspect", *options).stdout)["program"]
    predicted = found["predicted"]
    assert predicted["cycles"] == round(expected.total) > found["array_cycles"]
    assert predicted["fps"] == pytest.approx(300e6 / expected.total, rel=1e-3)
    assert predicted["milliseconds"] == pytest.approx(expected.total / 300e3, rel=1e-3)
    assert predicted["memory"] == {"latency": 150, "gigabytes": 12.0, "port_gigabytes": 8.5}
    spans = [d["cycles"] for d in found["descriptors"]]
    assert spans == [round(span) for span in expected.spans]
    begins = [d["begin_cycle"] for d in found["descriptors"]]
    assert begins == sorted(begins)
    assert begins[0] > 0


def test_devices_say_why_one_cannot_be_used(call):
    found = json.loads(call("devices", "--no-build", "--json").stdout)
    assert [d["name"] for d in found] == ["board", "native", "rtl", "reference"]
    assert found[3] == {**found[3], "available": True, "reason": None}
    assert all(d["available"] or d["reason"] for d in found)
    assert "reference" in call("devices", "--no-build", "-q").stdout.split()
    assert found[0]["reason"] is None or found[0]["reason"] in call("devices", "--no-build").stdout


def test_version_is_printed(call):
    from quasar_runtime import __version__

    assert call("--version").stdout.strip().endswith(__version__)
