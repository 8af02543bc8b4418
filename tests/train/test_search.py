"""The search on small spaces whose fronts are known, with a loss that is a formula."""

import itertools
import json
import multiprocessing
import random
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from click.testing import CliRunner

from quasar_runtime.isa.overlay import load_overlay
from train.commands.search import search as main
from train.cost.cycles import Cost, Need, OverlayCost
from train.cost.loss import EffectLoss
from train.search.candidates import Candidate, SearchError, choose, pareto
from train.search.front import save_front
from train.search.initial_population import initial_population, uniform_subnets
from train.search.study import Search, SearchSettings
from train.spaces.genome import Genome
from train.spaces.space import MATRICES, SHARES, BlockConfig, Space, SpaceError, Subnet

SMALL = Space.parse(
    "small",
    {
        "image_size": 32,
        "classes": 10,
        "widths": [64, 96],
        "depths": [1, 2],
        "heads": [1, 2],
        "mlp": [64, 128],
        "shares": [0, 1],
    },
)


def weight(number: int, matrix: str) -> float:
    return random.Random(f"{number} {matrix}").uniform(0.5, 2)


def loss(subnet: Subnet) -> float:
    """Less for every weight and every 8-bit row, more or less so by matrix."""
    gain = 0.0
    for i, block in enumerate(subnet.blocks):
        rows8 = block.rows8(subnet.width)
        for matrix, (rows, inputs) in block.shapes(subnet.width).items():
            gain += weight(i, matrix) * (rows + rows8[matrix]) * inputs
    return 1 / gain


def cost(subnet: Subnet) -> Cost:
    """A frame rate by the multiplications; there is room for 100 channels of residual."""
    work = sum(
        (rows + block.rows8(subnet.width)[m]) * inputs
        for block in subnet.blocks
        for m, (rows, inputs) in block.shapes(subnet.width).items()
    )
    return Cost(work, 1e7 / work, (Need("channels", subnet.width, 100),))


def everything(space: Space) -> list[Subnet]:
    """All subnets of a space of few."""
    found = []
    for width in space.widths:
        shares = itertools.product(space.shares, repeat=len(SHARES))
        choices = itertools.product(space.heads, space.hidden(width), shares)
        blocks = [BlockConfig(heads, mlp, *share) for heads, mlp, share in choices]
        for depth in space.depths:
            found += [Subnet(width, b) for b in itertools.product(blocks, repeat=depth)]
    return found


def run(trials: int, storage: str | None = None, seed: int = 0) -> list[Candidate]:
    settings = SearchSettings((60.0, 120.0), trials, population=20, seed=seed)
    return Search(SMALL, loss, {"made up": cost}, settings, storage).run()


def hypervolume(front: list[Candidate]) -> float:
    """Area that the front dominates, towards no frames per second and a loss of 1e-4."""
    area, above = 0.0, 1e-4
    for c in front:
        area += c.fps * max(0.0, above - c.loss)
        above = min(above, c.loss)
    return area


def test_the_front_is_close_to_the_best_there_is() -> None:
    subnets = everything(SMALL)
    assert len(subnets) == 2 * (64 + 64**2)
    rated = [Candidate(s, "made up", loss(s), cost(s).fps, cost(s).cycles) for s in subnets]
    best = pareto([c for c in rated if c.fps >= 60])
    found = run(600)
    assert hypervolume(found) > 0.98 * hypervolume(best)
    chance = random.Random(0).sample([c for c in rated if c.fps >= 60], 600)
    assert hypervolume(found) > hypervolume(pareto(chance))


def test_no_member_of_the_front_beats_another() -> None:
    front = run(80)
    for slower, faster in itertools.combinations(reversed(front), 2):
        assert slower.fps < faster.fps
        assert slower.loss < faster.loss
    assert all(SMALL.contains(c.subnet) for c in front)
    assert min(c.fps for c in front) >= 60


def test_what_has_been_rated_is_not_rated_again() -> None:
    calls: list[Subnet] = []

    def counted(subnet: Subnet) -> float:
        calls.append(subnet)
        return loss(subnet)

    settings = SearchSettings((60.0,), 120, population=20)
    Search(SMALL, counted, {"made up": cost}, settings).run()
    assert len(calls) == len(set(calls)) < 120
    assert min(cost(s).fps for s in calls) >= 60


def test_a_search_carried_on_gives_what_one_without_a_break_gives(tmp_path: Path) -> None:
    whole = run(90, f"sqlite:///{tmp_path / 'whole.db'}")
    parts = f"sqlite:///{tmp_path / 'parts.db'}"
    run(35, parts)
    assert run(90, parts) == whole
    assert run(90, seed=1) != whole


