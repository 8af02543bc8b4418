"""What a search asks for a subnet's loss: a supernet, or, without training, effects on the output.

    python -m train.predictor --checkpoint CHECKPOINT --images IMAGES --out effects.npz

Both are divergences from the float network: a few hundred pictures tell more by them than by how
many answers are right.

The effect of a row is the squared error that 4 bits in place of 8 cause in its result, that of a
hidden unit what it writes to the residual, each times the squared gradient of the network's output
there (train/quantise/rows.py, train/quantise/order.py). Half their sum over 4-bit rows and missing
units is, to second order and as if each erred alone, the Kullback-Leibler divergence from the float
network that they add to that of all rows in 8 bits, before any training makes up for it.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt

from quasar_runtime.devices.catalogue import open_device
from quasar_runtime.errors import CompileError, DeviceNotFound, ModelValueError
from quasar_runtime.files import open_regular, replacing

from . import command as cli
from .spaces.space import MATRICES, SHARES, Block, Space, SpaceError, Subnet

if TYPE_CHECKING:
    from torch import Tensor

    from .networks.checkpoint import Checkpoint
    from .run import Run

LARGEST = "b8192"
"""The overlay on which a supernet's subnets are rated, whatever they are searched for."""
REMEDY = "search a space of the checkpoint's own width, depth and heads, or with a supernet"


UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a file that is no .npz raises."""


def _require_effects(effects: Mapping[str, npt.NDArray[Any]]) -> None:
    """ValueError unless these are effects: (rows,) of every matrix of each block, and of units."""
    depth = len(effects) // (len(MATRICES) + 1)
    names = {f"blocks.{i}.{m}" for i in range(depth) for m in (*MATRICES, "units")}
    if not depth or set(effects) != names:
        raise ValueError("the names are not those of blocks' matrices")
    for name, values in effects.items():
        numbers = values.ndim == 1 and values.size and values.dtype.kind in "fiu"
        if not numbers or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"{name} is no list of finite numbers from 0")


class EffectLoss:
    """The loss of a mix of a network's rows with narrower MLPs: a callable Subnet -> float.

    effects: by matrix ("blocks.N.qkv" and so on), (rows,), and "blocks.N.units", (hidden units,),
    in descending order, which is that of FC1's rows. A matrix's 8-bit rows are those of the
    greatest effects. Width, depth and heads must be the network's own: what fewer cost is not known
    here.
    """

    def __init__(self, effects: Mapping[str, npt.ArrayLike]) -> None:
        self.effects = {name: np.asarray(e, np.float64) for name, e in effects.items()}
        self.depth = len(self.effects) // (len(MATRICES) + 1)
        self.missing = [
            np.concatenate([[0.0], self.effects[f"blocks.{i}.units"][::-1].cumsum()])[::-1] / 2
            for i in range(self.depth)
        ]
        self._narrow: dict[tuple[str, int], npt.NDArray[np.float64]] = {}

    @classmethod
    def load(cls, path: Path) -> EffectLoss:
        """From the .npz that `save` wrote. SpaceError when it is none."""
        with open_regular(path, SpaceError) as file:
            try:
                with np.load(file) as data:
                    effects = {name: np.asarray(data[name]) for name in data.files}
                _require_effects(effects)
                return cls(effects)
            except UNREADABLE as e:
                reason = " ".join(str(e).split())[:200]
                raise SpaceError(
                    f"{path} holds no effects ({reason}); make them by python -m train.predictor"
                ) from None

    def save(self, path: Path) -> None:
        """Write them whole. DataError when that cannot be."""
        arrays: dict[str, Any] = {n: e.astype(np.float32) for n, e in self.effects.items()}
        memory = io.BytesIO()
        np.savez(memory, **arrays)
        with replacing(path) as file:
            file.write(memory.getbuffer())

    def __call__(self, subnet: Subnet) -> float:
        if subnet.depth != self.depth:
            raise SpaceError(
                f"the effects are of {self.depth} blocks, the subnet has {subnet.depth}; {REMEDY}"
            )
        return sum(self._block(i, b, subnet.width) for i, b in enumerate(subnet.blocks))

    def _block(self, number: int, block: Block, width: int) -> float:
        """What a block's 4-bit rows and missing hidden units cost."""
        total = 0.0
        rows8 = block.rows8(width)
        for matrix, (rows, _) in block.shapes(width).items():
            name = f"blocks.{number}.{matrix}"
            have = len(self.effects[name])
            if rows > have or (rows < have and matrix != "fc1"):
                raise SpaceError(
                    f"block {number}: {matrix} has {rows} rows, the effects are of {have}; {REMEDY}"
                )
            total += float(self._narrow_rows(name, rows)[rows8[matrix]])
        return total + float(self.missing[number][block.mlp])

    def _narrow_rows(self, name: str, rows: int) -> npt.NDArray[np.float64]:
        """(rows + 1,) what the first `rows` rows cost with 0, 1, 2 ... of them in 8 bits."""
        key = (name, rows)
        if key not in self._narrow:
            ascending = np.sort(self.effects[name][:rows])
            self._narrow[key] = np.concatenate([[0.0], ascending.cumsum()])[::-1] / 2
        return self._narrow[key]

    def path(self, space: Space, cycles: Callable[[Subnet], float]) -> list[Subnet]:
        """Subnets from the narrowest in 4 bits to the widest in 8, one choice of one block a step
        higher each time, where that saves most for its cycles: near the best for a loss that is a
        sum over rows and units."""
        width, hidden = space.widths[-1], space.hidden(space.widths[-1])
        first = replace(space.smallest().blocks[0], heads=space.heads[-1], mlp=hidden[0])
        subnet = Subnet(width, (first,) * space.depths[-1])
        prices = [_prices(subnet, i, space, cycles) for i in range(subnet.depth)]
        choices: dict[str, Sequence[float]] = dict.fromkeys(SHARES, space.shares)
        choices["mlp"] = hidden

        def best(number: int) -> tuple[float, int, Block | None]:
            """(saved for its cycles, block, the block raised)."""
            block, price = subnet.blocks[number], prices[number]
            now, paid = self._block(number, block, width), price(block)
            found: tuple[float, int, Block | None] = (-np.inf, number, None)
            for name, values in choices.items():
                place = values.index(getattr(block, name)) + 1
                if place < len(values):
                    raised = _with(block, name, values[place])
                    saved = now - self._block(number, raised, width)
                    rate = saved / max(1.0, price(raised) - paid)
                    found = max(found, (rate, number, raised), key=lambda f: f[0])
            return found

        steps = [subnet]
        offers = [best(i) for i in range(subnet.depth)]
        while (offer := max(offers, key=lambda o: o[0]))[2] is not None:
            subnet = _put(subnet, offer[1], offer[2])
            steps.append(subnet)
            offers[offer[1]] = best(offer[1])
        return steps


