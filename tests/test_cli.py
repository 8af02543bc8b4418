"""The command line: every verb's answers, its JSON, its errors and exit codes."""

import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from quasar_runtime.cli.app import quasar
from quasar_runtime.cli.infer import infer
from quasar_runtime.cli.output import Output
from quasar_runtime.device.rtl_watch import Progress
from quasar_runtime.model import random_model
from quasar_runtime.model_file import write_model
from quasar_runtime.zoo import build_index

ROOT = Path(__file__).resolve().parent.parent
# click before 8.2 mixes stdout and stderr unless it is told not to.
OLD_CLICK = "mix_stderr" in inspect.signature(CliRunner).parameters
RUNNER = CliRunner(mix_stderr=False) if OLD_CLICK else CliRunner()
REFERENCE = ["--device", "reference", "--overlay", "b64"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    for seed, name in enumerate(("q-vit-160fps", "tiny-w8")):
        write_model(random_model(seed, name=name), folder / f"{name}.safetensors")
    build_index(folder)
    return folder


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def call(zoo, monkeypatch):
    """Run a verb in this process; returns click's result, with stdout and stderr apart."""
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(zoo))

    def run(*arguments, code=0, stdin=None):
        result = RUNNER.invoke(quasar, [str(a) for a in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def shell(zoo, *arguments, **options):
    """The same in a process of its own, as a user runs it."""
    environment = {**os.environ, "QUASAR_MODEL_ZOO": str(zoo), "PYTHONPATH": str(ROOT)}
    environment |= options.pop("env", {})
    command = [sys.executable, "-m", "quasar_runtime.cli", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


# --- infer


def test_infer_prints_a_table_of_the_best_classes(call, pictures):
    lines = call("infer", pictures / "a.png", *REFERENCE).stdout.splitlines()
    assert re.fullmatch(r".*a\.png  \(\d+\.\d ms\)", lines[0])
    assert len(lines) == 6
    for place, line in enumerate(lines[1:], 1):
        assert re.fullmatch(rf"   {place}  +\d+\.\d%  n\d{{8}}  class \d", line)


def test_infer_json_holds_wnid_label_and_probability(call, pictures):
    found = json.loads(call("infer", pictures, "--json", "--top", 3, *REFERENCE).stdout)
    assert set(found) == {"model", "device", "overlay", "results"}
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


def test_infer_profile_shows_every_operation(call, pictures):
    text = call("infer", pictures / "a.png", "--profile", *REFERENCE).stdout
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
def test_interrupt_is_one_line_and_exit_code_130(zoo):
    process = shell(zoo, "infer", "-", *REFERENCE, stdin=subprocess.PIPE)
    # More than a pipe holds: once this is written, the command is reading, and waits for the rest.
    process.stdin.write("x" * 2**20)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err.splitlines(), process.returncode) == ("", ["Interrupted"], 130)


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_closed_pipe_is_quiet(zoo, pictures):
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "QUASAR_MODEL_ZOO": str(zoo), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "quasar_runtime.cli", "infer", str(pictures), *REFERENCE],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_pillow_warnings_do_not_reach_the_user(zoo, tmp_path):
    exif = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg", exif=exif)
    process = shell(zoo, "infer", tmp_path / "a.jpg", *REFERENCE)
    out, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", 0)
    assert "class" in out


# --- eval


@pytest.fixture
def labelled(pictures):
    for wnid, name in (("n00000001", "a.png"), ("n00000002", "b.jpg")):
        (pictures / wnid).mkdir()
        (pictures / name).rename(pictures / wnid / name)
    return pictures


def test_eval_json_has_top1_top5_and_images(call, labelled):
    found = json.loads(call("eval", labelled, "--json", *REFERENCE).stdout)
    assert set(found) == {"model", "device", "overlay", "images", "top1", "top5", "failed"}
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


def test_eval_of_folders_that_are_no_class_is_refused(call, pictures):
    (pictures / "cat").mkdir()
    assert "is a class of the model" in call("eval", pictures, *REFERENCE, code=1).stderr


# --- the other verbs


def test_bench_prints_latency_throughput_and_operations(call, tmp_path):
    trace = tmp_path / "out.json"
    options = ["--runs", 2, "--warmup", 1, "--trace", trace, *REFERENCE]
    text = call("bench", *options).stdout
    for word in ("p50", "p90", "p99", "inferences/s", "end to end", "blocks.0.qkv"):
        assert word in text
    assert json.loads(trace.read_text())["traceEvents"]
    found = json.loads(call("bench", "--json", *options).stdout)
    assert found["infer"]["runs"] == 2


def test_bench_reports_a_trace_that_cannot_be_written(call, tmp_path):
    trace = tmp_path / "none" / "out.json"
    result = call("bench", "-n", 1, "--warmup", 0, "--trace", trace, *REFERENCE, code=1)
    assert "out.json: No such file or directory" in result.stderr


def test_models_list_names_every_model(call):
    found = json.loads(call("models", "list", "--json").stdout)
    assert [entry["name"] for entry in found] == ["q-vit-160fps", "tiny-w8"]
    assert call("models", "list", "-q").stdout.split() == ["q-vit-160fps", "tiny-w8"]
    assert "q-vit-160fps" in call("models", "list").stdout


def test_models_show_says_where_the_weights_come_from(call):
    assert "synthetic, random" in call("models", "show", "tiny-w8").stdout
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
    text = call("inspect", "tiny-w8", "--overlay", "b64", "--memory", "--descriptors").stdout
    for word in ("blocks.1.fc2", "4-bit", "descriptors", "patch.weights", "rows8=", "array cycles"):
        assert word in text
    found = json.loads(call("inspect", "tiny-w8", "--overlay", "b64", "--json").stdout)
    assert found["model"]["name"] == "tiny-w8"
    program = found["program"]
    assert f"predicted: {program['predicted']['cycles']} cycles an image" in text
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
    from quasar_runtime.compiler import compile_model
    from quasar_runtime.cycles import program_cycles
    from quasar_runtime.overlay import load_overlay
    from quasar_runtime.zoo import load_model

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


# --- completion


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_serves_both_commands(call, shell_name):
    script = call("completion", shell_name).stdout
    assert f"_QUASAR_COMPLETE={shell_name}_complete" in script
    assert f"_QUASAR_INFER_COMPLETE={shell_name}_complete" in script


def complete(zoo, words):
    environment = {
        "_QUASAR_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    out, err = shell(zoo, env=environment).communicate(timeout=60)
    assert err == ""
    return [line.partition(",")[2] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["quasar", "mo"], ["models"]),
        (["quasar", "infer", "--model", "q"], ["q-vit-160fps"]),
        (["quasar", "inspect", "t"], ["tiny-w8"]),
        (["quasar", "infer", "--device", "re"], ["reference"]),
        (["quasar", "infer", "--overlay", "b1"], ["b1024"]),
        (["quasar", "models", "sh"], ["show"]),
    ],
)
def test_verbs_models_devices_and_overlays_complete(zoo, words, found):
    assert complete(zoo, words) == found


