"""Search spaces: what they allow, and what is said of what they do not."""

import json
import random
from dataclasses import replace

import pytest

pytest.importorskip("yaml")

from quasar_runtime.model.synthetic import random_model
from quasar_runtime.model.validate import validate
from train.spaces.space import MATRICES, SPACES, BlockConfig, Space, SpaceError, Subnet

ENTRIES = {
    "image_size": 224,
    "classes": 1000,
    "widths": [160, 192],
    "depths": [10, 12],
    "heads": [2, 3],
    "mlp": [512, 768],
    "shares": [0, 0.5, 1],
}
SHIPPED = sorted(p.stem for p in SPACES.glob("*.yaml"))


def space(**changes: object) -> Space:
    return Space.parse("test", {**ENTRIES, **changes})


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_space_contains_its_samples_and_its_ends(name: str) -> None:
    shipped = Space.load(name)
    rng = random.Random(0)
    subnets = [shipped.sample(rng) for _ in range(50)]
    for subnet in [shipped.largest(), shipped.smallest(), *subnets]:
        shipped.check(subnet)
    assert len(set(subnets)) > 40


def test_there_are_spaces_for_the_paper_and_for_vit_tiny() -> None:
    assert {"vit_tiny", "tiny", "small", "base"} <= set(SHIPPED)


def test_the_space_around_vit_tiny_contains_the_checkpoints_geometry() -> None:
    vit_tiny = Space.load("vit_tiny")
    assert vit_tiny.largest() == Subnet.uniform(192, 12, 3, 768, 1.0)
    assert vit_tiny.contains(Subnet.uniform(192, 12, 3, 768, 0.0))


def test_samples_are_those_of_the_seed() -> None:
    one, two = (Space.load("tiny").sample(random.Random(5)) for _ in range(2))
    assert one == two != Space.load("tiny").sample(random.Random(6))


def test_samples_reach_both_ends_of_the_work_in_8_bits() -> None:
    rng = random.Random(1)
    shares = [Space.load("vit_tiny").sample(rng).share8() for _ in range(200)]
    assert min(shares) < 0.1
    assert max(shares) > 0.9


def test_a_path_is_a_space_too(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(ENTRIES))
    assert Space.load(path) == replace(space(), name="mine")


def test_a_subnet_survives_json() -> None:
    subnet = space().sample(random.Random(2))
    assert Subnet.from_dict(json.loads(json.dumps(subnet.to_dict()))) == subnet


def test_a_subnets_geometry_is_that_of_a_valid_model() -> None:
    subnet = Subnet(64, (BlockConfig(1, 96, 0.5, 0.25, 0, 1), BlockConfig(2, 64, 1, 0, 0.5, 0.5)))
    model = random_model(
        0, width=64, heads=[b.heads for b in subnet.blocks], mlp=[b.mlp for b in subnet.blocks]
    )
    validate(model)
    for block, built in zip(subnet.blocks, model.blocks, strict=True):
        for matrix in MATRICES:
            linear = getattr(built, matrix)
            assert block.shapes(64)[matrix] == (linear.rows, linear.inputs)


def test_rows_in_8_bits_are_rounded_shares() -> None:
    block = BlockConfig(1, 96, 0.5, 0.26, 0, 1)
    assert block.rows8(64) == {"qkv": 96, "proj": 17, "fc1": 0, "fc2": 64}


def test_share8_is_the_share_of_weights() -> None:
    # qkv 192 x 64, proj 64 x 64, fc1 128 x 64, fc2 64 x 128: 12288, 4096, 8192, 8192 weights
    assert Subnet(64, (BlockConfig(1, 128, 1, 0, 0, 0),)).share8() == pytest.approx(12288 / 32768)
    assert Subnet(64, (BlockConfig(1, 128, 0, 0, 0, 0.5),)).share8() == pytest.approx(4096 / 32768)


def test_ratios_give_hidden_widths_in_steps_of_32() -> None:
    ratios = {key: value for key, value in ENTRIES.items() if key != "mlp"}
    parsed = Space.parse("test", {**ratios, "mlp_ratios": [3, 3.5, 4]})
    assert parsed.hidden(160) == (480, 576, 640)
    assert parsed.hidden(192) == (576, 672, 768)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": [100]}, "widths is 100, expected a multiple of 32 from 32 to 1024"),
        ({"widths": [192, 160]}, "widths are [192, 160]; list each once, in ascending order"),
        ({"widths": 192}, "widths is 192, expected a list"),
        ({"depths": [0]}, "depths is 0, expected an integer from 1 to 64"),
        ({"heads": [17]}, "heads is 17, expected an integer from 1 to 16"),
        ({"mlp": [5000]}, "mlp is 5000, expected a multiple of 32 from 32 to 4096"),
        ({"shares": [0, 1.5]}, "shares is 1.5, expected a number from 0 to 1"),
        ({"shares": []}, "shares is [], expected a list"),
        ({"image_size": 225}, "image_size is 225, expected a multiple of 16"),
        ({"classes": True}, "classes is True, expected an integer"),
        ({"depth": [12]}, "unknown entry 'depth'; did you mean 'depths'?"),
        ({"mlp_ratios": [4]}, "must have either mlp or mlp_ratios"),
    ],
)
def test_what_a_space_may_not_hold_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        space(**changes)
    assert message in str(caught.value)


def test_ratios_may_not_exceed_the_hardware() -> None:
    entries = {key: value for key, value in ENTRIES.items() if key != "mlp"}
    with pytest.raises(SpaceError, match="hidden width of 5120, allowed are up to 4096"):
        Space.parse("test", {**entries, "widths": [1024], "mlp_ratios": [5]})


def test_a_missing_entry_is_named() -> None:
    with pytest.raises(SpaceError, match="lacks 'widths'"):
        Space.parse("test", {key: value for key, value in ENTRIES.items() if key != "widths"})


def test_an_unknown_space_is_named_with_those_there_are(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SpaceError, match="did you mean 'vit_tiny'"):
        Space.load("vit-tiny")
    broken = tmp_path / "broken.yaml"
    broken.write_text("widths: [1")
    with pytest.raises(SpaceError, match="is not YAML"):
        Space.load(broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 128}, "width is 128, space 'test' has 160, 192"),
        ({"depth": 11}, "depth is 11, space 'test' has 10, 12"),
        ({"heads": 4}, "block 0: heads is 4, space 'test' has 2, 3"),
        ({"mlp": 640}, "block 0: mlp is 640, space 'test' has 512, 768"),
        ({"share8": 0.25}, "block 0: qkv8 is 0.25, space 'test' has 0, 0.5, 1"),
    ],
)
def test_what_a_space_does_not_contain_is_named(changes: dict[str, float], message: str) -> None:
    inside = {"width": 160, "depth": 12, "heads": 3, "mlp": 512, "share8": 0.5}
    assert space().contains(Subnet.uniform(**inside))  # type: ignore[arg-type]
    outside = Subnet.uniform(**{**inside, **changes})  # type: ignore[arg-type]
    assert not space().contains(outside)
    with pytest.raises(SpaceError) as caught:
        space().check(outside)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a subnet is a list"),
        ({"width": 64}, "a subnet lacks 'blocks'"),
        ({"width": 64, "blocks": []}, "expected a list of blocks"),
        ({"width": 65, "blocks": [{}]}, "a subnet's width is 65, expected a multiple of 32"),
        ({"width": 64, "blocks": [{"heads": 1}]}, "block 0 lacks 'mlp'"),
    ],
)
def test_what_is_no_subnet_is_named(data: object, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Subnet.from_dict(data)
    assert message in str(caught.value)
