"""`quasar-train search`: the front of loss and frame rate over a space.

    quasar-train search OUT --effects effects.npz --space vit_tiny_rows --target 140 --target 160

docs/search.md says how it searches. PyTorch is needed with --run only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quasar_runtime.errors import DataError

from . import options
from .options import bundle
from .paths import check_folder
from .verb import SEARCHING, TRAINING, Verb, require

if TYPE_CHECKING:
    from ..cost.cycles import CostModel
    from ..cost.loss import EffectLoss
    from ..search.candidates import Candidate
    from ..search.study import Loss, SearchSettings
    from ..spaces.space import Space

KEPT = "the trials are kept in OUT/search.db, the same command goes on"


@dataclass(frozen=True)
class LossOptions:
    """The loss: row effects, or a supernet's run with its pictures and, for a start, effects."""

    effects: Path | None
    run: Path | None
    images: Path | None

    def load(self, space: Space) -> tuple[Loss, EffectLoss | None]:
        """(the loss, the effects if any). SpaceError when the loss knows nothing of `space`."""
        from ..cost.loss import EffectLoss

        effects = EffectLoss.load(self.effects) if self.effects else None
        if self.run is not None and self.images is not None:
            require(TRAINING)
            from ..training.supernet_loss import SupernetLoss

            loss = SupernetLoss.load(self.run, self.images)
            loss.run.supernet.space.check_holds(space)
            return loss, effects
        if effects is not None and self.run is None and self.images is None:
            effects(space.largest())
            effects(space.smallest())
            return effects, effects
        raise click.UsageError("give --effects, or --run with --images, or all three")


@dataclass(frozen=True)
class Hardware:
    """The overlays to search for, or a budget for any array."""

    overlays: tuple[str, ...]
    budget: str | None

    def costs(self, space: Space) -> Mapping[str, CostModel]:
        """The cost of each overlay by its name. OverlayError, AreaError for unknown ones."""
        from ..cost.area import parse_budget, shape_costs
        from ..cost.cycles import PREFERRED_OVERLAY
        from ..search.study import overlay_costs

        if self.budget is None:
            return overlay_costs(space, self.overlays or (PREFERRED_OVERLAY,))
        return shape_costs(space, parse_budget(self.budget))


@dataclass(frozen=True)
class Effort:
    """How long and how broadly to search."""

    trials: int
    population: int
    seed: int


loss_options = bundle(
    "loss",
    LossOptions,
    click.option(
        "--effects", type=Path, help="Row effects, as quasar-train predictor writes them."
    ),
    click.option("--run", type=Path, help="Folder of a supernet's run, to rate subnets by it."),
    click.option("--images", type=Path, help="Pictures of that run, of which it held some out."),
)
hardware_options = bundle(
    "hardware",
    Hardware,
    click.option(
        "--overlay",
        "overlays",
        multiple=True,
        help="Overlay to search for; may be repeated; default: b1024.",
    ),
    click.option("--budget", help="In place of --overlay: any array within dsp=N,lut=N,..."),
)
effort_options = bundle(
    "effort",
    Effort,
    click.option(
        "--trials",
        type=options.COUNT,
        default=2000,
        show_default=True,
        help="Subnets to rate in all.",
    ),
    click.option(
        "--population",
        type=click.IntRange(2, 10_000),
        default=48,
        show_default=True,
        help="Subnets per generation.",
    ),
    click.option(
        "--seed",
        type=options.SEED,
        default=0,
        show_default=True,
        help="Seed of every random choice.",
    ),
)


@click.command(cls=Verb, needs=SEARCHING, kept=KEPT)
@click.argument("out", type=Path)
@click.option(
    "--space",
    "space_name",
    default="vit_tiny",
    show_default=True,
    help="Name of a space of train/spaces/, or a .yaml file.",
)
@loss_options
@hardware_options
@click.option(
    "--target", "targets", type=options.POSITIVE, multiple=True, required=True, help="FPS to reach."
)
@effort_options
def search(
    out: Path,
    space_name: str,
    loss: LossOptions,
    hardware: Hardware,
    targets: tuple[float, ...],
    effort: Effort,
) -> None:
    """Search a space for the most accurate subnet per frame rate.

    The loss comes from --effects, or from --run with --images (then --effects gives a start). The
    front and a subnet per target are written into the folder OUT.

    Run it again to carry on, with more trials to go further, or several times at once to share the
    work: trials are kept in OUT/search.db.
    """
    if hardware.budget is not None and hardware.overlays:
        raise click.UsageError("give either --overlay or --budget")
    from ..search.initial_population import initial_population
    from ..search.study import Search, SearchSettings, require_reachable, stored
    from ..spaces.space import Space

    check_folder(out)
    space = Space.load(space_name)
    costs = hardware.costs(space)
    require_reachable(space, costs, targets)
    rate, effects = loss.load(space)
    settings = SearchSettings(targets, effort.trials, effort.population, effort.seed)
    with stored(out) as storage:
        study = Search(space, rate, costs, settings, storage)
        path = []
        if effects is not None:
            first = next(iter(costs.values()))
            path = effects.path(space, lambda subnet: first(subnet).cycles)
        front = study.run(initial_population(space, path, costs, settings))
    write(front, settings, space, costs, out)


def write(
    front: Sequence[Candidate],
    settings: SearchSettings,
    space: Space,
    costs: Mapping[str, CostModel],
    out: Path,
) -> None:
    """Write the front into a folder, and print what it has for each target.

    DataError when a file cannot be written, SearchError when no subnet reaches a target.
    """
    from ..cost.area import ShapeCost, overlay_text
    from ..search.candidates import choose
    from ..search.front import save_front, write_text

    try:
        save_front(front, settings, space, out)
        for target in settings.targets:
            best = choose(front, target)
            cost = costs[best.overlay]
            if isinstance(cost, ShapeCost):
                text = overlay_text(cost.overlay(best.subnet))
                write_text(out / f"overlay-{target:g}fps.json", text)
    except DataError as e:
        raise DataError(f"{e}; {KEPT.replace('OUT', str(out))}") from None
    for target in settings.targets:
        c = choose(front, target)
        click.echo(
            f"{target:g} FPS: loss {c.loss:.5f} at {c.fps:.1f} FPS on {c.overlay}, "
            f"{100 * c.subnet.share8():.0f} % of the work in 8 bits"
        )