# --- help and documentation


def commands(command=quasar, path=("quasar",)):
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


COMMANDS = dict(commands())


def section(name):
    """What docs/cli.md says under the heading of a command."""
    text = (ROOT / "docs/cli.md").read_text()
    found = re.search(rf"^##+ `{re.escape(name)}`$(.*?)(?=^##+ `|\Z)", text, re.M | re.S)
    assert found, f"docs/cli.md has no heading for `{name}`"
    return found.group(1)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help_and_documentation(name):
    command = COMMANDS[name]
    assert command.help
    if isinstance(command, click.Group):
        return
    documented = section(name)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"
            assert f"`{parameter.opts[0]}" in documented, f"{parameter.opts[0]} not in docs/cli.md"


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not isinstance(c, click.Group)])
def test_every_verb_has_json(name):
    assert "--json" in {o for p in COMMANDS[name].params for o in p.opts}


def test_documentation_names_no_option_that_does_not_exist():
    for name, command in COMMANDS.items():
        if isinstance(command, click.Group):
            continue
        known = {o for p in command.params for o in p.opts}
        table = [line for line in section(name).splitlines() if line.startswith("| `-")]
        for option in (
            o for line in table for o in re.findall(r"`(--?[a-z-]+)", line.split("|")[1])
        ):
            assert option in known, f"{name}: {option}"


