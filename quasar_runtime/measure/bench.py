"""How fast a session is: latency, throughput, preprocessing, and the time of every operation.

Each is measured in runs of its own: preprocessing alone, inference alone on a prepared picture,
pictures end to end with decoding overlapped, and last the runs whose profiles are read, so that no
measurement carries another's cost.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from quasar_runtime.errors import ImageError
from quasar_runtime.images.prepare import ImageSource, Prepared, load_image, source_name
from quasar_runtime.measure.power import Power, PowerMeter
from quasar_runtime.session.results import LayerTime, Profile
from quasar_runtime.session.session import Session

PROFILE_RUNS = 10
"""Most runs whose profiles are read: each operation's time is their median."""
INPUTS = 32
"""Most prepared pictures that inference alone goes round: more would only fill memory."""
PERCENTILES = (50, 90, 99)
T = TypeVar("T")


@dataclass(frozen=True)
class Latency:
    """Milliseconds of `runs` runs. Percentiles interpolate linearly between the nearest runs."""

    runs: int
    mean_ms: float
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Latency:
        """Of at least one time in milliseconds."""
        values = np.asarray(milliseconds, np.float64)
        p50, p90, p99 = np.percentile(values, PERCENTILES)
        figures = (values.mean(), values.min(), p50, p90, p99, values.max())
        return cls(values.size, *(round(float(f), 4) for f in figures))


@dataclass(frozen=True)
class HostRun:
    """One picture of a profiled run: seconds at which its parts began, the device's profile and the
    accelerator's cycles.
    """

    decode: float
    preprocess: float
    infer: float
    end: float
    profile: Profile
    cycles: int | None


@dataclass(frozen=True)
class Benchmark:
    """What `measure` found.

    decode, preprocess  file to pixels, pixels to the program's input
    infer               the program's input to logits
    end_to_end_fps      pictures per second through Session.stream
    layers              median time of every operation over the profiled runs
    cycles              the accelerator's for an image, median; None on a device that counts none
    clock_mhz           of the overlay
    power               mean while inference alone was measured
    runs                the profiled runs, for a trace
    failed              (name, why) of each picture that could not be read and was left out
    """

    model: str
    device: str
    overlay: str
    facts: dict[str, str]
    decode: Latency
    preprocess: Latency
    infer: Latency
    end_to_end_fps: float
    layers: tuple[LayerTime, ...]
    cycles: int | None
    clock_mhz: int
    power: Power
    runs: tuple[HostRun, ...]
    failed: tuple[tuple[str, str], ...] = ()

    @property
    def infer_fps(self) -> float:
        """Inferences per second, one after the other: of the median latency."""
        return 1e3 / self.infer.p50_ms

    @property
    def accelerator_fps(self) -> float | None:
        """Images a second of the accelerator alone: clock over cycles."""
        return self.clock_mhz * 1e6 / self.cycles if self.cycles else None

    @property
    def fps_per_watt(self) -> float | None:
        """Inferences per second and watt of the board, None where its power is not known."""
        board = self.power.board
        return self.infer_fps / board if board else None

    def as_dict(self) -> dict[str, Any]:
        """What `quasar bench --json` prints; see docs/cli.md."""
        return {
            "model": self.model,
            "device": self.device,
            "overlay": self.overlay,
            "facts": self.facts,
            "decode": asdict(self.decode),
            "preprocess": asdict(self.preprocess),
            "infer": asdict(self.infer),
            "throughput": {
                "infer_fps": round(self.infer_fps, 3),
                "end_to_end_fps": round(self.end_to_end_fps, 3),
            },
            "accelerator": {
                "cycles": self.cycles,
                "clock_mhz": self.clock_mhz,
                "fps": _rounded(self.accelerator_fps),
            },
            "power": {**self.power.as_dict(), "fps_per_w": _rounded(self.fps_per_watt)},
            "layers": [layer.as_dict() for layer in self.layers],
            "failed": [{"file": name, "error": why} for name, why in self.failed],
        }


