"""`quasar-train cost`: what a subnet takes on an overlay, and what an overlay takes of the chip."""

from __future__ import annotations

from pathlib import Path

import click

from quasar_runtime.cli.verb import HELP_OPTIONS, VerbGroup

from .verb import Verb


@click.group(cls=VerbGroup, context_settings=HELP_OPTIONS)
def cost() -> None:
    """Estimate FPS of a subnet, or the area of an overlay."""


@cost.command(cls=Verb, needs=("yaml",))
@click.argument("subnet", type=Path)
@click.option(
    "--overlay",
    "overlays",
    multiple=True,
    default=("b1024", "b8192"),
    show_default=True,
    help="Overlay; may be repeated.",
)
@click.option(
    "--space",
    "space_name",
    default="vit_tiny",
    show_default=True,
    help="Space that gives image size and classes.",
)
def cycles(subnet: Path, overlays: tuple[str, ...], space_name: str) -> None:
    """Print cycles per image and FPS of a network.

    SUBNET is a JSON file, as a search writes it.

    They follow from dimensions alone, by the cycle model (docs/cycle_model.md).
    """
    from quasar_runtime.isa.overlay import load_overlay

    from ..cost.cycles import OverlayCost, read_subnet
    from ..spaces.space import Space

    network, space = read_subnet(subnet), Space.load(space_name)
    costs = [OverlayCost.of(space, load_overlay(name)) for name in overlays]
    share8 = 100 * network.share8()
    side = f"{space.image_size} x {space.image_size} pixels (--space {space_name})"
    click.echo(f"{network.width} wide, {network.depth} deep, {share8:.0f} % in 8 bits; {side}")
    for model in costs:
        found = model(network)
        click.echo(
            f"{model.overlay.name}: {found.cycles:,.0f} cycles, {found.fps:.1f} FPS; "
            f"{found.misfit() or 'fits'}"
        )


@cost.command(cls=Verb, needs=("yaml",))
@click.argument("overlay")
def area(overlay: str) -> None:
    """Print DSP slices, LUTs, flip-flops and block RAMs of an overlay.

    OVERLAY is a name or the path of an overlay.json. The figures are estimates before placement,
    with their percentage of the ZCU102.
    """
    from quasar_runtime.files import read_text
    from quasar_runtime.isa.overlay import load_overlay, parse_overlay

    from ..cost.area import DEVICE, RESOURCES, AreaError, area_model

    path = Path(overlay)
    if path.suffix == ".json":
        shape = parse_overlay(read_text(path, AreaError), overlay)
    else:
        shape = load_overlay(overlay)
    found = area_model()(shape)
    for field, name in RESOURCES.items():
        amount, available = getattr(found, field), getattr(DEVICE, field)
        click.echo(f"{name:8}{amount:10,.0f}{100 * amount / available:7.1f} %")
