"""What notebooks show: the facts are there, the markup is sound, texts of files are escaped."""

from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import pytest

from quasar_runtime import Session
from quasar_runtime.errors import ImageError
from quasar_runtime.isa import interface as hw
from quasar_runtime.model.network import PRECISION, Model, precision_svg
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.session.results import Prediction, Profile, Result, Times, operation_kind

NASTY = "<script>alert('x')</script> & \"y\""
VOID = {"rect"}


class Checker(HTMLParser):
    """Collects text and elements; fails on elements that are not closed in order."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def profile(ticks: list[int]) -> Profile:
    names = ("image", "patch", "blocks.0.norm1", "blocks.0.attention", "store")[: len(ticks)]
    entries = np.zeros(len(ticks), hw.PROFILE_DTYPE)
    entries["end"] = np.cumsum(ticks)
    entries["begin"] = entries["end"] - ticks
    return Profile(names, tuple(1000 * i for i in range(len(ticks))), entries, 1e6)


def test_a_result_shows_classes_and_times() -> None:
    predictions = (Prediction(5, "n5", "cat", 0.75), Prediction(7, "n7", "dog", 0.25))
    page = Checker(Result("a.jpg", predictions, times=Times(1.0, 2.0, 3.5))._repr_html_())
    for text in ("a.jpg", "cat", "n5", "75.0%", "dog", "25.0%", "infer 3.50 ms"):
        assert text in page.text
    styles = [str(a["style"]) for tag, a in page.elements if tag == "div" and "style" in a]
    widths = [style for style in styles if "background" in style]
    assert "width:120px" in widths[0]
    assert "width:40px" in widths[1]


def test_a_failed_result_shows_why() -> None:
    page = Checker(Result("a.jpg", error=ImageError("a.jpg is truncated"))._repr_html_())
    assert "a.jpg is truncated" in page.text


def test_a_profile_shows_every_operation_and_the_share_of_each_kind() -> None:
    page = Checker(profile([10, 50, 10, 20, 10])._repr_html_())
    assert page.count("rect") == 5
    assert "5 operations, 0.100 ms" in page.text
    for text in ("matrices", "50.0%", "attention", "20.0%", "LayerNorm", "10.0%"):
        assert text in page.text
    assert "longest: patch 0.050 ms" in page.text


def test_the_time_line_is_to_scale() -> None:
    page = Checker(profile([10, 50, 10, 20, 10])._repr_html_())
    places = [(float(a["x"] or 0), float(a["width"] or 0)) for t, a in page.elements if t == "rect"]
    assert places == [(0, 64), (64, 320), (384, 64), (448, 128), (576, 64)]


def test_an_empty_profile_is_shown() -> None:
    assert "0 operations" in Checker(profile([])._repr_html_()).text


@pytest.fixture
def model() -> Model:
    return random_model(3, heads=[1, 2], mlp=[64, 96], share8=0.25)


def test_a_model_shows_geometry_precision_and_origin(model: Model) -> None:
    model.provenance = {"teacher": "a teacher", "accuracy": {"top1": 81.5, "dataset": "pictures"}}
    page = Checker(model._repr_html_())
    for text in (
        "synthetic",
        "2 blocks, 64 channels, 1 to 2 heads, MLP 64 to 96",
        "25% of",
        "a teacher",
        "81.5 % on pictures",
    ):
        assert text in page.text


def test_areas_of_the_picture_are_shares_of_the_weights(model: Model) -> None:
    markup = precision_svg(model.linears())
    areas = {PRECISION[bits]: 0.0 for bits in (4, 8)}
    for tag, a in Checker(markup).elements:
        if tag == "rect":
            areas[str(a["fill"])] += (float(a["width"] or 0) + 0.6) * float(a["height"] or 0)
    weights8 = sum(m.rows8 * m.inputs for m in model.linears().values())
    weights = sum(m.weights.size for m in model.linears().values())
    share = areas[PRECISION[8]] / sum(areas.values())
    assert share == pytest.approx(weights8 / weights, abs=0.02)


def test_a_model_whose_origin_is_of_another_shape_is_shown(model: Model) -> None:
    model.provenance = {"teacher": ["list"], "accuracy": "high"}
    assert "synthetic" in Checker(model._repr_html_()).text


@pytest.fixture
def session(model: Model) -> Iterator[Session]:
    with Session(model, "native", overlay="b64", threads=1) as found:
        yield found


def test_a_session_shows_model_device_and_overlay(session: Session) -> None:
    text = Checker(session._repr_html_()).text
    for part in ("synthetic", "native", "b64: 64 4-bit MACs per cycle", "32 x 32"):
        assert part in text
    session.close()
    assert Checker(session._repr_html_()).text == text, "also when it is closed"


def test_texts_of_files_are_escaped(model: Model) -> None:
    model.name = NASTY
    model.provenance = {"teacher": NASTY, "accuracy": {"top1": 1.0, "dataset": NASTY}}
    named = Profile((NASTY,), (1,), profile([1]).entries, 1e6)
    results = (
        Result(NASTY, (Prediction(0, NASTY, NASTY, 1.0),)),
        Result(NASTY, error=ImageError(NASTY)),
    )
    for shown in (model, named, *results):
        markup = shown._repr_html_()
        assert "<script" not in markup
        assert NASTY in Checker(markup).text.replace("  ", " ")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("patch", "matrices"),
        ("blocks.3.qkv", "matrices"),
        ("blocks.3.norm2", "LayerNorm"),
        ("norm", "LayerNorm"),
        ("blocks.11.attention", "attention"),
        ("position", "loads and stores"),
        ("head", "matrices"),
        ("end", "loads and stores"),
    ],
)
def test_operations_have_a_kind(name: str, kind: str) -> None:
    assert operation_kind(name) == kind
