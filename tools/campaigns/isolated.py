"""Mutated inputs, judged in a process of their own, so that a crash, a hang or a greedy decoder
is a finding and not the campaign's end.

Cases come in blocks; a block follows from the campaign's seed and its number alone, so that a
campaign resumes after the last whole block. Before a case is judged, its input is laid into memory
shared with the parent, which keeps it when the process dies or stops answering.
"""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import re
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from tools.campaigns.campaign import Campaign, Finding

MOST_BYTES = 2**24
"""Of an input."""
BUSY, IDLE = 1, 0
PR_SET_PDEATHSIG = 1
Make = Callable[[Any], bytes]
Judge = Callable[[bytes], str]


class Wrong(Exception):
    """What a judge raises for an answer that breaks a promise. `kind` names the promise."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[1])


def numpy_generator(seed: int, block: int) -> np.random.Generator:
    """A block's random numbers."""
    return np.random.default_rng([seed, block])


@dataclass(frozen=True)
class Trial:
    """What is tried.

    make       a case's input, from a random generator
    judge      runs an input; returns its outcome in a word ('accepted', 'refused'), raises Wrong
    set_up     called once in each process before its first case
    block      cases in a block
    seconds    that a case may take before it hangs
    memory     bytes that a process may take beside what it has at its begin
    generator  a block's random generator, from the campaign's seed and the block's number
    """

    make: Make
    judge: Judge
    set_up: Callable[[], object] = lambda: None
    block: int = 1000
    seconds: float = 60.0
    memory: int = 2**30
    generator: Callable[[int, int], Any] = numpy_generator


class _Slot(ctypes.Structure):
    """The case under way, in shared memory."""

    _fields_ = (
        ("state", ctypes.c_uint64),
        ("case", ctypes.c_uint64),
        ("begin", ctypes.c_double),
        ("size", ctypes.c_uint64),
        ("data", ctypes.c_char * MOST_BYTES),
    )


@dataclass
class _Block:
    """What a process is at: the block's number, and cases to leave out because they ended a
    process."""

    number: int
    left_out: list[int] = field(default_factory=list)


@dataclass
class _Answer:
    counts: Counter[str]
    findings: list[Finding]
    slowest: float
    peak: int


class _Worker:
    """A forked process that judges blocks."""

    def __init__(self, trial: Trial, seed: int) -> None:
        self.trial, self.seed = trial, seed
        self.work: _Block | None = None
        self._memory = mmap.mmap(-1, ctypes.sizeof(_Slot))
        self.slot = _Slot.from_buffer(self._memory)
        self.pipe: Connection
        self._start()

    def _start(self) -> None:
        fork = multiprocessing.get_context("fork")
        self.pipe, other = fork.Pipe()
        arguments = (self.trial, self.seed, self.slot, other)
        self.process = fork.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        other.close()

    def give(self, work: _Block) -> None:
        self.work = work
        self.pipe.send(work)

    def hangs(self) -> bool:
        busy = self.slot.state == BUSY
        return busy and time.monotonic() - self.slot.begin > self.trial.seconds

    def lost(self, hung: bool) -> Finding:
        """The process ended or is ended: why, with the case; another one takes its place."""
        if hung:
            self.process.kill()
        self.process.join()
        assert self.work is not None
        case, code = int(self.slot.case), self.process.exitcode
        data = ctypes.string_at(ctypes.addressof(self.slot) + _Slot.data.offset, self.slot.size)
        name = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        kind = "hang" if hung else "crash"
        message = f"no answer in {self.trial.seconds:g} s" if hung else f"ended by {name}"
        self.work.left_out.append(case)
        self.slot.state = IDLE
        self.pipe.close()
        self._start()
        return Finding(kind, f"block {self.work.number} case {case}", message, message, data)

    def stop(self) -> None:
        with suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def run_trial(campaign: Campaign, trial: Trial, jobs: int = 1) -> int:
    """Run what is left of a campaign in `jobs` processes; the exit code.

    A goal that is no multiple of the block is reached with the whole block.
    """
    seed = campaign.state.seed
    state = campaign.state
    following = state.done // trial.block
    workers = [_Worker(trial, seed) for _ in range(jobs)]
    waiting: dict[int, _Answer] = {}  # blocks that ended before an earlier one
    next_done = following
    try:
        while not campaign.ended:
            for worker in workers:
                unfinished = (following - next_done) * trial.block < campaign.left
                if worker.work is None and unfinished:
                    worker.give(_Block(following))
                    following += 1
            busy = {w.pipe: w for w in workers if w.work is not None}
            for pipe in wait(list(busy), timeout=0.5):
                worker = busy[pipe]  # type: ignore[index]
                assert worker.work is not None
                try:
                    waiting[worker.work.number] = worker.pipe.recv()
                    worker.work = None
                except (EOFError, OSError):
                    _again(campaign, worker, hung=False)
            for worker in workers:
                if worker.work is not None and worker.hangs():
                    _again(campaign, worker, hung=True)
            while next_done in waiting:
                _take(campaign, trial, waiting.pop(next_done))
                next_done += 1
    finally:
        for worker in workers:
            if worker.work is not None and not worker.process.exitcode:
                worker.process.kill()  # in the middle of a block: the next call does it whole
            worker.stop()
    return campaign.finish()


