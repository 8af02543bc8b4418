"""Pictures streamed for long, and sessions opened and closed, at flat memory.

    python -m tools.campaigns.stream --minutes 10

13,824,000 pictures are what a board takes in 24 hours at 160 pictures per second. They are arrays
that need no decoding, but for some 220,000 in JPEG files; every picture is answered by
a small model on the native device, and must get the answer that it got the first time. A call
resumes, but each has a process of its own, whose memory is judged alone.
"""

from __future__ import annotations

import gc
import io
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import click
import numpy as np
from PIL import Image

from quasar_runtime import Session
from quasar_runtime.errors import OverlayError
from quasar_runtime.images.prepare import ImageSource
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model
from tools.campaigns.campaign import Bounds, Campaign, Finding, campaign_options

PART = 20_000
"""Pictures between two looks at memory."""
JPEG_EVERY, DECODED = 10, 3000
"""One part of so many is of JPEG files, and how many it has."""
SESSIONS = 1000
WARM = 3
"""Parts before memory is judged: pools fill, the allocator settles."""
SLOPE = 16.0
"""Bytes of memory per picture that a stream may take on average: noise of the allocator. A leak of
a result or a picture takes some hundreds or thousands."""
GROWTH = 8 << 20
"""Bytes by which a few parts may differ without a trend."""


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles() -> tuple[int, int]:
    """Open files and threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def pictures(rng: np.random.Generator, side: int) -> tuple[list[ImageSource], list[ImageSource]]:
    """Arrays of the model's size, and JPEG files of a few sizes."""
    arrays: list[ImageSource] = [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(64)]
    files: list[ImageSource] = []
    for i in range(32):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        file = io.BytesIO()
        size = 8 + 8 * (i % 4)
        Image.fromarray(coarse.repeat(size, 0).repeat(size, 1)).save(file, "JPEG")
        files.append(file.getvalue())
    return arrays, files


class Stream:
    """One long stream through a session; `part` takes the next pictures out of it."""

    def __init__(self, session: Session, sources: list[ImageSource]) -> None:
        self._wanted = [session.classify(s).top1 for s in sources]
        self._results = session.stream(cycle(sources))
        self._count = len(sources)
        self._at = 0

    def part(self, count: int) -> Iterator[str]:
        """Take `count` answers; yields what is wrong with one."""
        for result in islice(self._results, count):
            wanted = self._wanted[self._at]
            self._at = (self._at + 1) % self._count
            if result.error is not None or result.top1 != wanted:
                yield f"{result.source}: {result.error or result.top1}, at first {wanted}"


def slope(samples: list[tuple[int, int]]) -> float:
    """Bytes per picture: least squares of resident bytes over pictures."""
    if len(samples) < 3:
        return 0.0
    x, y = np.array(samples, float).T
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


def leak(samples: list[tuple[int, int]]) -> str | None:
    """What is wrong with the memory of (pictures, resident bytes), or None."""
    rate, low, high = slope(samples), min(b for _, b in samples), max(b for _, b in samples)
    if high - low > GROWTH and rate > SLOPE:
        return f"{rate:.1f} bytes per picture, from {low >> 20} to {high >> 20} MB"
    return None


def stream(campaign: Campaign, model: Model) -> None:
    """Stream what is left, and look at memory after each part."""
    rng = np.random.default_rng(campaign.state.seed)
    facts = campaign.state.facts
    samples: list[tuple[int, int]] = []
    done = number = 0
    with Session(model, "native", threads=1) as session:
        arrays, files = (Stream(session, s) for s in pictures(rng, session.program.image_size))
        while not campaign.ended:
            number += 1
            decoded = number % JPEG_EVERY == 0
            count = min(DECODED if decoded else PART, campaign.left)
            for wrong in (files if decoded else arrays).part(count):
                campaign.find(Finding("answer", f"part {number}", wrong, "answer"))
            done += count
            if number > WARM:
                samples.append((done, resident()))
            key = "decoded" if decoded else "arrays"
            facts[key] = facts.get(key, 0) + count
            facts["peak_mb"] = max(facts.get("peak_mb", 0), resident() >> 20)
            campaign.add(count)
            del samples[1000::2]  # a long run keeps a thinner record
    if samples:
        facts["bytes_per_picture"] = round(slope(samples), 3)
        if found := leak(samples):
            campaign.find(Finding("memory", f"{done} pictures", found, "stream memory"))


def sessions(campaign: Campaign, model: Model, count: int) -> None:
    """Open, use and close sessions, some of which fail to open; memory, files and threads stay."""
    facts = campaign.state.facts
    rng = np.random.default_rng(campaign.state.seed)
    arrays, files = pictures(rng, model.preprocessing.crop)
    samples: list[tuple[int, int]] = []
    begin: tuple[int, int] | None = None
    for number in range(1, count + 1):
        with Session(model, "native", threads=1 + number % 2) as session:
            list(session.stream([*files[:4], *arrays[:4]]))
        if number % 10 == 0:
            with suppress(OverlayError):
                Session(model, "native", overlay="no such overlay")
        if number == min(100, count // 4):
            begin = handles()
        if number % 10 == 0 and begin is not None:
            gc.collect()
            samples.append((number, resident()))
    facts["sessions"] = facts.get("sessions", 0) + count
    if begin is not None and handles() > begin:
        message = f"{handles()} open files and threads, at first {begin}"
        campaign.find(Finding("handles", f"{count} sessions", message, "handles"))
    if samples and (samples[-1][1] - samples[0][1] > GROWTH):
        message = f"{samples[0][1] >> 20} MB after 100 sessions, {samples[-1][1] >> 20} MB at last"
        campaign.find(Finding("memory", f"{count} sessions", message, "sessions' memory"))


@click.command()
@campaign_options(13_824_000, "pictures")
@click.option(
    "--sessions", "opened", default=SESSIONS, show_default=True, help="Opened and closed."
)
def main(bounds: Bounds, opened: int) -> int:
    """Stream pictures and open sessions; memory must stay flat."""
    campaign = Campaign("stream", "pictures", bounds)
    model = random_model(campaign.state.seed)
    if campaign.state.facts.get("sessions", 0) < opened:
        sessions(campaign, model, opened)
    stream(campaign, model)
    return campaign.finish()


if __name__ == "__main__":
    main()