def measure(
    session: Session,
    images: Sequence[ImageSource] = (),
    *,
    runs: int = 100,
    warmup: int = 10,
    each: Callable[[], None] = lambda: None,
) -> Benchmark:
    """Measure a session on `images`, or on a synthetic photo where none are given.

    runs pictures are decoded, inferred and streamed each, warmup more beforehand; `each` is called
    after every one (`steps` says how many that are). A picture that cannot be read is left out and
    named in `failed`; ImageError when none can.
    """
    pictures = Pictures(images or [synthetic_jpeg()])
    preprocessing = session.preprocessing

    def counted(results: Iterator[Any]) -> list[Any]:
        collected = []
        for result in results:
            collected.append(result)
            each()
        return collected

    counted(pictures.each(warmup, lambda source: session.run(session.preprocess(source))[0]))
    host = counted(pictures.each(runs, lambda source: _times(load_image(source, preprocessing))))
    few = min(len(pictures.left), INPUTS)
    inputs = list(pictures.each(few, session.preprocess))
    sources = pictures.left  # the first `runs` of these, round and round, have been read
    with PowerMeter() as meter:
        infer = counted(_timed(session, inputs[i % len(inputs)]) for i in range(runs))
    start = perf_counter()
    streamed = counted(session.stream(itertools.islice(itertools.cycle(sources), runs), 1))
    elapsed = perf_counter() - start
    host_runs = counted(
        _host_run(session, sources[i % len(sources)]) for i in range(_profile_runs(runs))
    )
    return Benchmark(
        model=session.name,
        device=session.device.name,
        overlay=session.device.overlay.name,
        facts=session.device.describe(),
        decode=Latency.of([decode for decode, _ in host]),
        preprocess=Latency.of([preprocess for _, preprocess in host]),
        infer=Latency.of(infer),
        end_to_end_fps=len(streamed) / elapsed,
        layers=median_profile([run.profile for run in host_runs]).layers,
        cycles=_median_cycles(host_runs),
        clock_mhz=session.device.overlay.clock_mhz,
        power=meter.power,
        runs=tuple(host_runs),
        failed=tuple(pictures.failed),
    )


class Pictures:
    """The pictures of a measurement, without those that turn out not to be readable."""

    def __init__(self, images: Sequence[ImageSource]) -> None:
        self.left = list(images)
        self.failed: list[tuple[str, str]] = []

    def each(self, count: int, use: Callable[[ImageSource], T]) -> Iterator[T]:
        """What `use` gives for `count` pictures, round and round. ImageError when none is left."""
        at = 0
        while count:
            at %= len(self.left)
            source = self.left[at]
            try:
                result = use(source)
            except ImageError as e:
                del self.left[at]
                self.failed.append((source_name(source), str(e)))
                if not self.left:
                    raise self._none_left(e) from None
                continue
            at, count = at + 1, count - 1
            yield result

    def _none_left(self, last: ImageError) -> ImageError:
        count = len(self.failed)
        return ImageError(f"none of {count} pictures can be read: {last}") if count > 1 else last


def steps(runs: int, warmup: int) -> int:
    """How often `measure` calls `each`."""
    return warmup + 3 * runs + _profile_runs(runs)


def median_profile(profiles: Sequence[Profile]) -> Profile:
    """Begin and end of every operation, counted from the run's begin: their medians."""
    first = profiles[0]
    entries = first.entries.copy()
    begins = [p.entries["begin"].min() for p in profiles]
    for edge in ("begin", "end"):
        times = [p.entries[edge] - begin for p, begin in zip(profiles, begins, strict=True)]
        entries[edge] = np.median(np.stack(times).astype(np.float64), axis=0).round()
    return Profile(first.names, first.macs, entries, first.tick_hz)


def synthetic_jpeg(width: int = 500, height: int = 375) -> bytes:
    """A JPEG of the usual size of a data set's photos: smooth colours with some detail."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    detail = rng.integers(-12, 13, (height, width, 3))
    photo = np.asarray(smooth.resize((width, height), Image.Resampling.BICUBIC)) + detail
    encoded = io.BytesIO()
    Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def _profile_runs(runs: int) -> int:
    return min(runs, PROFILE_RUNS)


def _times(prepared: Prepared) -> tuple[float, float]:
    """Without the pixels, so that thousands of runs take no memory."""
    return prepared.decode_ms, prepared.preprocess_ms


def _timed(session: Session, pixels: npt.NDArray[np.uint8]) -> float:
    start = perf_counter()
    session.run(pixels)
    return (perf_counter() - start) * 1e3


def _host_run(session: Session, source: ImageSource) -> HostRun:
    decode = perf_counter()
    prepared = load_image(source, session.preprocessing)
    infer = perf_counter()
    _, profile = session.run(prepared.pixels)
    end, cycles = perf_counter(), session.device.cycles
    return HostRun(decode, decode + prepared.decode_ms / 1e3, infer, end, profile, cycles)


def _median_cycles(runs: Sequence[HostRun]) -> int | None:
    cycles = [run.cycles for run in runs if run.cycles is not None]
    return int(np.median(cycles)) if cycles else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
