"""The fault campaigns of tools/campaigns: a small share of each, and that they find what they are
for, keep it, and resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from quasar_runtime.errors import DataError
from tools.campaigns import (
    ROOT,
    coverage_guided,
    engine,
    kills,
    labels,
    models,
    pictures,
    stream,
)
from tools.campaigns.campaign import MOST_ALIKE, Bounds, Campaign, Finding
from tools.campaigns.isolated import Trial, Wrong, run_trial
from tools.campaigns.kill_scenarios import Scenario

COMMANDS = {
    "models": models.main,
    "pictures": pictures.main,
    "labels": labels.main,
    "stream": stream.main,
    "kills": kills.main,
    "coverage_guided": coverage_guided.main,
    "engine": engine.main,
}


def call(command: click.Command, *arguments: object, code: int = 0) -> dict[str, str]:
    """Run a campaign; what its line of result says."""
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    line = next(x for x in result.output.splitlines() if x.startswith("campaign="))
    return dict(fact.split("=", 1) for fact in line.split())


def campaign(folder: Path, count: int = 10, **options: Any) -> Campaign:
    return Campaign("trial", "cases", Bounds(count, folder=folder, **options))


def numbers(rng: np.random.Generator) -> bytes:
    return int(rng.integers(10)).to_bytes(4, "little")


def judge_with(action: Any, bad: int = 3) -> Any:
    """A judge that does something when it sees the number `bad`."""

    def judge(raw: bytes) -> str:
        if int.from_bytes(raw, "little") == bad:
            action()
        return "fine"

    return judge


# --- a small share of each


@pytest.mark.parametrize("name", ["models", "pictures", "labels"])
def test_mutated_inputs_are_refused_or_right(name: str, tmp_path: Path) -> None:
    facts = call(COMMANDS[name], "--count", 500, "--seed", 2, "--folder", tmp_path)
    assert facts["findings"] == "0"
    done = int(facts["done"])
    assert done >= 500
    assert int(facts["accepted"]) + int(facts["refused"]) == done
    assert int(facts["accepted"]) > done // 20
    assert int(facts["refused"]) > done // 20
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["done"], result["findings"], result["seed"]) == (done, [], 2)
    assert sum(result["commits"].values()) == done


def test_pictures_stream_and_sessions_open_at_flat_memory(tmp_path: Path) -> None:
    facts = call(stream.main, "--count", 3000, "--sessions", 12, "--folder", tmp_path)
    assert facts["findings"] == "0"
    assert (facts["done"], facts["sessions"]) == ("3000", "12")


@pytest.mark.parametrize("scenario", ["infer", "install"])
def test_a_killed_command_is_right_the_next_time(scenario: str, tmp_path: Path) -> None:
    facts = call(kills.main, "--count", 2, "--only", scenario, "--folder", tmp_path)
    assert facts["findings"] == "0"
    assert facts[f"{scenario}_kills"] == "2"


def test_the_fuzzer_says_what_it_needs(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        coverage_guided.main, ["--python", "/no/such/python", "--folder", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "cannot import atheris; install it" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_campaign_says_what_it_does_and_is_documented(name: str) -> None:
    result = CliRunner().invoke(COMMANDS[name], ["--help"])
    assert result.exit_code == 0
    for option in ("--count", "--minutes", "--seed", "--folder", "--restart"):
        assert option in result.output
    page = (ROOT / "docs" / "robustness.md").read_text()
    assert f"python -m tools.campaigns.{name}" in page


# --- they find what they are for


def end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_case_that_ends_the_process_is_found_and_the_others_are_judged(tmp_path: Path) -> None:
    trial = Trial(numbers, judge_with(end_process), block=10)
    begun = campaign(tmp_path)
    assert run_trial(begun, trial) == 1
    wanted = np.random.default_rng([1, 0])
    bad = sum(numbers(wanted) == b"\3\0\0\0" for _ in range(10))
    assert bad
    assert [f["message"] for f in begun.state.findings] == ["ended by SIGKILL"] * bad
    assert begun.state.counts == {"fine": 10 - bad}
    kept = Path(begun.state.findings[0]["input"])
    assert kept.read_bytes() == b"\3\0\0\0"


def hang() -> None:
    signal.pause()


def break_a_promise() -> None:
    raise Wrong("promise", "it was broken")


def untyped() -> None:
    raise ZeroDivisionError("one by none")


@pytest.mark.parametrize(
    ("action", "kind", "message"),
    [
        (hang, "hang", "no answer in 0.3 s"),
        (untyped, "exception", "ZeroDivisionError: one by none"),
        (break_a_promise, "promise", "it was broken"),
        (lambda: bytearray(2**27), "memory", "MB taken, allowed 64"),
    ],
)
def test_what_must_not_happen_is_found(
    tmp_path: Path, action: Any, kind: str, message: str
) -> None:
    memory = 2**26 if kind == "memory" else 2**30

    def judge(raw: bytes) -> str:
        try:
            return judge_with(action)(raw)
        except MemoryError:
            raise Wrong("memory", "128 MB taken, allowed 64") from None

    trial = Trial(numbers, judge, block=10, seconds=0.3, memory=memory)
    begun = campaign(tmp_path)
    assert run_trial(begun, trial) == 1
    assert {f["kind"] for f in begun.state.findings} == {kind}
    assert message in begun.state.findings[0]["message"]
    assert Path(begun.state.findings[0]["input"]).read_bytes() == b"\3\0\0\0"


def test_memory_that_a_stream_does_not_give_back_is_found() -> None:
    flat = [(20_000 * i, 60 << 20) for i in range(50)]
    noisy = [(x, y + (1 << 20) * (i % 7)) for i, (x, y) in enumerate(flat)]
    rising = [(x, y + 100 * x) for x, y in flat]
    assert stream.leak(flat) is None
    assert stream.leak(noisy) is None
    assert "100.0 bytes per picture" in (stream.leak(rising) or "")


class Careless(Scenario):
    """Writes its result in place, slowly."""

    name = "careless"

    def arguments(self) -> list[str]:
        text = "import sys, time\nwith open(sys.argv[1], 'w') as f:\n for _ in range(40):\n"
        text += "  f.write('x'); f.flush(); time.sleep(0.01)"
        return ["-c", text, str(self.writes / "out")]

    def check_killed(self) -> None:
        path = self.writes / "out"
        if path.exists() and path.stat().st_size < 40:
            raise Wrong("half file", "out is not whole")

    def result(self) -> Any:
        return (self.writes / "out").read_text()

    def check_leftovers(self, *kept: str) -> None:
        super().check_leftovers("out", *kept)


def test_a_half_written_file_is_found_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kills.SCENARIOS, "careless", Careless)
    choice = next(p for p in kills.main.params if p.name == "only").type
    monkeypatch.setattr(choice, "choices", list(kills.SCENARIOS))
    facts = call(kills.main, "--count", 5, "--only", "careless", "--folder", tmp_path, code=1)
    assert int(facts["findings"]) > 0
    found = json.loads((tmp_path / "result.json").read_text())["findings"][0]
    assert found["kind"] == "half file"
    assert len((Path(found["input"]) / "writes" / "out").read_text()) < 40


class Asleep(Scenario):
    """Waits for ever, in a child."""

    name = "asleep"

    def arguments(self) -> list[str]:
        text = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'input()'])"
        return ["-c", f"import os\nr, w = os.pipe()\nos.dup2(r, 0)\n{text}"]


def test_a_run_that_hangs_is_told_from_one_that_waits_for_a_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = kills.Killing(campaign(tmp_path / "state"), Asleep(tmp_path / "asleep"))
    monkeypatch.setattr(kills, "LONGEST", 0.2)
    spent = iter([0.01, 0.02, 0.03, 0.03])
    monkeypatch.setattr(kills, "processor_seconds", lambda pid: next(spent))
    with pytest.raises(Wrong, match=r"no end after \d+ s, 0 s of processor time"):
        asleep.set_up()
    assert list(spent) == []
    busy = kills.Killing(campaign(tmp_path / "state"), Asleep(tmp_path / "busy"))
    monkeypatch.setattr(kills, "processor_seconds", lambda pid: 0.3)
    with pytest.raises(Wrong, match="no end after"):
        busy.set_up()


def test_processor_time_is_that_of_the_children_too() -> None:
    text = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'sum(range(4 * 10**6))'])"
    command = [sys.executable, "-c", f"{text}\nprint(flush=True)\ninput()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert kills.processor_seconds(process.pid) > 0.02
        process.kill()


# --- state


def test_a_campaign_goes_on_where_it_ended(tmp_path: Path) -> None:
    trial = Trial(numbers, judge_with(break_a_promise), block=5)
    whole = campaign(tmp_path / "whole", 30)
    run_trial(whole, trial)
    for count in (5, 20, 30):
        parts = campaign(tmp_path / "parts", count)
        run_trial(parts, trial, jobs=2)
    for field in ("done", "counts"):
        assert getattr(parts.state, field) == getattr(whole.state, field)
    assert [f["where"] for f in parts.state.findings] == [f["where"] for f in whole.state.findings]
    finished = campaign(tmp_path / "parts", 30)
    assert run_trial(finished, trial) == 1  # what was found stays found
    assert campaign(tmp_path / "parts", 30, restart=True).state.done == 0


def test_the_state_of_another_seed_or_of_no_campaign_is_refused(tmp_path: Path) -> None:
    campaign(tmp_path).finish()
    with pytest.raises(DataError, match=r"with the seed 1; go on with that.*--restart"):
        campaign(tmp_path, seed=2)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="no campaign's state"):
        campaign(tmp_path)


def test_minutes_end_a_call_and_equal_findings_a_campaign(tmp_path: Path) -> None:
    slow = Trial(numbers, lambda raw: time.sleep(0.01) or "fine", block=5)  # type: ignore[func-returns-value]
    begun = campaign(tmp_path / "slow", 10**6, minutes=0.005)
    assert run_trial(begun, slow) == 0
    assert 0 < begun.state.done < 1000
    always = Trial(numbers, judge_with(break_a_promise, bad=3), block=1000)
    begun = campaign(tmp_path / "wrong", 10**6)
    assert run_trial(begun, always) == 1
    assert begun.state.done < 20 * MOST_ALIKE
    assert len(list((tmp_path / "wrong" / "findings").iterdir())) == 3


def test_a_finding_keeps_a_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "half").write_text("half")
    begun = campaign(tmp_path / "campaign")
    begun.find(Finding("half file", "kill 1", "half", "half"), tmp_path / "left")
    assert (Path(begun.state.findings[0]["input"]) / "half").read_text() == "half"
    assert begun.finish() == 1