def work(storage: str) -> None:
    run(60, storage)


def test_workers_share_a_storage(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    run(1, storage)
    processes = [
        multiprocessing.get_context("spawn").Process(target=work, args=(storage,)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    search = Search(SMALL, loss, {"made up": cost}, SearchSettings((60.0, 120.0), 60, 20), storage)
    trials = search.study.get_trials()
    assert 60 <= sum(t.state.is_finished() for t in trials) <= 62
    assert search.front() == pareto(search.front())


def test_another_search_in_the_same_storage_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    run(5, storage)
    with pytest.raises(SearchError, match=r"targets \[60.0, 120.0\], not \[70.0\]; give the same"):
        Search(SMALL, loss, {"made up": cost}, SearchSettings((70.0,)), storage)


def test_a_target_out_of_reach_ends_with_the_best_reachable() -> None:
    best = cost(SMALL.smallest()).fps
    with pytest.raises(SearchError) as caught:
        Search(SMALL, loss, {"made up": cost}, SearchSettings((2000.0,)))
    assert f"reaches 2000 FPS: the smallest has {best:.1f} on made up" in str(caught.value)
    b1024 = {"b1024": OverlayCost.of(Space.load("vit_tiny"), load_overlay("b1024"))}
    with pytest.raises(SearchError, match=r"reaches 5000 FPS: the smallest has \d+\.\d on b1024"):
        Search(Space.load("vit_tiny"), loss, b1024, SearchSettings((160.0, 5000.0)))


def test_a_space_that_does_not_fit_ends_with_what_is_lacking() -> None:
    def cramped(subnet: Subnet) -> Cost:
        return Cost(1, 1, (Need("channels", subnet.width, 32),))

    with pytest.raises(SearchError, match="fits: on tiny its smallest needs 64 channels, the over"):
        Search(SMALL, loss, {"tiny": cramped}, SearchSettings((1.0,)))


def test_of_several_overlays_each_subnet_takes_one() -> None:
    def slower(subnet: Subnet) -> Cost:
        c = cost(subnet)
        return Cost(2 * c.cycles, c.fps / 2, c.needs)

    settings = SearchSettings((60.0,), 100, population=20)
    front = Search(SMALL, loss, {"slow": slower, "fast": cost}, settings).run()
    assert {c.overlay for c in front} == {"fast"}


@pytest.mark.parametrize("name", ["vit_tiny", "small", "vit_tiny_rows"])
def test_genes_are_a_subnets_own(name: str) -> None:
    space = Space.load(name)
    genome, rng = Genome(space, ["one", "two"]), random.Random(0)
    parents = []
    for _ in range(20):
        subnet = space.sample(rng)
        genes = genome.encode(subnet, "two")
        assert all(0 <= value < genome.genes[gene] for gene, value in genes.items())
        assert genome.decode(genes) == (subnet, "two")
        parents.append(genes)
    for _ in range(50):
        child, _ = genome.decode(genome.child(parents, rng))
        space.check(child)


def test_a_search_begins_with_what_is_nearest_to_its_targets() -> None:
    settings = SearchSettings((60.0, 120.0), population=30)

    def slower(subnet: Subnet) -> Cost:
        c = cost(subnet)
        return Cost(2 * c.cycles, c.fps / 2, c.needs)

    path = sorted(random.Random(1).sample(everything(SMALL), 40), key=Subnet.work)
    found = initial_population(SMALL, path, {"slow": slower, "fast": cost}, settings)
    assert len(found) <= 20
    for pool in (path, uniform_subnets(SMALL)):
        for target in settings.targets:
            most = max(s.work() for s in pool if cost(s).fps >= target)
            assert most in [s.work() for s, name in found if s in pool and name == "fast"]
    assert path[0] in [subnet for subnet, _ in found]
    assert all(SMALL.contains(subnet) for subnet, _ in found)


def test_what_is_chosen_is_the_best_that_keeps_the_promise() -> None:
    subnet = SMALL.smallest()
    front = [Candidate(subnet, "b", lost, fps, 1) for lost, fps in ((3, 30), (2, 20), (1, 10))]
    assert choose(front, 15).fps == 20
    assert choose(front, 20).fps == 20
    with pytest.raises(SearchError, match=r"reaches 31 FPS, the fastest 30\.0"):
        choose(front, 31)


def test_the_front_is_written_with_a_subnet_for_each_target(tmp_path: Path) -> None:
    front = run(60)
    save_front(front, SearchSettings((60.0, 120.0), 60), SMALL, tmp_path)
    data = json.loads((tmp_path / "front.json").read_text())
    assert [Subnet.from_dict(c["subnet"]) for c in data["front"]] == [c.subnet for c in front]
    one = json.loads((tmp_path / "subnet-120fps.json").read_text())
    assert one == data["chosen"]["120"]
    assert one["fps"] >= 120
    assert (tmp_path / "front.svg").read_text().startswith("<?xml")


def made_up_effects(seed: int = 0) -> EffectLoss:
    """Effects of a network 64 wide with two blocks of one head and 64 hidden units."""
    rng = random.Random(seed)
    shapes = BlockConfig(1, 64, 0, 0, 0, 0).shapes(64)
    effects = {
        f"blocks.{i}.{m}": [rng.expovariate(1) for _ in range(shapes[m][0])]
        for i in range(2)
        for m in MATRICES
    }
    for i in range(2):
        units = sorted((rng.expovariate(0.1) for _ in range(64)), reverse=True)
        effects[f"blocks.{i}.units"] = units
    return EffectLoss(effects)


def test_the_loss_of_a_mix_is_half_the_effects_of_its_4_bit_rows() -> None:
    loss = made_up_effects()
    assert loss(Subnet.uniform(64, 2, 1, 64, 1.0)) == 0
    rows = [e for name, e in loss.effects.items() if not name.endswith("units")]
    assert loss(Subnet.uniform(64, 2, 1, 64, 0.0)) == pytest.approx(sum(e.sum() for e in rows) / 2)
    block = BlockConfig(1, 64, 0.5, 1, 1, 1)
    kept = sorted(loss.effects["blocks.1.qkv"])[:96]
    subnet = Subnet(64, (BlockConfig(1, 64, 1, 1, 1, 1), block))
    assert loss(subnet) == pytest.approx(sum(kept) / 2)


def test_missing_hidden_units_cost_what_they_wrote_and_save_their_rows() -> None:
    loss = made_up_effects()
    narrow = Subnet(64, (BlockConfig(1, 32, 1, 1, 0.5, 1), BlockConfig(1, 64, 1, 1, 1, 1)))
    units = loss.effects["blocks.0.units"][32:].sum()
    rows = sorted(loss.effects["blocks.0.fc1"][:32])[:16]
    assert loss(narrow) == pytest.approx((units + sum(rows)) / 2)


def test_the_path_rises_from_the_smallest_to_the_largest() -> None:
    choices = {"widths": [64], "depths": [2], "heads": [1], "mlp": [32, 64], "shares": [0, 0.5, 1]}
    space = Space.parse("one", {"image_size": 32, "classes": 10, **choices})
    loss = made_up_effects()
    path = loss.path(space, lambda subnet: cost(subnet).cycles)
    assert (path[0], path[-1]) == (space.smallest(), space.largest())
    assert len(path) == 1 + 2 * (1 + 4 * 2)
    assert all(space.contains(subnet) for subnet in path)
    losses = [loss(subnet) for subnet in path]
    assert losses[-1] == 0
    rng = random.Random(3)
    for other in (space.sample(rng) for _ in range(300)):
        for subnet, lost in zip(path, losses, strict=True):
            # Steps of different sizes leave small gaps to the best.
            assert loss(other) >= 0.8 * lost or cost(other).fps < cost(subnet).fps


def test_the_loss_of_another_geometry_is_not_known() -> None:
    with pytest.raises(SpaceError, match="are of 2 blocks, the subnet has 1; search a space of"):
        made_up_effects()(Subnet.uniform(64, 1, 1, 64, 1.0))
    with pytest.raises(SpaceError, match="fc1 has 96 rows, the effects are of 64"):
        made_up_effects()(Subnet.uniform(64, 2, 1, 96, 1.0))
    with pytest.raises(SpaceError, match="qkv has 384 rows, the effects are of 192"):
        made_up_effects()(Subnet.uniform(64, 2, 2, 64, 1.0))


def test_the_search_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(
        "{image_size: 32, classes: 10, widths: [64], depths: [2], heads: [1], mlp: [64],"
        " shares: [0, 0.5, 1]}"
    )
    made_up_effects().save(tmp_path / "effects.npz")
    arguments = [str(tmp_path / "out"), "--space", str(tmp_path / "rows.yaml"), "--overlay", "b64"]
    arguments += ["--effects", str(tmp_path / "effects.npz"), "--trials", "40"]
    result = CliRunner().invoke(main, [*arguments, "--target", "3000"])
    assert result.exit_code == 0, result.output
    assert "3000 FPS: loss" in result.output
    chosen = json.loads((tmp_path / "out" / "subnet-3000fps.json").read_text())
    assert chosen["fps"] >= 3000
    again = CliRunner().invoke(main, [*arguments, "--target", "1e6"])
    assert again.exit_code == 1
    assert "reaches 1e+06 FPS: the smallest has" in again.output
