"""The resource model beside synthesis, and the search's use of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("yaml")

from click.testing import CliRunner

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.errors import CompileError
from quasar_runtime.isa.overlay import Overlay, load_overlay, parse_overlay
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.resources import data_folder
from train.commands.cost import area as main
from train.cost import area
from train.cost.area import (
    DEVICE,
    FF_TERMS,
    LUT_TERMS,
    Area,
    AreaError,
    AreaModel,
    ShapeCost,
    block_rams,
    bram36,
    dsp,
    fit_area,
    non_negative,
    overlay_text,
    parse_budget,
    read_reports,
    shapes,
)
from train.spaces.space import Space, Subnet

ARRAYS = [replace(s, act_words=4096, res_words=1024) for s in shapes(300, 2, 1024)]


@pytest.fixture(scope="module")
def reports() -> list[area.Report]:
    try:
        return read_reports()
    except AreaError as e:
        pytest.skip(str(e))


def test_multipliers_and_block_rams_are_those_of_synthesis(reports: list[area.Report]) -> None:
    for overlay, found in reports:
        assert (dsp(overlay), bram36(overlay)) == (found.dsp, found.bram36), overlay


@pytest.mark.parametrize("name", ["b64", "b1024", "b8192"])
def test_multipliers_and_block_rams_of_the_overlays_are_those_of_their_reports(name: str) -> None:
    totals = json.loads((data_folder("overlays") / name / "synth.json").read_text())["totals"]
    overlay = load_overlay(name)
    assert (dsp(overlay), bram36(overlay)) == (totals["DSP48E2"], totals["BRAM36"])


def test_every_shape_is_predicted_within_5_percent_from_the_others(
    reports: list[area.Report],
) -> None:
    for i, (overlay, found) in enumerate(reports):
        predicted = fit_area(reports[:i] + reports[i + 1 :])(overlay)
        assert predicted.lut == pytest.approx(found.lut, rel=0.05), overlay
        assert predicted.ff == pytest.approx(found.ff, rel=0.05), overlay


def test_weights_are_found_again() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        weights = [
            dict(zip(terms, rng.uniform(1, 100, len(terms)).tolist(), strict=True))
            for terms in (LUT_TERMS, FF_TERMS)
        ]
        truth = AreaModel(*weights)
        ports = [replace(o, read_ports=1 + i % 4) for i, o in enumerate(ARRAYS)]
        model = fit_area([(o, truth(o)) for o in ports])
        for o in ARRAYS:
            assert model(o).lut == pytest.approx(truth(o).lut, rel=1e-6)
            assert model(o).ff == pytest.approx(truth(o).ff, rel=1e-6)


def test_no_weight_is_negative() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.normal(size=(8, 5)), rng.normal(size=8)
        x = non_negative(a, b)
        assert (x >= 0).all()
        # Kuhn, Tucker: no allowed change of any weight makes the error less.
        gradient = a.T @ (b - a @ x)
        assert (gradient < 1e-6).all()
        assert np.abs(gradient[x > 0]).max(initial=0) < 1e-6


@pytest.mark.parametrize(
    ("width", "words", "blocks"),
    [(8, 4096, 1), (8, 4097, 1.5), (16, 1024, 0.5), (16, 1025, 1), (64, 512, 1), (128, 512, 2)],
)
def test_block_rams_take_the_best_arrangement(width: int, words: int, blocks: float) -> None:
    assert block_rams(width, words) == blocks


def test_the_shapes_are_arrays_that_the_rtl_takes() -> None:
    names = {shape.name for shape in ARRAYS}
    for overlay in map(load_overlay, ("b1024", "b8192")):
        assert f"{overlay.tokens}x{overlay.rows}x{overlay.depth}" in names
    assert len(names) == len(ARRAYS) == 24


def made_up_model() -> AreaModel:
    return AreaModel(dict.fromkeys(LUT_TERMS, 30.0), dict.fromkeys(FF_TERMS, 30.0))


def shape_cost(budget: Area) -> ShapeCost:
    return ShapeCost(shapes(300, 2, 1024)[11], 224, 1000, budget, made_up_model())


def test_a_shapes_memories_are_what_the_subnet_needs() -> None:
    cost = shape_cost(DEVICE)
    subnet = Subnet.uniform(64, 2, 1, 96, 0.5)
    overlay = cost.overlay(subnet)
    model = random_model(0, image_size=224, width=64, heads=[1, 1], mlp=[96, 96], classes=1000)
    compile_model(model, overlay)
    for field in ("act_words", "res_words"):
        with pytest.raises(CompileError, match="takes it"):
            compile_model(model, replace(overlay, **{field: getattr(overlay, field) - 1}))


def test_an_overlay_is_written_as_it_is_read() -> None:
    overlay = shape_cost(DEVICE).overlay(Subnet.uniform(192, 12, 3, 768, 0.5))
    assert parse_overlay(overlay_text(overlay), "here") == overlay


def test_a_subnet_beyond_the_budget_does_not_fit() -> None:
    subnet = Subnet.uniform(192, 12, 3, 768, 0.5)
    assert shape_cost(DEVICE)(subnet).misfit() is None
    needed = {need.what: need.needed for need in shape_cost(DEVICE)(subnet).needs}
    tight = shape_cost(replace(DEVICE, bram36=needed["BRAM36"] - 1))
    assert tight(subnet).misfit() == (
        f"needs {needed['BRAM36']} BRAM36, the overlay has {needed['BRAM36'] - 1}"
    )


def test_a_budget_says_what_it_limits() -> None:
    assert parse_budget("dsp=600,lut=100000") == replace(DEVICE, dsp=600, lut=100_000)
    assert parse_budget("") == DEVICE
    for text in ("dsp", "dsp=many", "uram=3", "dsp=-1", "dsp=0"):
        with pytest.raises(AreaError, match="expected dsp, lut, ff, bram36 with a number"):
            parse_budget(text)


def test_too_small_a_budget_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(area, "area_model", made_up_model)
    with pytest.raises(AreaError, match="no array fits"):
        area.shape_costs(Space.load("vit_tiny"), replace(DEVICE, dsp=20))
    small = area.shape_costs(Space.load("vit_tiny"), replace(DEVICE, dsp=400))
    assert "4x16x16" in small
    assert "8x32x32" not in small


def report(overlay: Overlay, found: Area) -> dict[str, object]:
    totals = {name: getattr(found, field) for field, name in area.RESOURCES.items()}
    return {"overlay": {**overlay.__dict__}, "rtl": "new", "totals": totals}


def test_reports_are_read_from_a_checkout(tmp_path: Path) -> None:
    truth = made_up_model()
    (tmp_path / "overlays" / "one").mkdir(parents=True)
    one = tmp_path / "overlays" / "one" / "synth.json"
    one.write_text(json.dumps(report(ARRAYS[0], truth(ARRAYS[0]))))
    with pytest.raises(AreaError, match=r"1 synthesis reports of the same RTL in .* takes 7; make"):
        read_reports(tmp_path)
    (tmp_path / "hw_src" / "synth").mkdir(parents=True)
    more = tmp_path / "hw_src" / "synth" / "shapes.json"
    more.write_text(json.dumps({"shapes": [report(o, truth(o)) for o in ARRAYS[1:]]}))
    assert read_reports(tmp_path) == [(o, truth(o)) for o in ARRAYS]
    old = {**report(ARRAYS[0], truth(ARRAYS[0])), "rtl": "old"}
    one.write_text(json.dumps(old))
    assert read_reports(tmp_path) == [(o, truth(o)) for o in ARRAYS[1:]]
    one.write_text("{}")
    with pytest.raises(AreaError, match="is not a synthesis report"):
        read_reports(tmp_path)


def test_the_command_says_what_an_overlay_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(area, "area_model", made_up_model)
    result = CliRunner().invoke(main, ["b1024"])
    assert result.exit_code == 0
    assert "DSP48E2        327   13.0 %" in result.output
    result = CliRunner().invoke(main, ["b1025"])
    assert result.exit_code == 1
    assert "did you mean" in result.output
