"""The simulated accelerator from the command line, and the bars of those who watch."""

import io
import json
import re
import sys

import pytest

from quasar_runtime.cli.output import Output
from quasar_runtime.devices.rtl.watch import Progress

REFERENCE = ["--device", "reference", "--overlay", "b64"]


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
    assert re.fullmatch(rf".*a\.png  \({cycles[0]:,} cycles, {ms}\)", first)


def test_a_deadline_in_cycles_is_one_line_and_exit_code_1(call, pictures, rtl):
    result = call("infer", pictures / "a.png", "--max-cycles", 3000, *rtl, code=1)
    (line,) = result.stderr.splitlines()
    assert "the run did not end within 3000 cycles" in line
    assert "predicted" in line


def test_waves_that_cannot_be_written_are_one_line_and_exit_code_1(call, pictures, rtl, tmp_path):
    path = tmp_path / "none" / "out.vcd"
    result = call("infer", pictures / "a.png", "--vcd", path, *rtl, code=1)
    assert "out.vcd: cannot be written: " in result.stderr
    assert "no such folder" in result.stderr


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
