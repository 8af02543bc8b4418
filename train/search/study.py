"""The search: of a space's subnets, those that no other beats in both loss and frame rate.

    python -m train.search OUT --effects effects.npz --space vit_tiny_rows --overlay b1024 \\
        --target 140 --target 160

NSGA-II over the whole network at once: a subnet's genes are its width, its depth and one a block
(heads, MLP width, four shares of 8-bit rows), and the array's shape where there is a choice. The
search takes two predictors, a loss and a cost, and knows nothing of training or hardware. Trials
live in an Optuna storage: a search can be stopped, carried on, and worked on by several processes.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from quasar_runtime.errors import DataError, QuasarError
from quasar_runtime.files import open_regular, replacing
from quasar_runtime.isa.overlay import load_overlay

from . import command as cli
from .cost.area import ShapeCost, overlay_text, parse_budget, shape_costs
from .cost.cycles import Cost, CostModel, OverlayCost
from .predictor import EffectLoss, SupernetLoss
from .spaces.genome import Genome
from .spaces.space import Space, Subnet

STUDY = "search"
PREFERRED = "b1024"
SQLITE = b"SQLite format 3\0"
"""How its files begin."""
FOUND = "found"
"""The user attribute of a trial that holds its candidate."""

Loss = Callable[[Subnet], float]
"""How much worse than its teacher a subnet is; 0 is best."""


Start = tuple[Subnet, str]
"""A subnet to begin with, on an overlay."""


class SearchError(QuasarError):
    """A search that cannot reach what is asked, or whose storage does not go with it."""


@dataclass(frozen=True)
class Candidate:
    """A subnet on an overlay, as the two predictors rate it."""

    subnet: Subnet
    overlay: str
    loss: float
    fps: float
    cycles: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "overlay": self.overlay,
            "loss": self.loss,
            "fps": self.fps,
            "cycles": self.cycles,
            "share8": self.subnet.share8(),
            "subnet": self.subnet.to_dict(),
        }


@dataclass(frozen=True)
class Settings:
    """targets: frame rates for which a subnet is wanted; slower ones than the least are not rated.
    trials: of the whole study, those of earlier runs and other workers included."""

    targets: tuple[float, ...]
    trials: int = 1000
    population: int = 48
    seed: int = 0


class Sampler(optuna.samplers.NSGAIISampler):
    """NSGA-II whose generations are bred by the genome.

    A trial's randomness is its own, so that a search carried on makes the same choices. The first
    generation has `start`, the space's ends, and random subnets.
    """

    def __init__(self, genome: Genome, settings: Settings, start: Sequence[Start]) -> None:
        super().__init__(population_size=settings.population, seed=settings.seed)
        self.genome, self.seed = genome, settings.seed
        smallest, largest = genome.space.smallest(), genome.space.largest()
        ends = [(subnet, name) for subnet in (smallest, largest) for name in genome.overlays]
        self.first = [*start, *ends]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        counts = self.genome.genes.items()
        return {name: IntDistribution(0, count - 1) for name, count in counts if count > 1}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, int]:
        rng = random.Random(f"{self.seed} {trial.number}")
        parents = self.get_parent_population(study, self.get_trial_generation(study, trial))
        if parents:
            ordered = sorted(parents, key=lambda parent: parent.number)
            genes = self.genome.child([parent.params for parent in ordered], rng)
        else:
            if trial.number < len(self.first):
                subnet, overlay = self.first[trial.number]
            else:
                subnet, overlay = self.genome.space.sample(rng), rng.choice(self.genome.overlays)
            genes = self.genome.encode(subnet, overlay)
        return {name: genes[name] for name in search_space}


class Search:
    """A study in a storage. `storage` is an Optuna URL such as sqlite:///front.db, or None."""

    def __init__(
        self,
        space: Space,
        loss: Loss,
        costs: Mapping[str, CostModel],
        settings: Settings,
        storage: str | None = None,
    ) -> None:
        self.space, self.loss, self.costs, self.settings = space, loss, costs, settings
        self.genome = Genome(space, list(costs))
        self.rated: dict[Subnet, float] = {}
        require_reachable(space, costs, settings.targets)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=storage,
            study_name=STUDY,
            directions=["minimize", "maximize"],
            load_if_exists=True,
        )
        self._claim()

    def _claim(self) -> None:
        """Write into the storage what is searched, or compare with what it says."""
        choices = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.space).items()}
        mine = {
            **choices,
            "overlays": list(self.costs),
            "targets": list(self.settings.targets),
            "population": self.settings.population,
        }
        theirs = self.study.user_attrs
        for key, value in mine.items():
            if key not in theirs:
                self.study.set_user_attr(key, value)
            elif theirs[key] != value:
                raise SearchError(
                    f"the storage holds a search with {key} {theirs[key]}, not {value}; give the "
                    "same settings to carry it on, or another folder for a new one"
                )

    def run(self, start: Sequence[Start] = ()) -> list[Candidate]:
        """Rate subnets until the study has its trials; returns the front, fastest first.

        `start` is what to begin with, besides the space's ends and random subnets.
        """
        trials = self._trials()
        self.rated.update((c.subnet, c.loss) for c in map(_candidate, trials) if c)
        self.study.sampler = Sampler(self.genome, self.settings, start)
        bar = tqdm(total=self.settings.trials, initial=len(trials), desc="search", unit="subnet")
        with bar:
            while (done := len(self._trials())) < self.settings.trials:
                bar.update(done - bar.n)
                self._trial()
            bar.update(done - bar.n)
        return self.front()

    def front(self) -> list[Candidate]:
        """What no other candidate beats in both loss and frame rate, fastest first."""
        return pareto([c for c in map(_candidate, self._trials()) if c])

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])

    def _trial(self) -> None:
        trial = self.study.ask()
        genes = {
            name: trial.suggest_int(name, 0, count - 1) for name, count in self.genome.genes.items()
        }
        subnet, overlay = self.genome.decode(genes)
        cost = self.costs[overlay](subnet)
        slow = min(self.settings.targets) / cost.fps - 1
        trial.set_constraint("room", cost.excess)
        trial.set_constraint("rate", slow)
        if cost.excess > 0 or slow > 0:
            self.study.tell(trial, [math.inf, cost.fps])
            return
        found = Candidate(subnet, overlay, self._rate(subnet), cost.fps, cost.cycles)
        trial.set_user_attr(FOUND, found.to_dict())
        self.study.tell(trial, [found.loss, found.fps])

    def _rate(self, subnet: Subnet) -> float:
        if subnet not in self.rated:
            self.rated[subnet] = float(self.loss(subnet))
        return self.rated[subnet]