def _with(block: Block, name: str, value: float) -> Block:
    change: dict[str, Any] = {name: value}
    return replace(block, **change)


def _put(subnet: Subnet, number: int, block: Block) -> Subnet:
    blocks = list(subnet.blocks)
    blocks[number] = block
    return replace(subnet, blocks=tuple(blocks))


def _prices(
    subnet: Subnet, number: int, space: Space, cycles: Callable[[Subnet], float]
) -> Callable[[Block], float]:
    """What a block's choices take, in cycles above the subnet's own: so much a hidden unit, so much
    an 8-bit row of each matrix. In the last block, which computes for one token, that is little."""
    width, block = subnet.width, subnet.blocks[number]
    base = cycles(subnet)
    widest = _with(block, "mlp", space.hidden(width)[-1])
    units = max(1, widest.mlp - block.mlp)
    unit = (cycles(_put(subnet, number, widest)) - base) / units
    row = {}
    for share, matrix in zip(SHARES, MATRICES, strict=True):
        wide = _with(block, share, 1.0)
        rows = wide.rows8(width)[matrix] - block.rows8(width)[matrix]
        row[matrix] = (cycles(_put(subnet, number, wide)) - base) / max(1, rows)
    # FC2's inputs are the hidden units: a row of a wider block costs in proportion.
    fc2 = row["fc2"] / block.mlp

    def price(choice: Block) -> float:
        rows8 = choice.rows8(width)
        others = sum(row[m] * rows8[m] for m in MATRICES if m != "fc2")
        return unit * choice.mlp + others + fc2 * choice.mlp * rows8["fc2"]

    return price