def test_names_that_no_encoding_holds_are_escaped(zoo, tmp_path):
    path = os.fsencode(tmp_path / "a") + b"\xff.png"
    with open(path, "wb") as file:
        Image.new("RGB", (40, 40)).save(file, "PNG")
    process = shell(zoo, "infer", os.fsdecode(path), *REFERENCE)
    out, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", 0)
    assert "a\\udcff.png" in out


# --- the simulated accelerator


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-cycles", "9"], "--max-cycles is for the simulation; add --device rtl"),
        (["--vcd", "x.vcd"], "--vcd is for the simulation; add --device rtl"),
        (["--fst", "x.fst", "-d", "native"], "--fst is for the simulation; add --device rtl"),
        (["--window", "0:5"], "--window is for the simulation; add --device rtl"),
        (["-d", "rtl", "--window", "0:5"], "add --vcd FILE or --fst FILE"),
        (["-d", "rtl", "--vcd", "x", "--fst", "y"], "give one of them"),
        (["-d", "rtl", "--vcd", "x", "--window", "5:5"], "'5:5' is no window of cycles"),
        (["-d", "rtl", "--vcd", "x", "--window", "some"], "'some' is no window of cycles"),
        (["-d", "rtl", "--max-cycles", "0"], "0 is not in the range"),
    ],
)
@pytest.mark.parametrize("verb", ["infer", "bench", "eval"])
def test_options_of_the_simulation_make_sense_only_there(call, pictures, verb, options, message):
    assert message in call(verb, pictures, *options, code=2).stderr


@pytest.fixture
def rtl(call):
    reason = next(
        d for d in json.loads(call("devices", "--no-build", "--json").stdout) if d["name"] == "rtl"
    )
    if not reason["available"]:
        pytest.skip(reason["reason"])
    return ["-d", "rtl", "--overlay", "b64"]


def test_devices_builds_the_simulation(call, rtl):
    call("devices", *rtl[2:])
    device = json.loads(call("devices", "--json", "--no-build").stdout)[2]
    assert device["facts"]["verilator"]
    assert "b64" in device["facts"]["built"].split(", ")


def test_the_simulated_accelerator_answers_as_the_reference_does(call, pictures, rtl):
    found = [json.loads(call("infer", pictures, "--json", *d).stdout) for d in (rtl, REFERENCE)]
    first, second = ([r["predictions"] for r in f["results"]] for f in found)
    assert first == second
    assert (found[0]["device"], found[0]["overlay"]) == ("rtl", "b64")
    cycles = [r["cycles"] for r in found[0]["results"]]
    assert min(cycles) > 1000
    first, *_ = call("infer", pictures / "a.png", *rtl).stdout.splitlines()
    ms = rf"{cycles[0] / 300e3:.2f} ms at 300 MHz; simulated in \d+\.\d s"
    assert re.fullmatch(rf".*a\.png  \({cycles[0]} cycles, {ms}\)", first)


def test_a_deadline_in_cycles_is_one_line_and_exit_code_1(call, pictures, rtl):
    result = call("infer", pictures / "a.png", "--max-cycles", 3000, *rtl, code=1)
    (line,) = result.stderr.splitlines()
    assert "the run did not end within 3000 cycles" in line
    assert "predicted" in line


def test_waves_that_cannot_be_written_are_one_line_and_exit_code_1(call, pictures, rtl, tmp_path):
    path = tmp_path / "none" / "out.vcd"
    result = call("infer", pictures / "a.png", "--vcd", path, *rtl, code=1)
    assert "out.vcd: No such file or directory" in result.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("out", "shown"),
    [(Output(), True), (Output(json=True), False), (Output(quiet=True), False)],
)
def test_bars_are_for_people_at_a_terminal(monkeypatch, out, shown):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    out.step("building")
    with out.bar(3, "images") as step, out.cycles() as progress:
        step()
        if progress:
            progress(Progress(2000, 5000, 100.0, running=True))
            progress(Progress(5000, 5000, 100.0, running=False))
    text = terminal.getvalue()
    assert bool(text) == shown
    for words in ("building", "images", "2.00k/5.00k", "cycles/s"):
        assert (words in text) == shown


def test_bars_are_not_for_files(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Output().bar(3, "images") as step, Output().cycles() as progress:
        step()
    assert progress is None
    assert sys.stderr.getvalue() == ""