def _candidate(trial: FrozenTrial) -> Candidate | None:
    """What a trial found; None where it was not rated."""
    data = trial.user_attrs.get(FOUND)
    if data is None:
        return None
    subnet = Subnet.from_dict(data["subnet"])
    return Candidate(subnet, data["overlay"], *(data[k] for k in ("loss", "fps", "cycles")))


def pareto(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in loss and frame rate, fastest first; one of equals."""
    front: list[Candidate] = []
    for c in sorted(candidates, key=lambda c: (-c.fps, c.loss)):
        if not front or c.loss < front[-1].loss:
            front.append(c)
    return front


def choose(front: Sequence[Candidate], fps: float) -> Candidate:
    """The one of least loss that reaches a frame rate. SearchError when none does."""
    fast = [c for c in front if c.fps >= fps]
    if not fast:
        best = max((c.fps for c in front), default=0.0)
        raise SearchError(
            f"no subnet found reaches {fps:g} FPS, the fastest {best:.1f}; search longer, or ask "
            "for less"
        )
    return min(fast, key=lambda c: c.loss)


def require_reachable(
    space: Space, costs: Mapping[str, CostModel], targets: Sequence[float]
) -> None:
    """SearchError, with the best that can be reached, for targets that no subnet can meet.

    The smallest subnet is the fastest and needs the least room.
    """
    smallest: dict[str, Cost] = {name: cost(space.smallest()) for name, cost in costs.items()}
    fitting = {name: cost for name, cost in smallest.items() if cost.misfit() is None}
    if not fitting:
        name, cost = min(smallest.items(), key=lambda item: item[1].excess)
        raise SearchError(
            f"no subnet of space '{space.name}' fits: on {name} its smallest {cost.misfit()}; "
            "choose a larger overlay, or a space with smaller networks"
        )
    name, best = max(fitting.items(), key=lambda item: item[1].fps)
    if max(targets) > best.fps:
        raise SearchError(
            f"no subnet of space '{space.name}' reaches {max(targets):g} FPS: the smallest has "
            f"{best.fps:.1f} on {name}; ask for no more, or choose a larger overlay or a space "
            "with smaller networks"
        )


def save(front: Sequence[Candidate], settings: Settings, space: Space, folder: Path) -> None:
    """Write the front, what it has for each target, and a plot:
    front.json, subnet-<target>fps.json, front.svg."""
    reached = [t for t in settings.targets if any(c.fps >= t for c in front)]
    chosen = {f"{t:g}": choose(front, t) for t in reached}
    data = {
        "space": space.name,
        "trials": settings.trials,
        "seed": settings.seed,
        "chosen": {target: c.to_dict() for target, c in chosen.items()},
        "front": [c.to_dict() for c in front],
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "front.json", json.dumps(data, indent=1) + "\n")
    for target, c in chosen.items():
        _write(folder / f"subnet-{target}fps.json", json.dumps(c.to_dict(), indent=1) + "\n")
    try:
        plot(front, chosen, folder / "front.svg")
    except ImportError:
        cli.warn("matplotlib is not installed: no front.svg; pip install -e '.[train]'")


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def plot(front: Sequence[Candidate], chosen: Mapping[str, Candidate], path: Path) -> None:
    """The front, the targets and what was chosen for each."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "quasar"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in sorted({c.overlay for c in front}):
        mine = [c for c in front if c.overlay == name]
        axes.plot([c.fps for c in mine], [c.loss for c in mine], ".", label=name)
    for target, c in chosen.items():
        axes.axvline(float(target), color="0.85", zorder=0)
        axes.plot([c.fps], [c.loss], "o", mfc="none", mec="black")
        axes.annotate(f"{target} FPS", (c.fps, c.loss), (4, 6), textcoords="offset points")
    axes.set(xlabel="frames a second", ylabel="loss")
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    with replacing(path) as file:
        file.write(picture.getbuffer())


def overlay_costs(space: Space, names: Sequence[str]) -> dict[str, CostModel]:
    """Costs on overlays of this repository."""
    return {name: OverlayCost.of(space, load_overlay(name)) for name in names}


def starts(
    space: Space, path: Sequence[Subnet], costs: Mapping[str, CostModel], settings: Settings
) -> list[Start]:
    """What to begin with, at most two thirds of a population: for each target the subnets with most
    work that keep it, of `path` (subnets ever better and slower) and of the space's uniform ones,
    over all overlays; then the path from end to end."""
    room = 2 * settings.population // 3
    each = max(1, room // (3 * len(settings.targets)))
    chosen: list[Start] = []
    for pool in (path, uniform_subnets(space)):
        rated = [
            (subnet.work(), cost.fps, i, name)
            for i, subnet in enumerate(pool)
            for name, cost in ((name, of(subnet)) for name, of in costs.items())
            if cost.excess <= 0
        ]
        rated.sort(reverse=True)
        for target in settings.targets:
            fast = [(pool[i], name) for _, fps, i, name in rated if fps >= target]
            chosen += [start for start in fast if start not in chosen][:each]
    names = itertools.cycle(costs)
    thin = path[:: max(1, 3 * len(path) // settings.population)]
    return [*chosen, *zip(thin, names, strict=False)][:room]


def uniform_subnets(space: Space) -> list[Subnet]:
    """Those whose blocks and matrices are all alike."""
    choices = itertools.product(space.widths, space.depths, space.heads, space.shares)
    return [
        Subnet.uniform(width, depth, heads, mlp, share)
        for width, depth, heads, share in choices
        for mlp in space.hidden(width)
    ]


def load_loss(
    run: Path | None, images: Path | None, effects: EffectLoss | None, space: Space
) -> Loss:
    """The loss that the command's options ask for. SpaceError when it knows nothing of `space`."""
    if run is not None and images is not None:
        loss = SupernetLoss.load(run, images)
        loss.run.supernet.space.check_holds(space)
        return loss
    if effects is not None and run is None and images is None:
        effects(space.largest())
        effects(space.smallest())
        return effects
    raise click.UsageError("give --effects, or --run with --images, or all three")


@contextmanager
def stored(folder: Path) -> Iterator[str]:
    """The storage of a search in a folder, as Optuna's URL. SearchError when it cannot be read or
    written: a read-only folder, a full disk, another file of that name."""
    path = folder / "search.db"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with open_regular(path, SearchError) as file:
                if file.read(len(SQLITE)) not in (SQLITE, b""):
                    raise SearchError(f"{path}: no search's storage; choose another folder")
        yield f"sqlite:///{quote(str(path))}"
    except OSError as e:
        raise SearchError(f"{folder}: cannot be written ({e.strerror})") from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as e:
        cause = e.__cause__ or e
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        raise SearchError(
            f"{path}: {reason}; the trials before this are kept, the same command goes on"
        ) from None


KEPT = "the trials are kept in OUT/search.db, the same command goes on"


@click.command(cls=cli.Command, kept=KEPT)
@click.argument("out", type=Path)
@click.option("--space", "space_name", default="vit_tiny", show_default=True, help="Or a .yaml.")
@click.option("--effects", type=Path, help="Of train.predictor: the loss, or, with --run, a start.")
@click.option("--run", type=Path, help="Loss: a supernet's run, on its held-out pictures.")
@click.option("--images", type=Path, help="The pictures of which that run held some out.")
@click.option("--overlay", "names", multiple=True, help="Default: b1024.")
@click.option("--budget", help="In place of --overlay: any array within it, such as dsp=600.")
@click.option(
    "--target", "targets", type=cli.POSITIVE, multiple=True, required=True, help="FPS wanted."
)
@click.option(
    "--trials", type=cli.COUNT, default=2000, show_default=True, help="Subnets rated in all."
)
@click.option("--population", type=click.IntRange(2, 10_000), default=48, show_default=True)
@click.option("--seed", type=cli.SEED, default=0, show_default=True)
def main(
    out: Path,
    space_name: str,
    effects: Path | None,
    run: Path | None,
    images: Path | None,
    names: tuple[str, ...],
    budget: str | None,
    targets: tuple[float, ...],
    trials: int,
    population: int,
    seed: int,
) -> None:
    """Search a space; write the front and a subnet for each target into the folder OUT.

    Run it again to carry on, with more trials to go further, or several times at once to share the
    work: trials are kept in OUT/search.db.
    """
    if budget is not None and names:
        raise click.UsageError("give either --overlay or --budget")
    cli.check_folder(out)
    space = Space.load(space_name)
    costs: Mapping[str, CostModel]
    if budget is None:
        costs = overlay_costs(space, names or (PREFERRED,))
    else:
        costs = shape_costs(space, parse_budget(budget))
    require_reachable(space, costs, targets)
    rows = EffectLoss.load(effects) if effects else None
    loss = load_loss(run, images, rows, space)
    settings = Settings(targets, trials, population, seed)
    with stored(out) as storage:
        study = Search(space, loss, costs, settings, storage)
        path: list[Subnet] = []
        if rows is not None:
            first = next(iter(costs.values()))
            path = rows.path(space, lambda subnet: first(subnet).cycles)
        front = study.run(starts(space, path, study.costs, settings))
    try:
        save(front, settings, space, out)
        for target in targets:
            best = choose(front, target)
            cost = costs[best.overlay]
            if isinstance(cost, ShapeCost):
                _write(out / f"overlay-{target:g}fps.json", overlay_text(cost.overlay(best.subnet)))
    except DataError as e:
        raise DataError(f"{e}; {KEPT.replace('OUT', str(out))}") from None
    for target in targets:
        c = choose(front, target)
        click.echo(
            f"{target:g} FPS: loss {c.loss:.5f} at {c.fps:.1f} FPS on {c.overlay}, "
            f"{100 * c.subnet.share8():.0f} % of the work in 8 bits"
        )


if __name__ == "__main__":
    main()