def _again(campaign: Campaign, worker: _Worker, hung: bool) -> None:
    """Keep what ended a process, and have the block done without it."""
    campaign.find(worker.lost(hung))
    assert worker.work is not None
    worker.give(worker.work)


def _take(campaign: Campaign, trial: Trial, answer: _Answer) -> None:
    for finding in answer.findings:
        campaign.find(finding)
    facts = campaign.state.facts
    facts["slowest_ms"] = max(facts.get("slowest_ms", 0), round(1e3 * answer.slowest))
    facts["peak_mb"] = max(facts.get("peak_mb", 0), answer.peak >> 20)
    campaign.add(trial.block, answer.counts)


def _serve(trial: Trial, seed: int, slot: Any, pipe: Connection) -> None:
    """A worker's life: blocks in, answers out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    base = _resident()
    limit = _virtual() + trial.memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    trial.set_up()
    while (work := pipe.recv()) is not None:
        pipe.send(_judge_block(trial, trial.generator(seed, work.number), work, slot, base))


def _judge_block(trial: Trial, rng: Any, work: _Block, slot: Any, base: int) -> _Answer:
    answer = _Answer(Counter(), [], 0.0, 0)
    at = ctypes.addressof(slot) + _Slot.data.offset
    for case in range(trial.block):
        data = trial.make(rng)
        if case in work.left_out:
            continue
        ctypes.memmove(at, data, min(len(data), MOST_BYTES))
        slot.case, slot.size, slot.begin = case, min(len(data), MOST_BYTES), time.monotonic()
        slot.state = BUSY
        begin = time.process_time()
        found: tuple[str, str, str] | None = None
        try:
            answer.counts[trial.judge(data)] += 1
        except Wrong as e:
            found = e.kind, str(e), re.sub(r"[0-9]+|['\"].*", "", f"{e.kind}: {e}")[:60]
        except Exception as e:
            found = "exception", _told(e), _signature(e)
        took = time.process_time() - begin
        answer.slowest = max(answer.slowest, took)
        slot.state = IDLE
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - base
        if peak > max(answer.peak, trial.memory):
            found = "memory", f"{peak >> 20} MB taken, allowed {trial.memory >> 20}", "memory"
        answer.peak = max(answer.peak, peak)
        if found is not None:
            kind, message, signature = found
            where = f"block {work.number} case {case}"
            answer.findings.append(Finding(kind, where, message, signature, data))
            answer.counts["wrong"] += 1
    return answer


def _told(e: Exception) -> str:
    return " ".join("".join(traceback.format_exception(e))[-1500:].split())


def _signature(e: Exception) -> str:
    frames = traceback.extract_tb(e.__traceback__)
    last = frames[-1] if frames else None
    return f"{type(e).__name__} at {last.filename}:{last.lineno}" if last else type(e).__name__


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _virtual() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE
