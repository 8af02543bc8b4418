"""`quasar models list|show|verify`"""

from __future__ import annotations

import click

from quasar_runtime.cli.options import complete_model, output_options
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb, VerbGroup


@click.group(cls=VerbGroup, context_settings=HELP_OPTIONS)
def models() -> None:
    """List, show and verify the models of the zoo."""


@models.command("list", cls=Verb, context_settings=HELP_OPTIONS)
@output_options
def list_(out: Output) -> None:
    """List the models of the zoo."""
    from dataclasses import asdict

    from quasar_runtime.model.zoo import list_models

    entries = list_models()
    if out.json:
        out.value([asdict(entry) for entry in entries])
    elif out.quiet:
        for entry in entries:
            out.line(entry.name)
    else:
        out.table(
            ["model", "top-1", "8-bit rows", "GMAC", "M params", "what it is"],
            [
                (
                    entry.name,
                    "-" if entry.top1 is None else f"{entry.top1:.1f} %",
                    f"{entry.rows8:.0%}",
                    f"{entry.macs / 1e9:.2f}",
                    f"{entry.parameters / 1e6:.2f}",
                    entry.summary,
                )
                for entry in entries
            ],
        )


@models.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("model", metavar="NAME|FILE", shell_complete=complete_model)
@output_options
def show(model: str, out: Output) -> None:
    """Show what a model is: whose weights, how quantised, what was measured on what."""
    from quasar_runtime.measure.inspect import describe_model
    from quasar_runtime.model.zoo import load_model

    facts = describe_model(load_model(model))
    if out.json:
        out.value(facts)
    elif out.quiet:
        out.line(str(facts["name"]))
    else:
        out.facts(facts)


@models.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...", shell_complete=complete_model)
@output_options
def verify(names: tuple[str, ...], out: Output) -> None:
    """Check model files: checksums, ranges, overflow proofs; the whole zoo without NAME."""
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
                out.line(f"{name}: {problem or 'ok'}")
    if any(problem for _, problem in found):
        click.get_current_context().exit(BAD_INPUT)
