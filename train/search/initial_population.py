"""What a search begins with: near the targets, before anything is known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..cost.cycles import CostModel
from ..spaces.space import Space, Subnet
from .candidates import Design
from .study import SearchSettings


def initial_population(
    space: Space, path: Sequence[Subnet], costs: Mapping[str, CostModel], settings: SearchSettings
) -> list[Design]:
    """At most two thirds of a population.

    For each target the subnets with the most work that reach it, over all overlays: of `path`
    (subnets of falling loss and frame rate) and of the space's uniform ones. Then the path from end
    to end.
    """
    room = 2 * settings.population // 3
    each = max(1, room // (3 * len(settings.targets)))
    chosen: list[Design] = []
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
            chosen += [design for design in fast if design not in chosen][:each]
    names = itertools.cycle(costs)
    thin = path[:: max(1, 3 * len(path) // settings.population)]
    return [*chosen, *zip(thin, names, strict=False)][:room]


def uniform_subnets(space: Space) -> list[Subnet]:
    """The subnets of a space whose blocks and matrices are all alike."""
    choices = itertools.product(space.widths, space.depths, space.heads, space.shares)
    return [
        Subnet.uniform(width, depth, heads, mlp, share)
        for width, depth, heads, share in choices
        for mlp in space.hidden(width)
    ]
