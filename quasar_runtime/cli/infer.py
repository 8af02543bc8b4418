"""`quasar infer`, also installed as `quasar-infer`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
from quasar_runtime.cli.streams import standard_input
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb, print_error
from quasar_runtime.errors import DeviceError, printable

if TYPE_CHECKING:
    from quasar_runtime.devices.base import Device
    from quasar_runtime.files import Listing
    from quasar_runtime.images.prepare import ImageSource
    from quasar_runtime.session.results import Result

PICTURE_SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("avif", "gif", "heic", "heif", "ico", "j2k", "jp2", "jxl", "pbm", "pgm", "pnm", "ppm"),
        *("psd", "svg", "tga", "tif", "tiff"),
        *("arw", "cr2", "cr3", "dng", "nef", "orf", "raf", "rw2"),  # cameras' own
    )
)
"""Suffixes of pictures that are not read: leaving one out is an error, a text file is none."""


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@model_option
@click.option(
    "--top",
    type=Count(1, 4096),
    metavar="N",
    default=5,
    show_default=True,
    help="Most likely classes to print.",
)
@click.option("--profile", is_flag=True, help="Also print the time of operations.")
@each_option
@device_options
@output_options
def infer(
    images: tuple[str, ...],
    model: str,
    top: int,
    profile: bool,
    each: bool,
    on: DeviceOptions,
    out: Output,
) -> None:
    """Classify pictures.

    IMAGE is a file, a folder with its subfolders, or - for standard input. A picture that cannot be
    read is reported, and the others are still classified. Other files in a folder are reported too.
    """
    if each and not profile:
        raise click.UsageError("--each is for the operations' times; add --profile")
    answers, stopped = [], None
    sources, skipped = _sources(images, out)
    failed = any(entry["suffix"] in PICTURE_SUFFIXES for entry in skipped)
    # On a terminal the answers themselves show the progress.
    watched = replace(out, quiet=out.quiet or sys.stdout.isatty())
    with (
        open_session(model, on, out, reads=images) as session,
        watched.bar(None, "images") as step,
    ):
        try:
            for result in session.stream(sources, top):
                step()
                if result.error is not None:
                    failed = True
                    print_error(str(result.error))
                if out.json:
                    answers.append(_answer(result, profile))
                elif result.error is None:
                    _print_result(result, session.device, out)
                    if profile:
                        _print_profile(result, each, out)
        except DeviceError as e:  # the answers until then are kept
            stopped = e
    if out.json:
        out.value(
            {
                "model": session.name,
                "device": session.device.name,
                "overlay": session.device.overlay.name,
                "results": answers,
                "skipped": skipped,
                "error": None if stopped is None else str(stopped),
            }
        )
    if stopped is not None:
        raise stopped
    if failed:
        click.get_current_context().exit(BAD_INPUT)


def _sources(
    images: tuple[str, ...], out: Output
) -> tuple[list[ImageSource], list[dict[str, Any]]]:
    """The pictures that the arguments stand for, and what of folders is left out."""
    from quasar_runtime.images.prepare import list_pictures, pictures_of

    sources: list[ImageSource] = []
    skipped: list[dict[str, Any]] = []
    for image in images:
        if image == "-":
            sources.append(standard_input())  # the session reads it in the main thread
        elif os.path.isdir(image):
            listing = list_pictures(image)
            sources += pictures_of(listing) or [image]
            skipped += _left_out(image, listing, out)
        else:
            sources.append(image)
    return sources, skipped


def _left_out(folder: str, listing: Listing, out: Output) -> list[dict[str, Any]]:
    """What of a folder is no picture, told; pictures that cannot be read are among the results."""
    from quasar_runtime.images.prepare import count_kinds

    links = [s for s in listing.skipped if not s.wanted]
    for link in links:
        out.warn(f"{printable(str(link.path))}: {link.why}")
    if listing.others:
        out.warn(f"{printable(folder)}: left out, no pictures: {count_kinds(listing.others)}")
    left: list[dict[str, Any]] = [
        {"source": str(s.path), "suffix": None, "files": None, "why": s.why} for s in links
    ]
    left += [
        {"source": folder, "suffix": suffix, "files": files, "why": "no kind that is read"}
        for suffix, files in sorted(listing.others.items())
    ]
    return left


def _answer(result: Result, profile: bool) -> dict[str, Any]:
    answer = result.as_dict()
    if profile:
        answer["profile"] = result.profile.as_dict() if result.profile else None
    return answer


def _print_result(result: Result, device: Device, out: Output) -> None:
    if out.quiet:
        out.line(f"{printable(result.source)}: {result.top1.label}")
        return
    time = f"{result.times.infer_ms:.1f} ms"
    if result.cycles is not None:
        clock = device.overlay.clock_mhz
        took = f"{result.cycles:,} cycles, {result.cycles / clock / 1e3:.2f} ms at {clock} MHz"
        simulated = f"simulated in {result.times.infer_ms / 1e3:.1f} s"
        time = f"{took}; {simulated if device.name == 'rtl' else time}"
    out.heading(printable(result.source), f"({time})")
    for place, p in enumerate(result.predictions, 1):
        out.text(p.label, f"  {place:2d}  {p.probability:6.1%}  {p.wnid}  ")


def _print_profile(result: Result, each: bool, out: Output) -> None:
    if result.profile and not out.quiet:
        out.line()
        out.operations(result.profile.layers, each)
