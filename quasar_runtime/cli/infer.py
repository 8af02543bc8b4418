"""`quasar infer`, also installed as `quasar-infer`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from quasar_runtime.cli.options import device_options, model_option, output_options
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, Verb, print_error

if TYPE_CHECKING:
    from quasar_runtime.results import Profile, Result


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
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
    device: str,
    threads: int | None,
    overlay: str | None,
    timeout: float,
    out: Output,
) -> None:
    """Say what is in pictures.

    IMAGE is a file, a folder (with its subfolders), or - for standard input. A picture that cannot
    be read is reported and the others go on.
    """
    from quasar_runtime.session import Session

    sources = [sys.stdin.buffer if image == "-" else image for image in images]
    answers, failed = [], False
    with Session(model, device, overlay=overlay, threads=threads, timeout=timeout) as session:
        results = session.stream(sources, top)
        for result in results if sys.stdout.isatty() else out.progress(results, None, "images"):
            if result.error is not None:
                failed = True
                print_error(str(result.error))
            if out.json:
                answers.append(_answer(result, profile))
            elif result.error is None:
                _print_result(result, out)
                if profile and result.profile:
                    print_profile(result.profile, out)
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


def _answer(result: Result, profile: bool) -> dict[str, Any]:
    answer = result.as_dict()
    if profile:
        answer["profile"] = result.profile.as_dict() if result.profile else None
    return answer


def _print_result(result: Result, out: Output) -> None:
    if out.quiet:
        out.line(f"{result.source}: {result.top1.label}")
        return
    out.line(f"{result.source}  ({result.times.infer_ms:.1f} ms)")
    for place, p in enumerate(result.predictions, 1):
        out.line(f"  {place:2d}  {p.probability:6.1%}  {p.wnid}  {p.label}")


def print_profile(profile: Profile, out: Output) -> None:
    """The time of every operation, as a table."""
    out.table(
        ["operation", "us", "share", "MMAC", "GMAC/s"],
        [
            (
                layer.name,
                f"{layer.microseconds:.1f}",
                f"{layer.share:.1%}",
                f"{layer.macs / 1e6:.2f}",
                f"{layer.macs / max(layer.microseconds, 1e-3) / 1e3:.1f}" if layer.macs else "-",
            )
            for layer in profile.layers
        ],
    )
