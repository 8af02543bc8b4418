"""The search: the subnets of a space that no other beats in both loss and frame rate.

NSGA-II (Deb et al., 2002) runs over the whole network at once. A subnet's genes are its width, its
depth and one per block (heads, MLP width, four shares of 8-bit rows), and the array's shape where
there is a choice. The search takes two predictors, a loss and a cost, and knows nothing of training
or hardware. Trials live in an Optuna storage: a search can be stopped, carried on, and shared by
several processes.
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from quasar_runtime.files import open_regular
from quasar_runtime.isa.overlay import load_overlay

from ..cost.cycles import Cost, CostModel, OverlayCost
from ..spaces.genome import Genome
from ..spaces.space import Space, Subnet
from .candidates import Candidate, Design, SearchError, pareto

STUDY = "search"
SQLITE = b"SQLite format 3\0"
"""First bytes of SQLite's files."""
FOUND = "found"
"""User attribute of a trial that holds its candidate."""

Loss = Callable[[Subnet], float]
"""How much worse than its teacher a subnet is; 0 is best."""


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search.

    targets: frames per second for which a subnet is asked; slower subnets than the least target are
    not rated. trials: of the whole study, earlier runs and other processes included.
    """

    targets: tuple[float, ...]
    trials: int = 1000
    population: int = 48
    seed: int = 0


class Sampler(optuna.samplers.NSGAIISampler):
    """NSGA-II whose generations the genome breeds.

    Each trial has a random generator of its own, so that a search that is carried on makes the same
    choices. The first generation holds `start`, the space's ends, and random subnets.
    """

    def __init__(self, genome: Genome, settings: SearchSettings, start: Sequence[Design]) -> None:
        super().__init__(population_size=settings.population, seed=settings.seed)
        self.genome, self.seed = genome, settings.seed
        smallest, largest = genome.space.smallest(), genome.space.largest()
        ends = [(subnet, name) for subnet in (smallest, largest) for name in genome.overlays]
        self.first = [*start, *ends]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The genes that have more than one choice."""
        counts = self.genome.genes.items()
        return {name: IntDistribution(0, count - 1) for name, count in counts if count > 1}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, int]:
        """The genes of a trial: a child of the last generation, or one of the first."""
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
    """A study in a storage: an Optuna URL such as sqlite:///front.db, or None.

    SearchError when no subnet can reach the targets, or the storage holds another search.
    """

    def __init__(
        self,
        space: Space,
        loss: Loss,
        costs: Mapping[str, CostModel],
        settings: SearchSettings,
        storage: str | None = None,
    ) -> None:
        self.space, self.loss, self.costs, self.settings = space, loss, costs, settings
        self.genome = Genome(space, list(costs))
        self.rated: dict[Subnet, float] = {}
        require_reachable(space, costs, settings.targets)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=None if storage is None else open_storage(storage),
            study_name=STUDY,
            directions=["minimize", "maximize"],
            load_if_exists=True,
        )
        self._claim()

    def _claim(self) -> None:
        """Write what is searched into the storage, or compare it with what is there."""
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

    def run(self, start: Sequence[Design] = ()) -> list[Candidate]:
        """Rate subnets until the study has its trials; returns the front, fastest first.

        start: designs to begin with, besides the space's ends and random subnets.
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
        """The candidates that no other beats in both loss and frame rate, fastest first."""
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
    """The candidate of a trial; None where it was not rated."""
    data = trial.user_attrs.get(FOUND)
    if data is None:
        return None
    subnet = Subnet.from_dict(data["subnet"])
    return Candidate(subnet, data["overlay"], *(data[k] for k in ("loss", "fps", "cycles")))


def require_reachable(
    space: Space, costs: Mapping[str, CostModel], targets: Sequence[float]
) -> None:
    """SearchError, with the best that can be reached, when no subnet meets a target.

    The smallest subnet is the fastest and needs the least memory.
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


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage at a URL.

    An SQLite file gets a write-ahead log: a search that waits for the disk in every transaction
    spends more than half of its time there. A killed process loses nothing; a power failure loses
    the last trials, which are then tried again.
    """
    storage = optuna.storages.RDBStorage(url)
    if storage.engine.dialect.name == "sqlite":

        @sqlalchemy.event.listens_for(storage.engine, "connect")
        def log_ahead(connection: Any, _record: object) -> None:
            with suppress(sqlite3.OperationalError):  # a file system without shared memory
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        storage.engine.dispose()  # whatever is connected already
    return storage


def overlay_costs(space: Space, names: Sequence[str]) -> dict[str, CostModel]:
    """The costs of a space's subnets on named overlays. OverlayError for an unknown name."""
    return {name: OverlayCost.of(space, load_overlay(name)) for name in names}


@contextmanager
def stored(folder: Path) -> Iterator[str]:
    """The storage of a search in a folder, as Optuna's URL.

    SearchError when it cannot be read or written: a read-only folder, a full disk, another file of
    that name.
    """
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
