"""`quasar doctor`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from quasar_runtime.cli.options import (
    complete_device,
    complete_model,
    output_options,
    overlay_option,
)
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb

if TYPE_CHECKING:
    from quasar_runtime.doctor.finding import Finding


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.option(
    "--device",
    "-d",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "board", "rtl", "native"]),
    shell_complete=complete_device,
    help="What to run; auto is the board, or without one the native engine.",
)
@overlay_option
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE",
    shell_complete=complete_model,
    help="Model whose answer is compared.  [default: q-vit-160fps]",
)
@output_options
def doctor(device: str, overlay: str | None, model: str | None, out: Output) -> None:
    """Check board, system and accelerator, and say what to do where something is wrong.

    Ends with bytes through the accelerator and back, and an answer compared byte for byte with
    another device's.
    """
    from quasar_runtime.doctor.examine import examine
    from quasar_runtime.doctor.finding import Machine, Status

    found = []
    for finding in examine(Machine(), device, overlay, model):
        found.append(finding)
        if not out.json and (finding.status != Status.OK or not out.quiet):
            _print(finding, out)
    wrong = any(finding.status == Status.FAILED for finding in found)
    if out.json:
        out.value({"ok": not wrong, "findings": [finding.as_dict() for finding in found]})
    if wrong:
        click.get_current_context().exit(BAD_INPUT)


def _print(finding: Finding, out: Output) -> None:
    from quasar_runtime.doctor.finding import Status

    if out.quiet and finding.status == Status.SKIPPED:
        return
    out.line(f"{finding.status.value:8} {finding.name:12} {' '.join(finding.found.split())}")
    if finding.remedy:
        out.line(f"{'':21} -> {' '.join(finding.remedy.split())}")