class SupernetLoss:
    """The divergence of a supernet's subnets from its teacher on pictures that it was not trained
    on: a callable Subnet -> float; inf for a subnet that no model file can hold.

    A subnet is rated by its integer program, which the native device runs several times faster than
    PyTorch runs the supernet, with the same activations; by the supernet where there is no such
    device, or the subnet is larger than any overlay takes.
    """

    def __init__(self, run: Run, images: Tensor) -> None:
        from .run import answers

        self.run, self.images = run, images
        self.wanted = answers(run.teacher, images)

    @classmethod
    def load(cls, folder: Path, images: Path) -> SupernetLoss:
        """Of a run's folder and the pictures of which the run held some out."""
        from .data.pictures import Source, pictures
        from .data.views import split
        from .run import load_run

        run, source = load_run(folder), Source(images)
        if run.facts["images"] != images.absolute().name:
            cli.warn(
                f"{folder} was trained on {run.facts['images']}, not on {images}: it may have seen "
                "the pictures that subnets are now rated on"
            )
        held_out = split(source.names, run.recipe).held_out
        return cls(run, pictures(source, held_out, run.preprocessing))

    def __call__(self, subnet: Subnet) -> float:
        import torch

        from .quantise.emit import emit
        from .report.evaluate import program_logits
        from .run import nearness
        from .training.trainer import divergence

        run = self.run
        labels = [(f"n{i:08}", str(i)) for i in range(run.supernet.space.classes)]
        try:
            model = emit(run.supernet.extract(subnet), "subnet", run.preprocessing, labels)
        except ModelValueError:
            return math.inf
        try:
            threads = torch.get_num_threads()
            with open_device("native", overlay=LARGEST, threads=threads) as device:
                logits = program_logits(model, self.images, device)
        except (CompileError, DeviceNotFound):
            return nearness(run.supernet, subnet, self.wanted, self.images).divergence
        return float(divergence(logits, self.wanted))


def measure_effects(checkpoint: Checkpoint, pictures: Tensor, seed: int = 0) -> EffectLoss:
    """The effects of a float checkpoint on calibration pictures, uint8 (N, S, S, 3)."""
    from .networks.folded import fold
    from .quantise.calibrate import build, observe
    from .quantise.massive import tame
    from .quantise.order import contributions, descending
    from .quantise.rows import row_effects
    from .training.initial import BALANCE, TAME_IMAGES

    folded, few = fold(checkpoint), pictures[:TAME_IMAGES]
    tame(folded, observe(folded, few, seed), few)
    found = observe(folded, pictures, seed)
    effects = row_effects(build(folded, found, BALANCE), folded, found)
    for i, block in enumerate(folded.blocks):
        moment, energy = found.moment[f"blocks.{i}.gelu"], found.energy[f"blocks.{i}.fc2"]
        units = contributions(moment, block.fc2, energy, 1)
        order = descending(units)
        effects[f"blocks.{i}.units"] = units[order]
        effects[f"blocks.{i}.fc1"] = effects[f"blocks.{i}.fc1"][order]
    return EffectLoss({name: effect.numpy() for name, effect in effects.items()})


@click.command(cls=cli.Command)
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="ImageFolder or tar of one.")
@click.option("--out", type=Path, required=True, help="The .npz to write.")
@click.option("--image-size", type=int, help="Of the pictures; default: the checkpoint's.")
@click.option("--preset", help="Preprocessing; default: by the checkpoint's file name.")
def main(
    checkpoint: Path, images: Path, out: Path, image_size: int | None, preset: str | None
) -> None:
    """Measure what each row of a checkpoint loses by 4 bits, and what each hidden unit is worth."""
    from .data.pictures import Source
    from .export import Recipe, set_up, split_pictures
    from .networks.checkpoint import load_checkpoint

    set_up()
    cli.check_file(out, images, [checkpoint])
    weights = load_checkpoint(checkpoint, preset).resized(image_size)
    found = split_pictures(Source(images), weights.preprocessing, Recipe(0.5))
    loss = measure_effects(weights, found.calibration.images)
    loss.save(out)
    total = sum(e.sum() for n, e in loss.effects.items() if not n.endswith("units")) / 2
    click.echo(f"{out}: {loss.depth} blocks, {total:.4f} in all when every row is 4-bit")


if __name__ == "__main__":
    main()
