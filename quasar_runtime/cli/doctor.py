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

ON_A_LAPTOP = frozenset(
    ("machine", "python", "models", "engine", "simulation", "accelerator", "loopback", "answer")
)
"""Checks whose findings matter off a board even where all is well."""
STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}
"""Status of a finding -> its style."""


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.option(
    "--device",
    "-d",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "board", "rtl", "native"]),
    metavar="NAME",
    shell_complete=complete_device,
    help="auto, board, rtl or native; auto is the board, else native.",
)
@overlay_option
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE",
    shell_complete=complete_model,
    help="Model whose answer is compared.  [default: q-vit-160fps]",
)
@click.option("--all", "everything", is_flag=True, help="Show every check, also off a board.")
@output_options
def doctor(
    device: str, overlay: str | None, model: str | None, everything: bool, out: Output
) -> None:
    """Check the machine, its software and the accelerator.

    Each finding that is not ok comes with what to do about it. The last checks send bytes through
    the accelerator and back, and compare an answer byte for byte with another device's. Off a board
    only what matters on a laptop is shown.
    """
    from quasar_runtime.doctor.examine import examine
    from quasar_runtime.doctor.finding import Machine, Status

    machine = Machine()
    everything = everything or machine.is_board
    found = []
    for finding in examine(machine, device, overlay, model):
        found.append(finding)
        if not out.json and _is_shown(finding, everything, out.quiet):
            _print(finding, out)
    wrong = any(finding.status == Status.FAILED for finding in found)
    if out.json:
        out.value({"ok": not wrong, "findings": [finding.as_dict() for finding in found]})
    elif not out.quiet:
        _print_counts(found, everything, out)
    if wrong:
        click.get_current_context().exit(BAD_INPUT)


def _is_shown(finding: Finding, everything: bool, quiet: bool) -> bool:
    from quasar_runtime.doctor.finding import Status

    if finding.status in (Status.WARNING, Status.FAILED):
        return True
    if quiet:
        return False
    return everything or (finding.status == Status.OK and finding.name in ON_A_LAPTOP)


def _print(finding: Finding, out: Output) -> None:
    status = out.styled(f"{finding.status.value:8}", STYLES[finding.status.value])
    out.text(" ".join(finding.found.split()), f"{status} {finding.name:12} ")
    if finding.remedy:
        out.text(" ".join(finding.remedy.split()), f"{'':21} -> ")


def _print_counts(found: list[Finding], everything: bool, out: Output) -> None:
    """How many checks ended how, where not all are shown."""
    counts = [(s, sum(f.status.value == s for f in found)) for s in STYLES]
    told = ", ".join(f"{count} {status}" for status, count in counts if count)
    hidden = "" if everything else "; --all shows each"
    out.line()
    out.text(f"{len(found)} checks: {told}{hidden}")
