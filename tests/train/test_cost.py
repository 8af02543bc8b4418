"""A subnet's cost is that of the program compiled from it."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("yaml")

from click.testing import CliRunner

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import program_cycles
from quasar_runtime.errors import CompileError
from quasar_runtime.isa.overlay import Overlay, load_overlay
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model
from train.commands.cost import cycles as main
from train.cost.cycles import OverlayCost
from train.spaces.space import MATRICES, BlockConfig, Space, Subnet

OVERLAYS = ("b64", "b1024", "b8192")
SPACE = Space.parse(
    "small pictures",
    {
        "image_size": 80,
        "classes": 30,
        "widths": [64, 96, 160],
        "depths": [1, 2, 3],
        "heads": [1, 2, 3],
        "mlp": [64, 160, 320],
        "shares": [0, 0.3, 0.5, 1],
    },
)


def model_of(subnet: Subnet, seed: int) -> Model:
    """A model of random weights with the subnet's geometry and its counts of 8-bit rows."""
    model = random_model(
        seed,
        image_size=SPACE.image_size,
        classes=SPACE.classes,
        width=subnet.width,
        heads=[b.heads for b in subnet.blocks],
        mlp=[b.mlp for b in subnet.blocks],
        share8=0.0,
    )
    rng = np.random.default_rng(seed)
    for block, built in zip(subnet.blocks, model.blocks, strict=True):
        for matrix in MATRICES:
            linear = getattr(built, matrix)
            linear.bits[rng.permutation(linear.rows)[: block.rows8(subnet.width)[matrix]]] = 8
    return model


def subnets(count: int) -> list[Subnet]:
    rng = random.Random(7)
    return [SPACE.sample(rng) for _ in range(count)]


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rows_of_one_precision_cost_exactly_their_programs_cycles(name: str, share: float) -> None:
    overlay = load_overlay(name)
    subnet = Subnet(96, (BlockConfig(2, 160, *[share] * 4), BlockConfig(1, 64, *[share] * 4)))
    program = compile_model(model_of(subnet, 0), overlay)
    cost = OverlayCost.of(SPACE, overlay)(subnet)
    assert cost.cycles == pytest.approx(program_cycles(program).total, rel=1e-3)


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_mix_costs_its_programs_cycles(name: str) -> None:
    """Which rows are 8-bit decides how often two meet in a memory column: known on average only."""
    overlay = load_overlay(name)
    for seed, subnet in enumerate(subnets(8)):
        expected = program_cycles(compile_model(model_of(subnet, seed), overlay))
        cost = OverlayCost.of(SPACE, overlay)(subnet)
        assert cost.cycles == pytest.approx(expected.total, rel=0.015)
        assert cost.fps == pytest.approx(expected.fps, rel=0.015)


def compiles(subnet: Subnet, overlay: Overlay) -> bool:
    try:
        compile_model(model_of(subnet, 0), overlay)
    except CompileError:
        return False
    return True


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_fits_is_what_the_compiler_accepts(name: str) -> None:
    overlay = load_overlay(name)
    wide_attention = Subnet(64, (BlockConfig(3, 64, 0, 0, 0, 0), BlockConfig(3, 64, 0, 0, 0, 0)))
    for subnet in [wide_attention, *subnets(8)]:
        for field, number in (("act_words", 0), ("res_words", 1), ("logits", 2)):
            needed = OverlayCost.of(SPACE, overlay)(subnet).needs[number].needed
            for room in (needed, needed - 1):
                tight = replace(overlay, **{field: room})
                cost = OverlayCost.of(SPACE, tight)(subnet)
                assert (cost.misfit() is None) == compiles(subnet, tight) == (room == needed)
                assert (cost.excess > 0) == (room < needed)


def test_what_does_not_fit_is_said() -> None:
    tight = replace(load_overlay("b1024"), res_words=10)
    cost = OverlayCost.of(SPACE, tight)(SPACE.largest())
    assert cost.misfit() == "needs 70 words of residual memory, the overlay has 10"


def test_the_command_says_what_a_subnet_costs(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "subnet.json"
    subnet = Subnet.uniform(192, 12, 3, 768, 0.0)
    path.write_text(json.dumps({"subnet": subnet.to_dict(), "fps": 1}))
    result = CliRunner().invoke(main, [str(path)])
    assert result.exit_code == 0
    assert re.search(r"b1024: 1,40\d,\d{3} cycles, 213\.\d FPS; fits", result.output)
    path.write_text("[]")
    result = CliRunner().invoke(main, [str(path)])
    assert result.exit_code == 1
    assert "a subnet is a list" in result.output
