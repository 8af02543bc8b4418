"""SIGKILL at random moments of every command that writes: nothing half written is taken for whole,
no lock stays, and the next run is right and resumes.

    python -m tools.campaigns.kills --only train --only rtl

Each scenario is a command, run again and again on what the killed run before it left. Half of the
kills come at any moment of the run, half after it has begun to write. Of every four runs one goes
to its end and is compared with a run that nobody disturbed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import numpy as np
from tqdm import tqdm

from quasar_runtime.errors import DataError
from tools.campaigns.campaign import Bounds, Campaign, Finding, campaign_options
from tools.campaigns.isolated import Wrong
from tools.campaigns.kill_scenarios import SCENARIOS, Scenario

UNDISTURBED = 0.25
"""Share of the runs that go to their end."""
LONGEST = 600.0
"""Seconds of processor time, or without any, after which a run hangs: other work on the machine
must not make it look so."""


@dataclass
class Child:
    """A run: a process of its own session, with its output in files."""

    pid: int
    poll: Callable[[], int | None]

    @classmethod
    def start(cls, scenario: Scenario) -> Child:
        """A process from the command line, or a fork that calls the scenario's function: importing
        PyTorch anew each time would take longer than the run."""
        logs = scenario.logs
        with (logs / "stdout").open("wb") as out, (logs / "stderr").open("wb") as err:
            if scenario.call is None:
                process = subprocess.Popen(
                    [sys.executable, *scenario.arguments()],
                    env={**os.environ, **scenario.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
                return cls(process.pid, process.poll)
            return cls._forked(scenario, out, err)

    @classmethod
    def _forked(cls, scenario: Scenario, out: IO[bytes], err: IO[bytes]) -> Child:
        assert scenario.call is not None
        scenario.load()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.setsid()
                os.environ.update(scenario.environment)
                for source, target in ((out, 1), (err, 2)):
                    os.dup2(source.fileno(), target)
                code = scenario.call(scenario.arguments())
            finally:
                with suppress(Exception):
                    sys.stdout.flush()
                os._exit(code)
        ended: list[int] = []

        def poll() -> int | None:
            if not ended:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    ended.append(os.waitstatus_to_exitcode(status))
            return ended[0] if ended else None

        return cls(pid, poll)

    def wait(self, seconds: float) -> int | None:
        """The exit code, None when it has not ended within so many seconds."""
        end = time.monotonic() + seconds
        while (code := self.poll()) is None and time.monotonic() < end:
            time.sleep(0.002)
        return code

    def kill(self, children_too: bool) -> list[int]:
        """SIGKILL, also to its descendants or not; those that live on."""
        found = list(descendants(self.pid))
        for pid in (self.pid, *(found if children_too else ())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait(60)
        return [] if children_too else found


def descendants(pid: int) -> Iterator[int]:
    """The children of a process, their children, and so on."""
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def processor_seconds(pid: int) -> float:
    """Of a process and its descendants, also of those that have ended."""
    ticks = 0
    for one in (pid, *descendants(pid)):
        with suppress(OSError):
            # After the name in parentheses: state, and 11 fields on, four times.
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def fingerprint(folder: Path) -> tuple[tuple[str, int], ...]:
    """The files in a folder with their times: whether something has been written."""
    found = []
    for here, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                found.append((f"{here}/{name}", os.stat(f"{here}/{name}").st_mtime_ns))
    return tuple(sorted(found))


@dataclass
class Times:
    """Seconds that an undisturbed run takes: until it writes, and from then to its end."""

    before: float = 0.0
    after: float = 0.0

    def shortened_to(self, seconds: float) -> Times:
        """As of a run that took less: runs differ with what lies there and with other work on the
        machine, and one that ends before its kill is for nothing."""
        share = min(1.0, seconds / max(self.before + self.after, 1e-9))
        return Times(share * self.before, share * self.after)


class Killing:
    """A scenario that is being disturbed."""

    def __init__(self, campaign: Campaign, scenario: Scenario) -> None:
        self.campaign, self.scenario = campaign, scenario
        kills = campaign.state.facts.get(f"{scenario.name}_kills", 0)
        self.rng = np.random.default_rng([campaign.state.seed, *scenario.name.encode(), kills])
        self.times = Times()
        self.fresh = True
        self.orphans: list[int] = []

    def set_up(self) -> None:
        """The scenario's inputs, and an undisturbed run to compare with."""
        self.scenario.prepare()
        self.scenario.begin()
        self.times = self._whole()
        self.scenario.remember()

    def _whole(self) -> Times:
        """A run to its end: its times. Wrong when it fails."""
        begin = time.monotonic()
        watched, before = self.scenario.writes, fingerprint(self.scenario.writes)
        child, wrote = Child.start(self.scenario), 0.0
        look, spent = LONGEST, 0.0
        while child.wait(0.01) is None:
            now = time.monotonic() - begin
            if not wrote and fingerprint(watched) != before:
                wrote = now
            if now > look:
                before_this, spent, look = spent, processor_seconds(child.pid), now + LONGEST
                if spent > LONGEST or spent == before_this:
                    child.kill(children_too=True)
                    raise Wrong(
                        "hang", f"no end after {now:.0f} s, {spent:.0f} s of processor time"
                    )
        took = time.monotonic() - begin
        if child.poll() != 0:
            text = (self.scenario.logs / "stderr").read_text(errors="replace")
            raise Wrong("next run", f"exit code {child.poll()}: {' '.join(text.split())[-600:]}")
        return Times(wrote, took - wrote) if wrote else Times(took, 0.0)

    def run(self) -> str:
        """One run, killed or not: 'killed', 'whole', or 'early' when it ended before its kill."""
        if self.rng.random() < UNDISTURBED and not self.fresh:
            self.times = self._whole()
            return self._checked_whole("whole")
        begin = time.monotonic()
        child = Child.start(self.scenario)
        self._wait_for_the_moment(child)
        if child.poll() is not None:
            if child.poll() != 0:
                text = (self.scenario.logs / "stderr").read_text(errors="replace")
                raise Wrong(
                    "next run", f"exit code {child.poll()}: {' '.join(text.split())[-600:]}"
                )
            self.times = self.times.shortened_to(time.monotonic() - begin)
            return self._checked_whole("early")
        self.orphans += child.kill(children_too=bool(self.rng.integers(2)))
        self.scenario.check_killed()
        self.fresh = False
        return "killed"

    def _wait_for_the_moment(self, child: Child) -> None:
        whole = self.times.before + self.times.after
        if not self.times.after or self.rng.random() < 0.5:
            child.wait(self.rng.uniform(0, whole))
            return
        before = fingerprint(self.scenario.writes)
        while child.wait(0.002) is None and fingerprint(self.scenario.writes) == before:
            pass
        child.wait(self.rng.uniform(0, self.times.after))

    def _checked_whole(self, outcome: str) -> str:
        self.scenario.check_done()
        self.scenario.begin()
        self.fresh = True
        return outcome

    def end(self) -> None:
        """Compilers and the like that outlived their parents."""
        for pid in self.orphans:
            with suppress(ProcessLookupError):
                if os.getsid(pid) != os.getsid(0):
                    os.kill(pid, signal.SIGKILL)


