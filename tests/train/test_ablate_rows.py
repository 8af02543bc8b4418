"""Ways of assigning bits at equal cycles."""

import itertools
from pathlib import Path

import pytest

pytest.importorskip("optuna")

import torch
from click.testing import CliRunner

from quasar_runtime.isa.overlay import load_overlay
from train.commands.ablate import ablate as main
from train.cost.cycles import OverlayCost
from train.cost.loss import EffectLoss
from train.pipelines.ablate_rows import (
    Bits,
    lost,
    random_rows,
    ranked_rows,
    subnet_of_bits,
    whole_matrices,
)
from train.search.candidates import SearchError
from train.spaces.space import MATRICES, BlockConfig

WIDTH, HIDDEN = 64, 128


def effects(seed: int) -> dict[str, torch.Tensor]:
    """Of two blocks of one head."""
    g = torch.Generator().manual_seed(seed)
    shapes = BlockConfig(1, HIDDEN, 0, 0, 0, 0).shapes(WIDTH)
    return {
        f"blocks.{i}.{m}": torch.rand(shapes[m][0], generator=g) ** 4
        for i in range(2)
        for m in MATRICES
    }


COSTS = {
    f"blocks.{i}.{m}": BlockConfig(1, HIDDEN, 0, 0, 0, 0).shapes(WIDTH)[m][1]
    for i in range(2)
    for m in MATRICES
}


def cycles_of(bits: Bits) -> float:
    """As an array takes whose groups are always full: a sum over rows."""
    return 16 * subnet_of_bits(bits).work()


def gained(bits: Bits, effect: dict[str, torch.Tensor]) -> float:
    return float(sum(effect[name][b == 8].double().sum() for name, b in bits.items()))


def all_rows(precision: int) -> Bits:
    return {name: torch.full((len(e),), precision) for name, e in effects(0).items()}


def budget(share: float) -> float:
    least, most = cycles_of(all_rows(4)), cycles_of(all_rows(8))
    return least + share * (most - least)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_rows_by_effect_use_the_budget_and_no_more(share: float) -> None:
    bits = ranked_rows(effects(1), COSTS, cycles_of, budget(share))
    assert cycles_of(bits) <= budget(share)
    assert cycles_of(bits) > budget(share - 0.15)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_no_set_of_whole_matrices_within_the_budget_gains_more(share: float) -> None:
    effect = effects(2)
    found = whole_matrices(effect, cycles_of, budget(share))
    assert cycles_of(found) <= budget(share)
    assert all(len(b.unique()) == 1 for b in found.values())
    best = 0.0
    for choice in itertools.product((4, 8), repeat=len(effect)):
        bits = {
            name: torch.full((len(e),), c)
            for (name, e), c in zip(effect.items(), choice, strict=True)
        }
        # The knapsack rounds each matrix's cycles up.
        if cycles_of(bits) <= budget(share) - 0.05 * budget(1):
            best = max(best, gained(bits, effect))
    assert gained(found, effect) >= best > 0


def test_too_few_cycles_for_4_bits_are_refused() -> None:
    with pytest.raises(SearchError, match="all rows 4-bit take"):
        whole_matrices(effects(3), cycles_of, budget(-0.1))


def test_random_rows_are_as_many_in_each_matrix() -> None:
    ranked = ranked_rows(effects(4), COSTS, cycles_of, budget(0.5))
    drawn = random_rows(ranked, seed=0)
    assert cycles_of(drawn) == cycles_of(ranked)
    assert any((drawn[name] != ranked[name]).any() for name in ranked)
    for name, bits in ranked.items():
        assert (drawn[name] == 8).sum() == (bits == 8).sum()
    assert all((random_rows(ranked, 0)[n] == b).all() for n, b in drawn.items())


def test_what_is_predicted_is_half_the_effects_of_the_4_bit_rows() -> None:
    effect = effects(5)
    bits = ranked_rows(effect, COSTS, cycles_of, budget(0.5))
    everything = sum(float(e.double().sum()) for e in effect.values())
    assert lost(bits, effect) == pytest.approx((everything - gained(bits, effect)) / 2)


def test_the_prediction_is_a_table(tmp_path: Path) -> None:
    units = {f"blocks.{i}.units": [0.0] * HIDDEN for i in range(2)}
    loss = EffectLoss({**{name: e.numpy() for name, e in effects(6).items()}, **units})
    loss.save(tmp_path / "effects.npz")
    cost = OverlayCost(load_overlay("b1024"), 224, 1000)
    slow, fast = (cost(subnet_of_bits(all_rows(precision))).fps for precision in (8, 4))
    arguments = ["predicted", str(tmp_path / "effects.npz")]
    for part in (0.3, 0.6):
        arguments += ["--fps", str(slow + part * (fast - slow))]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    rows = [line.split("|")[1:-1] for line in result.output.splitlines()]
    assert [cell.strip() for cell in rows[0]] == [
        "FPS",
        "rows by effect",
        "whole matrices",
        "as many random rows",
    ]
    for ranked, whole, drawn in ([float(c) for c in row[1:]] for row in rows[2:]):
        assert ranked < whole
        assert ranked < drawn
