"""`quasar inspect`"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from quasar_runtime.cli.facts import number
from quasar_runtime.cli.options import complete_model, output_options, overlay_option
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import HELP_OPTIONS, Verb


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("model", metavar="NAME|FILE", shell_complete=complete_model)
@overlay_option
@click.option("--memory", is_flag=True, help="Also print the memory map.")
@click.option("--descriptors", is_flag=True, help="Also print the fields of every descriptor.")
@click.option("--each", is_flag=True, help="Show every matrix and operation, not only their kinds.")
@output_options
def inspect(
    model: str, overlay: str | None, memory: bool, descriptors: bool, each: bool, out: Output
) -> None:
    """Show a model's matrices, its program and predicted cycles."""
    from quasar_runtime.isa.overlay import DEFAULT_OVERLAY, load_overlay
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
    _print_model(facts, each, out)
    out.line()
    _print_program(program, each, out)
    if memory:
        out.line()
        out.table(
            ["area", "offset", "bytes", "name"],
            [
                (m["area"], number(m["offset"]), number(m["bytes"]), m["name"])
                for m in program["memory"]
            ],
        )
    if descriptors:
        out.line()
        for d in program["descriptors"]:
            fields = " ".join(f"{key}={value}" for key, value in d["fields"].items())
            out.text(f"{d['name']}  {d['operation']}  {fields}".rstrip(), f"{d['number']:3d}  ")


def _print_model(facts: dict[str, Any], each: bool, out: Output) -> None:
    how = facts["preprocessing"]
    out.text(
        f"{facts['name']}: {facts['depth']} blocks, width {facts['width']}, "
        f"{facts['tokens']} tokens, {facts['classes']:,} classes, "
        f"{facts['weights'] / 1e6:.2f} M weights"
    )
    out.text(f"input: short side {how['resize']} ({how['resampling']}), centre {how['crop']}")
    out.line()
    if each:
        out.table(
            ["matrix", "rows", "inputs", "8-bit", "4-bit"],
            [
                (x["name"], *map(number, (x["rows"], x["inputs"], x["rows8"], x["rows4"])))
                for x in facts["layers"]
            ],
        )
        return
    kinds = _grouped(facts["layers"], lambda layer: str(layer["name"]).rpartition(".")[2])
    out.table(
        ["matrices", "number", "rows", "8-bit", "4-bit", "weights"],
        [
            (
                kind,
                len(of),
                *(number(_sum(of, key)) for key in ("rows", "rows8", "rows4", "weights")),
            )
            for kind, of in kinds.items()
        ],
    )


def _print_program(program: dict[str, Any], each: bool, out: Output) -> None:
    predicted, total = program["predicted"], program["predicted"]["cycles"]
    memory = predicted["memory"]
    out.text(
        f"on overlay {program['overlay']}: {len(program['descriptors'])} descriptors, "
        f"{program['bytes'] / 1e6:.2f} MB, {program['macs'] / 1e6:,.1f} M 4-bit MACs, at least "
        f"{program['array_cycles']:,} array cycles per image"
    )
    out.text(
        f"predicted: {total:,} cycles per image, {predicted['fps']:,.1f} FPS at "
        f"{program['clock_mhz']} MHz, {program['array_cycles'] / total:.1%} of the array's peak"
    )
    out.text(
        f"by the cycle model, with a memory of {memory['latency']} cycles latency and "
        f"{memory['gigabytes']:g} GB/s; not measured on a board",
        "  ",
    )
    out.line()
    headings = ["MMAC", "bytes", "cycles", "share"]
    if each:
        out.table(
            ["operation", "tokens", "8-bit", "4-bit", *headings],
            [_row(d, total) for d in program["descriptors"]],
        )
        return
    from quasar_runtime.session.results import operation_kind

    kinds = _grouped(program["descriptors"], lambda d: operation_kind(str(d["name"])))
    out.table(
        ["operations", "number", *headings],
        [(kind, len(of), *_work(of, total)) for kind, of in kinds.items()],
    )
    out.text(f"{len(program['descriptors'])} operations; --each shows every one")


def _row(d: dict[str, Any], total: int) -> tuple[object, ...]:
    """A descriptor's line: rows by precision for a weight matrix only."""
    fields = d["fields"]
    rows8 = rows4 = "-"
    if d["operation"] == "linear":
        rows8, rows4 = number(fields["rows8"]), number(fields["outputs"] - fields["rows8"])
    return d["name"], fields.get("tokens", "-"), rows8, rows4, *_work([d], total)


def _work(descriptors: list[dict[str, Any]], total: int) -> tuple[str, ...]:
    """Millions of MACs, bytes, cycles of descriptors together, and their share of `total`."""
    macs, cycles = _sum(descriptors, "macs"), _sum(descriptors, "cycles")
    shown = f"{macs / 1e6:,.2f}" if macs else "-"
    return shown, number(_sum(descriptors, "bytes")), number(cycles), f"{cycles / total:.1%}"


def _grouped(
    entries: list[dict[str, Any]], kind: Callable[[dict[str, Any]], str]
) -> dict[str, list[dict[str, Any]]]:
    """Kind -> its entries, kinds in the order of their first entry."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(kind(entry), []).append(entry)
    return groups


def _sum(entries: list[dict[str, Any]], key: str) -> int:
    return sum(entry[key] for entry in entries)
