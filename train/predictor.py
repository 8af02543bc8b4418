"""What a search asks for a subnet's loss: a supernet, or, without training, each row's effect.

    python -m train.predictor --checkpoint CHECKPOINT --images IMAGES --out effects.npz

Both are divergences from the float network: a few hundred pictures tell more by them than by how
many answers are right.

A row's effect is the squared error that 4 bits in place of 8 cause in its result, times the squared
gradient of the network's output there (train/rows.py). Half their sum over the 4-bit rows is, to
second order and as if rows erred independently, the Kullback-Leibler divergence from the float
network that the mix adds to that of all rows in 8 bits.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from quasar_runtime.errors import QuasarError
from train.space import MATRICES, SHARES, Space, SpaceError, Subnet


class RowLoss:
    """The loss of a mix of a network's rows: a callable Subnet -> float.

    effects: by matrix ("blocks.N.qkv" and so on), (rows,). A matrix's 8-bit rows are those of the
    greatest effects. A subnet must have the network's own geometry: what pruning costs is not known
    here.
    """

    def __init__(self, effects: Mapping[str, npt.ArrayLike]) -> None:
        self.effects = {name: np.asarray(e, np.float64) for name, e in effects.items()}
        self.depth = len(self.effects) // len(MATRICES)
        self.saved = {
            name: np.concatenate([[0.0], np.sort(e)[::-1].cumsum()]) / 2
            for name, e in self.effects.items()
        }

    @classmethod
    def load(cls, path: Path) -> RowLoss:
        """From the .npz that `save` wrote. SpaceError when it is none."""
        try:
            with np.load(path) as data:
                return cls({name: data[name] for name in data.files})
        except (OSError, ValueError) as e:
            raise SpaceError(
                f"{path} holds no row effects ({e}); make them by python -m train.predictor"
            ) from None

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            arrays: dict[str, Any] = {n: e.astype(np.float32) for n, e in self.effects.items()}
            np.savez(file, **arrays)

    def __call__(self, subnet: Subnet) -> float:
        return sum(self._lost(subnet, i, m) for i in range(self.depth) for m in MATRICES)

    def _lost(self, subnet: Subnet, number: int, matrix: str) -> float:
        """What the 4-bit rows of a matrix cost."""
        saved = self.saved[f"blocks.{number}.{matrix}"]
        if subnet.depth != self.depth:
            raise SpaceError(
                f"the row effects are of {self.depth} blocks, the subnet has {subnet.depth}; "
                "search a space of the checkpoint's own geometry, or with a supernet"
            )
        block = subnet.blocks[number]
        rows = block.shapes(subnet.width)[matrix][0]
        if rows != len(saved) - 1:
            raise SpaceError(
                f"block {number}: {matrix} has {rows} rows, the row effects are of "
                f"{len(saved) - 1}; search a space of the checkpoint's own geometry, or with a "
                "supernet"
            )
        return float(saved[-1] - saved[block.rows8(subnet.width)[matrix]])

    def path(self, space: Space) -> list[Subnet]:
        """Subnets from all 4-bit to all 8-bit, a matrix's share raised at each step where that
        saves most for its multiplications: near the best for a loss that is a sum over rows."""
        subnet = replace(space.largest(), blocks=space.smallest().blocks)
        steps = [subnet]
        queue: list[tuple[float, int, int, int]] = []

        def offer(subnet: Subnet, number: int, which: int, choice: int) -> None:
            if choice < len(space.shares):
                higher = self._raised(subnet, number, which, space.shares[choice])
                matrix = MATRICES[which]
                old, new = (s.blocks[number].rows8(s.width)[matrix] for s in (subnet, higher))
                inputs = subnet.blocks[number].shapes(subnet.width)[matrix][1]
                saved = self._lost(subnet, number, matrix) - self._lost(higher, number, matrix)
                rate = saved / max(1, (new - old) * inputs)
                heapq.heappush(queue, (-rate, number, which, choice))

        for number in range(self.depth):
            for which in range(len(MATRICES)):
                offer(subnet, number, which, 1)
        while queue:
            _, number, which, choice = heapq.heappop(queue)
            subnet = self._raised(subnet, number, which, space.shares[choice])
            steps.append(subnet)
            offer(subnet, number, which, choice + 1)
        return steps

    @staticmethod
    def _raised(subnet: Subnet, number: int, which: int, share: float) -> Subnet:
        blocks = list(subnet.blocks)
        change: dict[str, Any] = {SHARES[which]: share}
        blocks[number] = replace(blocks[number], **change)
        return replace(subnet, blocks=tuple(blocks))


class SupernetLoss:
    """The divergence of a supernet's subnets from its teacher on pictures that it was not trained
    on: a callable Subnet -> float."""

    def __init__(self, supernet: Any, teacher: Any, images: Any) -> None:
        self.supernet, self.teacher, self.images = supernet, teacher, images

    @classmethod
    def load(cls, folder: Path, images: Path) -> SupernetLoss:
        """Of a run's folder and the pictures of which the run held some out."""
        from train.run import load_run, pictures
        from train.views import Source, split

        run, source = load_run(folder), Source(images)
        recipe = run.recipe
        held_out = split(source.names, recipe.parts, recipe.held_out, recipe.seed).held_out
        return cls(run.supernet, run.teacher, pictures(source, held_out, run.preprocessing))

    def __call__(self, subnet: Subnet) -> float:
        from train.run import nearness

        return float(nearness(self.supernet, subnet, self.teacher, self.images).divergence)


def measure_effects(checkpoint: Path, images: Path) -> RowLoss:
    """The effects of a float checkpoint's rows on the calibration images that an export uses."""
    from train.calibrate import build, observe
    from train.checkpoint import load_checkpoint
    from train.export import TAME_IMAGES, Recipe, set_up, split_pictures
    from train.fold import fold
    from train.massive import tame
    from train.rows import row_effects

    set_up()
    recipe = Recipe(share8=0.5)
    source = load_checkpoint(checkpoint)
    pictures, _ = split_pictures(images, source.preprocessing, recipe)
    folded = fold(source)
    tame(folded, observe(folded, pictures[:TAME_IMAGES], recipe.seed), pictures[:TAME_IMAGES])
    found = observe(folded, pictures, recipe.seed)
    effects = row_effects(build(folded, found, recipe.share8), folded, found)
    return RowLoss({name: effect.numpy() for name, effect in effects.items()})


@click.command()
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="ImageFolder or tar of one.")
@click.option("--out", type=Path, required=True, help="The .npz to write.")
def main(checkpoint: Path, images: Path, out: Path) -> None:
    """Measure what each row of a checkpoint loses by 4 bits."""
    try:
        loss = measure_effects(checkpoint, images)
        loss.save(out)
    except QuasarError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(1)
    total = sum(e.sum() for e in loss.effects.values()) / 2
    click.echo(f"{out}: {len(loss.effects)} matrices, {total:.4f} in all when every row is 4-bit")


if __name__ == "__main__":
    main()
