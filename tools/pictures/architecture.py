"""The repository's folders: what lies on what, and what passes between them.

A test holds the order of the floors against the imports.
"""

from __future__ import annotations

from tools.pictures.drawing import SOFT, Drawing

TOOL, RUNTIME, HARDWARE, DATA = "#e6f0ea", "#e5edf7", "#fbf1e6", "#f3f4f6"
Floor = tuple[str, str]

TRAIN: tuple[Floor, ...] = (
    ("commands", "quasar-train"),
    ("pipelines", "export, finetune, zoo, ablate"),
    ("report", "accuracy, plots, provenance"),
    ("training", "supernet, fine-tuning"),
    ("quantise", "calibrate, round, order rows"),
    ("search", "NSGA-II over subnets"),
    ("cost", "cycles, area, loss"),
    ("networks", "float, quantised, supernet"),
    ("spaces", "search spaces, subnets"),
    ("data", "pictures, labels, recipes"),
)
"""train/, top to bottom: a folder imports only those below it."""
FLOORS: tuple[Floor, ...] = (
    ("cli", "quasar, quasar-infer"),
    ("doctor", "is everything there?"),
    ("measure", "bench, eval, inspect, power"),
    ("session", "pictures in, results out"),
    ("devices", ""),
    ("compiler", "model to program"),
    ("model", "network, file, proofs, zoo"),
    ("bitstream", "packages, block design"),
    ("cycles", "the cycle model"),
    ("images", "decode, resize, data sets"),
    ("isa", "interface, arithmetic, program"),
)
"""quasar_runtime/, top to bottom: a folder imports only those below it."""
DEVICES = ("native", "reference", "rtl", "board", "board_sim")
HARDWARE_FOLDERS: tuple[Floor, ...] = (
    ("vivado", "Tcl, wrapper"),
    ("synth", "Yosys, area, levels"),
    ("formal", "proofs"),
    ("sim", "harness, benches"),
    ("rtl", "SystemVerilog"),
)
HEIGHT, GAP, TOP = 40, 8, 74
"""Pixels: a floor, between floors, above the first."""
LEFT = {"train": 30, "runtime": 330, "hardware": 840, "data": 840}
WIDTH = {"train": 230, "runtime": 400, "hardware": 200, "data": 200}


def y_of(number: float) -> float:
    """The top of a floor, counted from above."""
    return TOP + number * (HEIGHT + GAP)


def middle(floors: tuple[Floor, ...], name: str) -> float:
    return y_of([floor for floor, _ in floors].index(name)) + HEIGHT / 2


def draw() -> str:
    d = Drawing(1070, 630, "The repository: floors of train, quasar_runtime and hw_src")
    for column, title in (("train", "train/"), ("runtime", "quasar_runtime/")):
        d.text(LEFT[column], 40, title, font_weight="bold", font_size=15)
        d.text(LEFT[column], 58, "imports point downwards", fill=SOFT, font_size=11.5)
    d.text(LEFT["hardware"], 58, "hw_src/", font_weight="bold", font_size=15)
    for number, (name, what) in enumerate(TRAIN):
        _floor(d, "train", number, name, what, TOOL)
    for number, (name, what) in enumerate(FLOORS):
        _floor(d, "runtime", number, name, what, RUNTIME)
    _devices(d)
    for number, (name, what) in enumerate(HARDWARE_FOLDERS):
        _floor(d, "hardware", number, name, what, HARDWARE)
    _data(d)
    _links(d)
    return str(d)


def _floor(d: Drawing, column: str, number: float, name: str, what: str, fill: str) -> None:
    x, y, w = LEFT[column], y_of(number), WIDTH[column]
    d.box(x, y, w, HEIGHT, fill=fill)
    d.text(x + 12, y + 25, name, font_size=14)
    d.text(x + w - 12, y + 25, what, text_anchor="end", fill=SOFT, font_size=11.5)


def _devices(d: Drawing) -> None:
    number = [name for name, _ in FLOORS].index("devices")
    x = LEFT["runtime"] + 82
    for name in DEVICES:
        w = 7.2 * len(name) + 10
        dashed = {"stroke_dasharray": "4 3"} if name == "board" else {}
        d.box(x, y_of(number) + 8, w, HEIGHT - 16, fill="#ffffff", rx=4, **dashed)
        d.text(x + w / 2, y_of(number) + 25, name, text_anchor="middle", font_size=11.5)
        x += w + 5


def _data(d: Drawing) -> None:
    for number, name, what in ((5.5, "overlays/", "sizes, reports"), (7, "model_zoo/", "models")):
        _floor(d, "data", number, name, what, DATA)
    _floor(d, "data", 8.5, "checkpoint", "timm names, float", DATA)


def _links(d: Drawing) -> None:
    right, left = LEFT["runtime"] + WIDTH["runtime"], LEFT["hardware"]
    between = (right + left) / 2
    train = LEFT["train"] + WIDTH["train"]
    d.arrow(f"M{train} {middle(TRAIN, 'cost')} H300 V{middle(FLOORS, 'cycles')} H{LEFT['runtime']}")
    d.text(
        296, middle(TRAIN, "cost") - 8, "frame rates", text_anchor="middle", fill=SOFT, font_size=11
    )
    rtl, device = middle(HARDWARE_FOLDERS, "rtl"), middle(FLOORS, "devices")
    d.arrow(f"M{right} {device - 8} H{between - 20} V{rtl} H{left}")
    d.text(left - 6, rtl - 8, "simulates", text_anchor="end", fill=SOFT, font_size=11)
    synth, vivado = middle(HARDWARE_FOLDERS, "synth"), middle(HARDWARE_FOLDERS, "vivado")
    d.arrow(f"M{left + WIDTH['hardware']} {vivado} H1055 V{y_of(5.5) + 12} H{left + WIDTH['data']}")
    d.arrow(f"M{left + WIDTH['hardware']} {synth} H1048 V{y_of(5.5) + 28} H{left + WIDTH['data']}")
    overlays = y_of(5.5) + HEIGHT / 2
    d.arrow(f"M{left} {overlays} H{between + 10} V{middle(FLOORS, 'isa') - 8} H{right}")
    zoo, model = y_of(7) + HEIGHT / 2, middle(FLOORS, "model")
    d.arrow(f"M{right} {model} H{between - 12} V{zoo} H{left}", both=True)
    d.arrow(f"M{right} {middle(FLOORS, 'isa') + 8} H{between + 28} V{rtl + 12} H{left}")
    d.text(
        between + 8, middle(FLOORS, "isa") + 24, "generates the package", fill=SOFT, font_size=11
    )
    end = y_of(len(FLOORS)) + 8
    d.arrow(
        f"M{left + WIDTH['data']} {y_of(8.5) + HEIGHT / 2} H1055 V{end} H{LEFT['train'] + 100} "
        f"V{y_of(len(TRAIN)) - GAP}"
    )