def disturb(campaign: Campaign, killing: Killing) -> None:
    """One run of a scenario, counted; a finding keeps the whole folder, and begins anew."""
    scenario, facts = killing.scenario, campaign.state.facts
    try:
        outcome = killing.run()
    except Wrong as e:
        message = f"{scenario.name}: {e}"
        where = f"kill {facts.get(f'{scenario.name}_kills', 0)} of {scenario.name}"
        signature = f"{scenario.name} {e.kind}"
        campaign.find(Finding(e.kind, where, message, signature), scenario.folder)
        scenario.begin()
        killing.fresh = True
        outcome = "wrong"
    key = f"{scenario.name}_{'kills' if outcome == 'killed' else 'whole'}"
    if outcome != "wrong":
        facts[key] = facts.get(key, 0) + 1
    campaign.add(int(outcome == "killed"), Counter({outcome: 1}))


@click.command()
@campaign_options(100, "kills of each scenario")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(SCENARIOS)),
    help="A scenario; may be given several times.  [default: all]",
)
def main(bounds: Bounds, only: tuple[str, ...]) -> int:
    """Kill commands at random moments and look at what they leave and how the next run goes on."""
    tqdm.monitor_interval = 0  # no thread beside the forks
    names = only or tuple(SCENARIOS)
    each = bounds.count
    campaign = Campaign("kills", "kills", Bounds(
        each * len(SCENARIOS), bounds.minutes, bounds.seed, bounds.folder, bounds.restart
    ))  # fmt: skip
    work = campaign.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    facts = campaign.state.facts
    killings: dict[str, Killing] = {}

    def left(name: str) -> bool:
        return facts.get(f"{name}_kills", 0) < each

    try:
        while not campaign.ended and any(map(left, names)):
            for name in filter(left, names):
                if name not in killings:
                    killings[name] = Killing(campaign, SCENARIOS[name](work / name))
                    try:
                        killings[name].set_up()
                    except Wrong as e:
                        raise DataError(f"{name} fails undisturbed: {e}") from None
                disturb(campaign, killings[name])
                if campaign.ended:
                    break
    finally:
        for killing in killings.values():
            killing.end()
    code = campaign.finish()
    shutil.rmtree(work, ignore_errors=True)
    return code


if __name__ == "__main__":
    main()
