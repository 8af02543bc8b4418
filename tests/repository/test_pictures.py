"""README's pictures and its table of the zoo show what the repository holds."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from quasar_runtime import list_models, load_model
from quasar_runtime.isa.overlay import load_overlay
from tests.repository.test_layout import ORDER
from tools.pictures import accelerator, architecture, front, notebook, system, terminal
from tools.pictures.__main__ import COMMANDS, FOLDER, PICTURES
from tools.pictures.drawing import INK

ROOT = Path(__file__).resolve().parents[2]
REMEDY = "draw it again: make pictures"
MILLISECONDS = re.compile(r"\d[\d,.]* ?ms")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    section = page.split(f"## {heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.M)
    assert table, heading
    return [
        [cell.replace("`", "").strip() for cell in line.strip("|\n").split("|")]
        for line in table[0].splitlines()
    ]


def test_every_picture_is_committed_and_small_and_well_formed():
    assert {path.stem for path in FOLDER.iterdir()} == set(PICTURES)
    for path in FOLDER.iterdir():
        assert path.stat().st_size < 40_000
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_pictures_fetch_nothing():
    for path in FOLDER.iterdir():
        found = re.findall(r"(?:href|src)=|url\((?!#)|@import|<script", path.read_text())
        assert not found, path.name


@pytest.mark.parametrize(
    "draw",
    [front.draw, system.draw, notebook.draw, architecture.draw, accelerator.draw],
    ids=["front", "system", "notebook", "architecture", "accelerator"],
)
def test_a_drawn_picture_is_up_to_date(draw):
    committed = [path.read_text() for path in FOLDER.iterdir()]
    assert draw() in committed, REMEDY


def test_the_front_has_the_zoos_accuracies_and_promised_frame_rates():
    index = {
        e["name"]: e for e in json.loads((ROOT / "model_zoo" / "index.json").read_text())["models"]
    }
    points = front.zoo_points()
    assert {p.model for p in points} == set(index)
    for point in points:
        rates = load_model(point.model).provenance["frame_rates"]
        assert point.top1 == index[point.model]["top1"]
        assert point.fps == pytest.approx(rates[point.overlay], rel=0.005)
        assert load_overlay(point.overlay).clock_mhz == rates["clock_mhz"]


def test_the_front_keeps_what_no_other_model_beats():
    def point(fps: float, top1: float) -> front.ZooPoint:
        return front.ZooPoint("m", "o", fps, top1)

    slow, middle, fast, beaten = point(1, 80), point(2, 79), point(3, 70), point(2, 75)
    assert front.front([fast, beaten, middle, slow]) == [slow, middle, fast]


def test_published_points_say_what_they_are():
    points = front.published_points()
    assert {p.kind for p in points} <= {"measured", "derived", "recalled"}
    quasar_vit = [(p.fps, p.top1) for p in points if p.system == "Quasar-ViT"]
    assert quasar_vit == [(101.5, 80.4), (159.6, 78.6), (251.6, 74.9)]
    drawn = (FOLDER / "front.svg").read_text()
    assert all(p.system in drawn for p in points)
    assert "simulated: no board has run it" in drawn


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_shows_what_its_commands_print(name):
    drawn = ElementTree.parse(FOLDER / f"{name}.svg").getroot()
    shown = [e.text or "" for e in drawn.iter() if e.tag.endswith("}text")]
    printed: list[str] = []
    for command in COMMANDS[name]:
        printed += [f"$ {command}", *filter(None, terminal.run(command))]

    def timeless(lines: list[str]) -> list[str]:
        return [" ".join(MILLISECONDS.sub("ms", line).split()) for line in lines]

    assert timeless(shown) == timeless(printed), REMEDY


def test_a_terminals_lines_are_as_wide_as_the_terminal():
    drawn = ElementTree.fromstring(terminal.svg(["$ quasar", "<&>  x"], "title"))
    lines = [e for e in drawn.iter() if e.tag.endswith("}text")]
    assert [e.text for e in lines] == ["$ quasar", "<&>  x"]
    assert float(lines[0].get("textLength", 0)) == pytest.approx(8 * terminal.LETTER)
    assert lines[0].get("fill") == terminal.PROMPT != INK


def test_readmes_zoo_is_what_the_files_hold():
    head, _, *table = rows((ROOT / "README.md").read_text(), "The zoo")
    assert [row[0] for row in table] == [
        e.name for e in sorted(list_models(), key=lambda e: -(e.top1 or 0))
    ]
    for row in table:
        cells = dict(zip(head, row, strict=True))
        model = load_model(cells["model"])
        entry = next(e for e in list_models() if e.name == cells["model"])
        accuracy, rates = model.provenance["accuracy"], model.provenance["frame_rates"]
        assert cells["pixels"] == str(model.image_size)
        assert cells["8-bit rows"] == f"{entry.rows8:.0%}".replace("%", " %")
        assert cells["top-1"] == f"{accuracy['top1']:.1f} %"
        assert cells["float, same pixels"] == f"{accuracy['teacher_top1']:.1f} %"
        assert cells["FPS b1024"] == f"{rates['b1024']:,.0f}"
        assert cells["FPS b8192"] == f"{rates['b8192']:,.0f}"
        size = (ROOT / "model_zoo" / entry.file).stat().st_size
        assert cells["MB"] == f"{size / 1e6:.1f}"


@pytest.mark.parametrize(
    ("folder", "floors"),
    [("quasar_runtime", architecture.FLOORS), ("train", architecture.TRAIN)],
    ids=["quasar_runtime", "train"],
)
def test_the_architecture_shows_every_folder_with_code(folder, floors):
    assert [name for name, _ in reversed(floors)] == [name for name in ORDER[folder] if name]
    found = {path.parent.name for path in (ROOT / folder).glob("*/*.py")}
    assert sorted(name for name, _ in floors) == sorted(found - {"recipes", "subnets"})
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`[\w/]*?(\w+)`", page))
    assert folder == "train" or found <= named


def test_the_architecture_shows_every_device_and_folder_of_the_hardware():
    devices = {path.parent.name for path in (ROOT / "quasar_runtime" / "devices").glob("*/*.py")}
    assert set(architecture.DEVICES) == devices
    hardware = {path.name for path in (ROOT / "hw_src").iterdir() if path.is_dir()}
    assert {name for name, _ in architecture.HARDWARE_FOLDERS} == hardware - {
        "build",
        "__pycache__",
    }


def test_the_accelerators_numbers_are_the_rtls():
    drawn = accelerator.draw()
    assert f"queue of {accelerator.constant('control/descriptor_fetch.sv', 'QUEUE')}" in drawn
    with pytest.raises(ValueError, match="no constant NOTHING"):
        accelerator.constant("control/descriptor_fetch.sv", "NOTHING")
