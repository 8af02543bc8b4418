"""Pictures per second that threads and processes decode, resize and crop.

    python benchmarks/decoding.py

Session.stream decodes in threads. Pillow decodes and resizes in C without the interpreter lock, so
threads can use several cores. Printed are pictures per second by kind and number of workers, and
the share of the time spent in Pillow's C code. The picture is that of `quasar bench`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache
from time import perf_counter
from typing import Any

import click
from helptext import kept
from PIL import Image, ImageFile

from quasar_runtime.cli.verb import HELP_OPTIONS, Verb
from quasar_runtime.images.prepare import load_image
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.measure.bench import synthetic_jpeg
from quasar_runtime.model.zoo import load_model

MODEL = "q-vit-160fps"


@lru_cache
def _given() -> tuple[bytes, Preprocessing]:
    """The picture and what to do with it, made once per process."""
    return synthetic_jpeg(), load_model(MODEL).preprocessing


def decode(times: int) -> None:
    """Decode the picture a number of times."""
    picture, preprocessing = _given()
    for _ in range(times):
        load_image(picture, preprocessing)


def rate(pool: Executor, workers: int, pictures: int) -> float:
    """Pictures per second of a pool of warm workers."""
    each = max(1, pictures // workers)
    list(pool.map(decode, [1] * workers))
    begin = perf_counter()
    list(pool.map(decode, [each] * workers))
    return each * workers / (perf_counter() - begin)


def unlocked_share(pictures: int) -> float:
    """Share of a decoder's time that is spent in Pillow's C code, which runs without the lock."""
    spent = 0.0

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal spent
            begin = perf_counter()
            result = call(*args, **kwargs)
            spent += perf_counter() - begin
            return result

        return wrapped

    kept = ImageFile.ImageFile.load, Image.Image.resize
    decode(5)
    ImageFile.ImageFile.load, Image.Image.resize = map(timed, kept)  # type: ignore[method-assign]
    try:
        begin = perf_counter()
        decode(pictures)
        return spent / (perf_counter() - begin)
    finally:
        ImageFile.ImageFile.load, Image.Image.resize = kept  # type: ignore[method-assign]


@click.command(cls=Verb, help=kept(__doc__), context_settings=HELP_OPTIONS)
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Pictures for each figure.",
)
def main(pictures: int) -> None:
    click.echo(f"{unlocked_share(pictures):.1%} of the time without the interpreter lock")
    for workers in sorted({1, 2, os.cpu_count() or 1}):
        with ThreadPoolExecutor(workers) as threads, ProcessPoolExecutor(workers) as processes:
            by_threads = rate(threads, workers, pictures)
            by_processes = rate(processes, workers, pictures)
        click.echo(
            f"{workers} workers: threads {by_threads:.0f} pictures/s, "
            f"processes {by_processes:.0f} pictures/s"
        )


if __name__ == "__main__":
    main()
