"""What every fault campaign shares: its goal and bounds, a state that survives a kill, the findings
with the inputs that caused them, and the result.

A campaign's folder, by default runs/campaigns/NAME:

    state.json    how far it is: written anew after every part, whole or not at all
    result.json   the same facts for others to read, written when the command ends
    findings/     the input behind each finding, and how to run it again

The command prints one line of `key=value` and exits with 1 when anything was found, in this call or
an earlier one that it resumes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
from tqdm import tqdm

from quasar_runtime.errors import DataError, QuasarError
from quasar_runtime.files import read_text, replacing
from tools.campaigns import ROOT

FORMAT = "quasar-campaign-1"
RUNS = ROOT / "runs" / "campaigns"
KEPT = 3
"""Inputs kept of findings that look alike."""
MOST, MOST_ALIKE = 20, 200
"""Different findings, and findings in all, after which a campaign ends."""


@dataclass(frozen=True)
class Finding:
    """Something that must not happen.

    kind       crash, hang, exception, memory, or what the campaign names
    where      the case: enough to make it again with the seed
    message    what was seen; findings with an equal `signature` look alike
    data       the input
    """

    kind: str
    where: str
    message: str
    signature: str
    data: bytes = b""


@dataclass
class State:
    """How far a campaign is. `commits` says which code ran how many; `facts` holds what the
    campaign measured beside counts."""

    campaign: str
    seed: int
    done: int = 0
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    commits: dict[str, int] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    format: str = FORMAT


@dataclass(frozen=True)
class Bounds:
    """What a call is asked for: cases in all, and minutes of this call (None: no limit)."""

    count: int
    minutes: float | None = None
    seed: int = 1
    folder: Path | None = None
    restart: bool = False


class Campaign:
    """A campaign in its folder, begun or resumed.

    DataError when the folder holds the state of another campaign or another seed.
    """

    def __init__(self, name: str, unit: str, bounds: Bounds) -> None:
        self.name, self.unit, self.bounds = name, unit, bounds
        self.folder = bounds.folder or RUNS / name
        self._path = self.folder / "state.json"
        if bounds.restart:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self._read()
        self._commit = commit()
        self._begin = time.monotonic()
        self._before = self.state.seconds
        self._bar = tqdm(
            total=bounds.count, initial=self.state.done, unit=f" {unit}", desc=name, disable=None
        )

    def _read(self) -> State:
        if not self._path.exists():
            return State(self.name, self.bounds.seed)
        try:
            state = State(**json.loads(read_text(self._path)))
        except (ValueError, TypeError):
            raise DataError(f"{self._path}: no campaign's state; begin anew: --restart") from None
        wanted = (FORMAT, self.name, self.bounds.seed)
        if (state.format, state.campaign, state.seed) != wanted:
            raise DataError(
                f"{self._path}: of {state.campaign} with the seed {state.seed}; go on with that "
                "seed, give another --folder, or begin anew: --restart"
            )
        return state

    @property
    def left(self) -> int:
        """Cases that are still to be run."""
        return max(self.bounds.count - self.state.done, 0)

    @property
    def out_of_time(self) -> bool:
        """Whether this call has used up its minutes."""
        minutes = self.bounds.minutes
        return minutes is not None and time.monotonic() - self._begin > 60 * minutes

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do in this call."""
        found = [f["signature"] for f in self.state.findings]
        too_many = len(set(found)) >= MOST or len(found) >= MOST_ALIKE
        return not self.left or self.out_of_time or too_many

    def add(self, cases: int, counts: Counter[str] | None = None) -> None:
        """A part is done: `cases` cases, with these counts of outcomes. Saved at once."""
        state = self.state
        state.done += cases
        for key, value in (counts or {}).items():
            state.counts[key] = state.counts.get(key, 0) + value
        state.commits[self._commit] = state.commits.get(self._commit, 0) + cases
        state.seconds = round(self._before + time.monotonic() - self._begin, 1)
        self._bar.update(cases)
        self._write(self._path)

    def find(self, finding: Finding, folder: Path | None = None) -> None:
        """Keep a finding, with its input or a copy of a whole folder."""
        state = self.state
        alike = sum(f["signature"] == finding.signature for f in state.findings)
        entry = {k: v for k, v in asdict(finding).items() if k != "data"}
        if alike < KEPT:
            kept = self.folder / "findings" / f"{len(state.findings):04d}-{finding.kind}"
            kept.parent.mkdir(exist_ok=True)
            if folder is not None:
                shutil.copytree(folder, kept, symlinks=True, dirs_exist_ok=True)
            else:
                kept.write_bytes(finding.data)
            entry["input"] = str(kept)
            tqdm.write(f"{self.name}: {finding.kind}: {finding.message}\n  {kept}", sys.stderr)
        state.findings.append(entry)  # written with the part that it is of

    def finish(self) -> int:
        """Write the result and print its line; the exit code."""
        self._bar.close()
        self.state.seconds = round(self._before + time.monotonic() - self._begin, 1)
        self._write(self._path)
        self._write(self.folder / "result.json")
        print(self.line())
        return 1 if self.state.findings else 0

    def line(self) -> str:
        """The result in a stable form: key=value, separated by spaces."""
        state = self.state
        facts: dict[str, Any] = {
            "campaign": self.name,
            "done": state.done,
            "goal": self.bounds.count,
            "unit": self.unit,
            "findings": len(state.findings),
            "seed": state.seed,
            "seconds": round(state.seconds),
            **dict(sorted(state.counts.items())),
            **state.facts,
        }
        return " ".join(f"{key}={value}" for key, value in facts.items())

    def _write(self, path: Path) -> None:
        facts = {**asdict(self.state), "goal": self.bounds.count, "unit": self.unit}
        if path == self._path:
            facts = asdict(self.state)
        with replacing(path) as file:
            file.write((json.dumps(facts, indent=1) + "\n").encode())


def commit() -> str:
    """The checkout's commit, with a + when files differ from it; 'unknown' outside git."""
    try:
        name = _git("rev-parse", "--short", "HEAD").strip()
        return name + "+" * bool(_git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


Command = TypeVar("Command", bound=Callable[..., Any])


def campaign_options(count: int, unit: str) -> Callable[[Command], Command]:
    """The options of every campaign; the command gets them as one `bounds`."""

    def decorate(command: Command) -> Command:
        import functools

        @functools.wraps(command)
        def run(
            count: int,
            minutes: float | None,
            seed: int,
            folder: Path | None,
            restart: bool,
            **others: Any,
        ) -> None:
            try:
                code = command(Bounds(count, minutes, seed, folder, restart), **others)
            except QuasarError as e:
                click.echo(f"error: {e}", err=True)
                code = 1
            sys.exit(code)

        options = (
            click.option(
                "--count",
                type=click.IntRange(min=1),
                default=count,
                show_default=True,
                help=f"{unit.capitalize()} in all, those of earlier calls included.",
            ),
            click.option(
                "--minutes",
                type=click.FloatRange(min=0, min_open=True),
                help="End this call after so long; the next one resumes.",
            ),
            click.option("--seed", default=1, show_default=True, help="Of all random choices."),
            click.option(
                "--folder", type=click.Path(path_type=Path), help="State, result and findings."
            ),
            click.option("--restart", is_flag=True, help="Forget what was done and found."),
        )
        for option in reversed(options):
            run = option(run)
        return run  # type: ignore[return-value]

    return decorate
