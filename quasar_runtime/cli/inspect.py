"""`quasar inspect`"""

from __future__ import annotations

from typing import Any

import click

from quasar_runtime.cli.options import complete_model, output_options, overlay_option
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import HELP_OPTIONS, Verb


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("model", metavar="NAME|FILE", shell_complete=complete_model)
@overlay_option
@click.option("--descriptors", is_flag=True, help="Also print every descriptor's fields.")
@click.option("--memory", is_flag=True, help="Also print the memory map.")
@output_options
def inspect(model: str, overlay: str | None, descriptors: bool, memory: bool, out: Output) -> None:
    """Show a model and its program: precision of every matrix, work, sizes, memory map."""
    from quasar_runtime.devices.catalogue import DEFAULT_OVERLAY
    from quasar_runtime.isa.overlay import load_overlay
    from quasar_runtime.measure.inspect import inspect_model, inspect_program
    from quasar_runtime.model.zoo import load_model

    loaded = load_model(model)
    facts = inspect_model(loaded)
    program = inspect_program(loaded, load_overlay(DEFAULT_OVERLAY if overlay is None else overlay))
    if out.json:
        out.value({"model": facts, "program": program})
        return
    if out.quiet:
        out.line(program["sha256"])
        return
    _print_model(facts, out)
    out.line()
    _print_program(program, out)
    if memory:
        out.line()
        out.table(
            ["area", "offset", "bytes", "name"],
            [(m["area"], m["offset"], m["bytes"], m["name"]) for m in program["memory"]],
        )
    if descriptors:
        out.line()
        for d in program["descriptors"]:
            fields = " ".join(f"{key}={value}" for key, value in d["fields"].items())
            out.line(f"{d['number']:3d}  {d['name']}  {d['operation']}  {fields}")


def _print_model(facts: dict[str, Any], out: Output) -> None:
    how = facts["preprocessing"]
    out.line(
        f"{facts['name']}: {facts['depth']} blocks, width {facts['width']}, "
        f"{facts['tokens']} tokens, {facts['classes']} classes, "
        f"{facts['weights'] / 1e6:.2f} M weights"
    )
    out.line(f"input: short side {how['resize']} ({how['resampling']}), centre {how['crop']}")
    out.line()
    out.table(
        ["matrix", "rows", "inputs", "8-bit", "4-bit"],
        [(x["name"], x["rows"], x["inputs"], x["rows8"], x["rows4"]) for x in facts["layers"]],
    )


def _print_program(program: dict[str, Any], out: Output) -> None:
    predicted, total = program["predicted"], program["predicted"]["cycles"]
    memory = predicted["memory"]
    out.line(
        f"on overlay {program['overlay']}: {len(program['descriptors'])} descriptors, "
        f"{program['bytes'] / 1e6:.2f} MB, {program['macs'] / 1e6:.1f} M 4-bit MACs, at least "
        f"{program['array_cycles']} array cycles an image"
    )
    out.line(
        f"predicted: {total} cycles an image, {predicted['fps']:.1f} FPS at "
        f"{program['clock_mhz']} MHz, {program['array_cycles'] / total:.1%} of the array's peak"
    )
    out.line(
        f"  by the cycle model, with a memory of {memory['latency']} cycles latency and "
        f"{memory['gigabytes']:g} GB/s; not measured on a board"
    )
    out.line()
    out.table(
        ["", "operation", "kind", "tokens", "8-bit", "4-bit", "MMAC", "bytes", "cycles", "share"],
        [_row(d, total) for d in program["descriptors"]],
    )


def _row(d: dict[str, Any], total: int) -> tuple[object, ...]:
    """A descriptor's line: rows by precision for a weight matrix only."""
    fields = d["fields"]
    rows8 = rows4 = "-"
    if d["operation"] == "linear":
        rows8, rows4 = str(fields["rows8"]), str(fields["outputs"] - fields["rows8"])
    what = d["number"], d["name"], d["operation"], fields.get("tokens", "-")
    share = f"{d['cycles'] / total:.1%}"
    return *what, rows8, rows4, f"{d['macs'] / 1e6:.2f}", d["bytes"], d["cycles"], share
