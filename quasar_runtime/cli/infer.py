"""`quasar infer`, also installed as `quasar-infer`."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from quasar_runtime.cli.opened import open_session
from quasar_runtime.cli.options import (
    DeviceOptions,
    device_options,
    model_option,
    output_options,
)
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.streams import standard_input
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb, print_error

if TYPE_CHECKING:
    from quasar_runtime.device.base import Device
    from quasar_runtime.results import Result


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@model_option
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes to print."
)
@click.option("--profile", is_flag=True, help="Also print the time of every operation.")
@device_options
@output_options
def infer(
    images: tuple[str, ...],
    model: str,
    top: int,
    profile: bool,
    on: DeviceOptions,
    out: Output,
) -> None:
    """Say what is in pictures.

    IMAGE is a file, a folder (with its subfolders), or - for standard input. A picture that cannot
    be read is reported and the others go on.
    """
    answers, failed = [], False
    # On a terminal the answers themselves show the progress.
    watched = replace(out, quiet=out.quiet or sys.stdout.isatty())
    with (
        open_session(model, on, out) as session,
        watched.bar(None, "images") as step,
    ):
        sources = [_standard_input() if image == "-" else image for image in images]
        for result in session.stream(sources, top):
            step()
            if result.error is not None:
                failed = True
                print_error(str(result.error))
            if out.json:
                answers.append(_answer(result, profile))
            elif result.error is None:
                _print_result(result, profile, session.device, out)
    if out.json:
        out.value(
            {
                "model": session.name,
                "device": session.device.name,
                "overlay": session.device.overlay.name,
                "results": answers,
            }
        )
    if failed:
        click.get_current_context().exit(BAD_INPUT)


def _standard_input() -> io.BytesIO:
    """The picture on standard input, read here: a thread waiting for it cannot be interrupted."""
    from quasar_runtime.images import MAX_BYTES

    picture = io.BytesIO(standard_input().read(MAX_BYTES + 1))
    picture.name = "<stdin>"
    return picture


def _answer(result: Result, profile: bool) -> dict[str, Any]:
    answer = result.as_dict()
    if profile:
        answer["profile"] = result.profile.as_dict() if result.profile else None
    return answer


def _print_result(result: Result, profile: bool, device: Device, out: Output) -> None:
    if out.quiet:
        out.line(f"{result.source}: {result.top1.label}")
        return
    time = f"{result.times.infer_ms:.1f} ms"
    if result.cycles is not None:
        clock = device.overlay.clock_mhz
        took = f"{result.cycles} cycles, {result.cycles / clock / 1e3:.2f} ms at {clock} MHz"
        simulated = f"simulated in {result.times.infer_ms / 1e3:.1f} s"
        time = f"{took}; {simulated if device.name == 'rtl' else time}"
    out.line(f"{result.source}  ({time})")
    for place, p in enumerate(result.predictions, 1):
        out.line(f"  {place:2d}  {p.probability:6.1%}  {p.wnid}  {p.label}")
    if profile and result.profile:
        out.layers(result.profile.layers)
