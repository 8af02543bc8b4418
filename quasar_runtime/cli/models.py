"""`quasar models list|show|verify`"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from quasar_runtime.cli.options import complete_model, output_options
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb, VerbGroup

if TYPE_CHECKING:
    from quasar_runtime.model.zoo import ZooEntry


@click.group(cls=VerbGroup, context_settings=HELP_OPTIONS)
def models() -> None:
    """List, show and verify the models of the zoo."""


@models.command("list", cls=Verb, context_settings=HELP_OPTIONS)
@output_options
def list_(out: Output) -> None:
    """List the models with accuracy, frame rates, size and licence."""
    from dataclasses import asdict

    from quasar_runtime.model.zoo import list_models

    entries = list_models()
    if out.json:
        out.value([asdict(entry) for entry in entries])
    elif out.quiet:
        for entry in entries:
            out.line(entry.name)
    else:
        _print_list(entries, out)


def _print_list(entries: list[ZooEntry], out: Output) -> None:
    overlays = sorted({name for entry in entries for name in entry.frame_rates})
    rates = [f"FPS {name}" for name in overlays]
    out.table(
        ["model", "top-1", "lost", *rates, "8-bit", "params", "MB", "licence"],
        [_row(entry, overlays) for entry in entries],
    )
    notes = [
        ("top-1", _common(entry.dataset for entry in entries)),
        ("lost", "points of top-1, against the float network on the same pictures"),
        ("FPS", _common(entry.rates_by for entry in entries)),
        ("8-bit", "share of the blocks' weight rows; the others are 4-bit"),
    ]
    out.line()
    out.pairs((name, text) for name, text in notes if text)


def _row(entry: ZooEntry, overlays: list[str]) -> tuple[str, ...]:
    from quasar_runtime.cli.card import lost

    points, rates = lost(entry), [entry.frame_rates.get(name) for name in overlays]
    size = os.path.getsize(entry.path) / 1e6 if entry.path.is_file() else None
    return (
        entry.name,
        "-" if entry.top1 is None else f"{entry.top1:.1f}%",
        "-" if points is None else f"{points:.1f}",
        *("-" if fps is None else f"{fps:,.0f}" for fps in rates),
        f"{entry.rows8:.0%}",
        f"{entry.parameters / 1e6:.2f} M",
        "-" if size is None else f"{size:.1f}",
        (entry.licence or "-").partition(",")[0],
    )


def _common(texts: Iterable[str | None]) -> str:
    """What all entries that say something say; nothing where they differ."""
    found = {text for text in texts if text}
    return found.pop() if len(found) == 1 else ""


@models.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("model", metavar="NAME|FILE", shell_complete=complete_model)
@click.option("--all", "everything", is_flag=True, help="Show all that the file says.")
@output_options
def show(model: str, everything: bool, out: Output) -> None:
    """Show a model's accuracy, speed, size, precision and origin."""
    from quasar_runtime.cli.card import card, what
    from quasar_runtime.measure.inspect import describe_model
    from quasar_runtime.model.zoo import describe, find_model, load_model

    loaded, path = load_model(model), find_model(model)
    if out.json:
        out.value(describe_model(loaded))
    elif out.quiet:
        out.line(loaded.name)
    elif everything:
        out.facts(describe_model(loaded))
    else:
        entry = describe(loaded, path.name, sha256="")
        out.text(f"{out.styled(loaded.name, 'bold')}{': ' * bool(what(entry))}{what(entry)}")
        out.pairs(card(loaded, entry, path))


@models.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...", shell_complete=complete_model)
@output_options
def verify(names: tuple[str, ...], out: Output) -> None:
    """Check the checksums, ranges and overflow proofs of model files.

    Without NAME every model of the zoo is checked, and the index against the files.
    """
    from quasar_runtime.measure.inspect import verify_model
    from quasar_runtime.model.zoo import list_models, verify_models

    found = []
    with out.bar(len(names or list_models()), "models") as step:
        for name, problem in (
            ((name, verify_model(name)) for name in names)
            if names
            else ((v.name, v.problem) for v in verify_models())
        ):
            found.append((name, problem))
            step()
    if out.json:
        out.value([{"name": n, "ok": p is None, "problem": p} for n, p in found])
    else:
        for name, problem in found:
            if problem or not out.quiet:
                out.text(f"{name}: {problem or 'ok'}")
    if any(problem for _, problem in found):
        click.get_current_context().exit(BAD_INPUT)
