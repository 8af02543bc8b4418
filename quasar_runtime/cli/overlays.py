"""`quasar overlays list|show|verify|install|build`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quasar_runtime.cli.options import complete_overlay, output_options
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb, VerbGroup, print_error

if TYPE_CHECKING:
    from quasar_runtime.bitstream.package import Package
    from quasar_runtime.isa.overlay import Overlay


@click.group(cls=VerbGroup, context_settings=HELP_OPTIONS)
def overlays() -> None:
    """List, show, verify, install and build accelerator overlays."""


@overlays.command("list", cls=Verb, context_settings=HELP_OPTIONS)
@output_options
def list_(out: Output) -> None:
    """List the overlays, and which have a bitstream."""
    from quasar_runtime.bitstream.package import load_package
    from quasar_runtime.isa.overlay import overlay_names, survey

    found = [load_package(name) for name in overlay_names()]
    _, wrong = survey()
    for error in wrong:
        print_error(str(error))
    if out.json:
        out.value([_facts(package) for package in found])
    elif out.quiet:
        for package in found:
            out.line(package.name)
    else:
        out.table(
            ["overlay", "array", "MACs/cycle", "clock", "bitstream", "what it is"],
            [
                (
                    p.name,
                    f"{p.overlay.tokens} x {p.overlay.rows} x {p.overlay.depth}",
                    f"{p.overlay.macs:,}",
                    f"{p.overlay.clock_mhz} MHz",
                    "yes" if p.bitstream else "no",
                    p.overlay.description,
                )
                for p in found
            ],
        )
    if wrong:
        click.get_current_context().exit(BAD_INPUT)


@overlays.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("name", shell_complete=complete_overlay)
@output_options
def show(name: str, out: Output) -> None:
    """Show an overlay's parameters and where its bitstream is."""
    from quasar_runtime.bitstream.package import how_to_get, load_package

    package = load_package(name)
    if out.json:
        out.value(_facts(package))
    elif out.quiet:
        out.line(package.name)
    else:
        o = package.overlay
        out.text(f"{out.styled(o.name, 'bold')}: {o.description}")
        out.pairs(
            [
                ("array", f"{_array(o)}; {o.macs:,} 4-bit MACs per cycle"),
                ("clock", f"{o.clock_mhz} MHz"),
                ("memories", _memories(o)),
                ("read ports", str(o.read_ports)),
                ("folder", str(package.folder)),
                ("bitstream", str(package.bitstream or f"none; {how_to_get(name)}")),
                ("handoff", str(package.handoff or "none")),
            ]
        )


def _array(overlay: Overlay) -> str:
    return f"{overlay.tokens} tokens x {overlay.rows} rows x depth {overlay.depth}"


def _memories(overlay: Overlay) -> str:
    return (
        f"activations {overlay.act_words:,} words, residuals {overlay.res_words:,} words, "
        f"logits {overlay.logits:,}"
    )


@overlays.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_overlay)
@output_options
def verify(names: tuple[str, ...], out: Output) -> None:
    """Check bitstreams against their checksums.

    Without NAME every overlay is checked, and one without a bitstream is no error.
    """
    from quasar_runtime.bitstream.package import load_package, verify_package
    from quasar_runtime.errors import OverlayError
    from quasar_runtime.isa.overlay import overlay_names, survey

    found: list[dict[str, Any]] = []
    for name in names or overlay_names():
        answer: dict[str, Any] = {"name": name, "ok": True, "problem": None}
        package = None
        try:
            package = load_package(name)
            verify_package(package)
        except OverlayError as e:
            wrong = bool(names) or package is None or package.bitstream is not None
            answer |= {"ok": False if wrong else None, "problem": str(e)}
        found.append(answer)
    unread = [] if names else survey()[1]
    found += [{"name": None, "ok": False, "problem": str(error)} for error in unread]
    if out.json:
        out.value(found)
    else:
        for answer in found:
            if answer["ok"] is False or not out.quiet:
                named = "" if answer["name"] is None else f"{answer['name']}: "
                out.text(f"{named}{answer['problem'] or 'ok'}")
    if any(answer["ok"] is False for answer in found):
        click.get_current_context().exit(BAD_INPUT)


@overlays.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("source", metavar="FOLDER|FILE", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace an installed overlay of that name.")
@output_options
def install(source: Path, replace: bool, out: Output) -> None:
    """Install an overlay that was built elsewhere.

    The source is a folder or a .tar.gz with bitstream, handoff, parameters and checksums.
    """
    from quasar_runtime.bitstream.package import install_package

    _print_made(install_package(source, replace=replace), out)


@overlays.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("name", shell_complete=complete_overlay)
@output_options
def build(name: str, out: Output) -> None:
    """Build an overlay's bitstream with Vivado.

    Needs a checkout of the repository, and takes an hour or more.
    """
    from quasar_runtime.bitstream.package import build_overlay

    _print_made(build_overlay(name), out)


def _print_made(package: Package, out: Output) -> None:
    if out.json:
        out.value(_facts(package))
    elif out.quiet:
        out.line(package.name)
    else:
        out.text(f"{package.name}: {package.bitstream}")


def _facts(package: Package) -> dict[str, Any]:
    """What the JSON of an overlay holds."""
    from dataclasses import asdict

    return {
        **asdict(package.overlay),
        "macs_per_cycle": package.overlay.macs,
        "folder": str(package.folder),
        "bitstream": None if package.bitstream is None else str(package.bitstream),
        "handoff": None if package.handoff is None else str(package.handoff),
    }
