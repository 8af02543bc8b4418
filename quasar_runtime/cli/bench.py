"""`quasar bench`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from quasar_runtime.cli.opened import open_session
from quasar_runtime.cli.options import (
    Count,
    DeviceOptions,
    device_options,
    each_option,
    model_option,
    output_options,
)
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb, print_error
from quasar_runtime.errors import DataError

MOST_RUNS = 1_000_000
"""It takes days on most devices; a larger number is a mistake."""

if TYPE_CHECKING:
    from quasar_runtime.measure.bench import Benchmark, Latency


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(allow_dash=False))
@model_option
@click.option(
    "--runs",
    "-n",
    type=Count(1, MOST_RUNS),
    metavar="N",
    help="Runs of each measurement.  [default: 100; rtl: 1]",
)
@click.option(
    "--warmup",
    type=Count(0, MOST_RUNS),
    metavar="N",
    help="Runs before the first measurement.  [default: 10; rtl: 0]",
)
@click.option(
    "--trace",
    metavar="FILE",
    help="Also write a trace for chrome://tracing or ui.perfetto.dev.",
)
@each_option
@device_options
@output_options
def bench(
    images: tuple[str, ...],
    model: str,
    runs: int | None,
    warmup: int | None,
    trace: str | None,
    each: bool,
    on: DeviceOptions,
    out: Output,
) -> None:
    """Measure latency, throughput and the time of operations.

    IMAGE is a file or a folder. Without one a synthetic photo of 500 x 375 pixels is used. A
    picture that cannot be read is reported and left out.
    """
    from quasar_runtime.images.prepare import expand
    from quasar_runtime.measure.bench import measure, steps

    # A simulated run takes seconds to minutes, and the next one takes the same cycles.
    simulated = on.device == "rtl"
    runs = (1 if simulated else 100) if runs is None else runs
    warmup = (0 if simulated else 10) if warmup is None else warmup
    kept = trace if trace and _writable(trace) else None
    with (
        open_session(model, on, out, reads=images, writes=[kept]) as session,
        out.bar(steps(runs, warmup), "runs") as step,
    ):
        found = measure(session, list(expand(images)), runs=runs, warmup=warmup, each=step)
    for _, why in found.failed:
        print_error(why)
    try:
        _print(found, each, out)
    finally:  # neither is lost with the other
        if kept:
            from quasar_runtime.measure.trace import write_trace

            write_trace(kept, found.runs, found.device)
    if kept != trace or found.failed:
        click.get_current_context().exit(BAD_INPUT)


def _writable(trace: str) -> bool:
    """Whether the trace can be written, told before the work if not: the figures, which may take
    minutes of simulation, do not need it.
    """
    from quasar_runtime.files import check_output

    try:
        check_output(trace)
    except DataError as e:
        print_error(f"{e}; the figures come without a trace")
        return False
    return True


def _print(found: Benchmark, each: bool, out: Output) -> None:
    if out.json:
        out.value(found.as_dict())
        return
    if out.quiet:
        out.line(f"{found.infer_fps:.2f}")
        return
    facts = ", ".join(f"{key} {value}" for key, value in found.facts.items())
    out.text(
        f"{found.model} on {found.device}, overlay {found.overlay}" + f" ({facts})" * bool(facts)
    )
    out.line()
    rows = [("decode", found.decode), ("preprocess", found.preprocess), ("infer", found.infer)]
    out.table(
        ["ms", "mean", "min", "p50", "p90", "p99", "max"],
        [(name, *map(_milliseconds, _figures(times))) for name, times in rows],
    )
    out.line()
    out.text(
        f"{found.infer_fps:,.1f} inferences/s, {found.end_to_end_fps:,.1f} images/s end to end"
    )
    if found.cycles is not None and found.accelerator_fps is not None:
        out.text(
            f"accelerator: {found.cycles:,} cycles per image, {found.accelerator_fps:,.1f} FPS at "
            f"{found.clock_mhz} MHz" + ", simulated" * (found.device == "rtl")
        )
    _print_power(found, out)
    out.line()
    out.operations(found.layers, each)


def _figures(times: Latency) -> tuple[float, ...]:
    return (
        *(times.mean_ms, times.min_ms),
        *(times.p50_ms, times.p90_ms, times.p99_ms, times.max_ms),
    )


def _milliseconds(value: float) -> str:
    """With three decimals; of whole seconds, as a simulation takes, none that says anything."""
    return f"{value:,.3f}" if value < 1000 else f"{value:,.0f}"


def _print_power(found: Benchmark, out: Output) -> None:
    """A line for the board and one for its rails, where there are sensors."""
    if found.power.board is not None and found.fps_per_watt is not None:
        out.text(
            f"power: board {found.power.board:.2f} W, of which logic {found.power.logic:.2f} W; "
            f"{found.fps_per_watt:.2f} inferences/s per watt"
        )
    rails = found.power.rails.items()
    if rails:
        shown = (f"{rail} {'unreadable' if w is None else f'{w:.3f} W'}" for rail, w in rails)
        out.text(f"rails: {', '.join(shown)}")
