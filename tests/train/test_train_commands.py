"""Every training command, given what cannot be: one line at once, and nothing written."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from quasar_runtime.errors import DataError
from quasar_runtime.model.file import read_model
from tests.train.export_cases import CLASSES, random_images, random_tensors, write_tar
from train import messages
from train.commands.ablate import ablate
from train.commands.app import VERBS, quasar_train
from train.commands.cost import cost
from train.commands.options import Number
from train.commands.verb import Verb
from train.cost.loss import EffectLoss
from train.data.recipe import COUNTS, NUMBERS, TrainingRecipe
from train.networks.origin import NOT_STATED
from train.quantise.checks import check_words, overlay_for
from train.spaces.space import Space, SpaceError, Subnet
from train.training.folder import held
from train.training.metrics import Log, read_lines

GROUPS: dict[str, click.Group] = {"ablate": ablate, "cost": cost}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb, and those of groups by both names."""
    context = click.Context(quasar_train)
    for verb in VERBS:
        if verb in GROUPS:
            yield from ((f"{verb} {name}", one) for name, one in GROUPS[verb].commands.items())
        else:
            one = quasar_train.get_command(context, verb)
            assert one is not None
            yield verb, one


COMMANDS = dict(commands())
SPACE = """
{image_size: 48, classes: 10, widths: [64], depths: [2], heads: [1], mlp: [96], shares: [0, 1]}
"""
RECIPE = "views: 16\nbatch: 8\nheld_out: 8\ncalibration: 16\nevaluate: 1\nsave: 1\nworkers: 0\n"


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands change how PyTorch multiplies, and warn once. Small networks want one thread."""
    monkeypatch.setattr("train.networks.precision.THREADS", 1)
    before = torch.backends.mkldnn.matmul.fp32_precision
    messages.forget_warnings()
    yield
    torch.backends.mkldnn.matmul.fp32_precision = before


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """deit.safetensors, mix.tar, labels.json, subnet.json, space.yaml, recipe.yaml."""
    folder = tmp_path_factory.mktemp("data")
    save_file(random_tensors(), folder / "deit.safetensors")
    write_tar(folder / "mix.tar", random_images(24, seed=1, size=64))
    labels = [{"index": i, "wnid": f"n{i:08d}", "name": str(i)} for i in range(CLASSES)]
    (folder / "labels.json").write_text(json.dumps(labels))
    subnet = Subnet.uniform(64, 2, 1, 96, 1.0)
    (folder / "subnet.json").write_text(json.dumps(subnet.to_dict()))
    (folder / "space.yaml").write_text(SPACE)
    (folder / "recipe.yaml").write_text(RECIPE + f"space: {folder}/space.yaml\n")
    return folder


def good(name: str, data: Path, out: Path) -> list[str]:
    """Arguments of a command of which none is wrong."""
    inputs = ["--checkpoint", f"{data}/deit.safetensors", "--images", f"{data}/mix.tar"]
    labels = ["--labels", f"{data}/labels.json"]
    model = ["--name", "m", "--out", f"{out}/m.safetensors"]
    recipe = ["--recipe", f"{data}/recipe.yaml"]
    return {
        "export": [*inputs, *labels, *model, "--share8", "1"],
        "supernet": [*inputs, *labels, *recipe, "--out", f"{out}/run", "--no-fuse"],
        "finetune": [*inputs, *labels, *recipe, *model, "--share8", "1", "--no-fuse"],
        "search": [f"{out}/found", "--target", "100", "--effects", f"{data}/effects.npz"],
        "predictor": [*inputs, "--out", f"{out}/e.npz"],
        "cost cycles": [f"{data}/subnet.json"],
        "cost area": ["b1024"],
        "plot": [f"{out}/run"],
        "zoo": ["--data", str(data), "--out", str(out), "--work", f"{out}/work"],
        "ablate rows": [*inputs, *labels],
        "ablate predicted": [f"{data}/effects.npz"],
        "ablate training": [*inputs, *labels, *recipe, "--out", f"{out}/ablation"],
    }[name]


def invoke(name: str, arguments: list[str]) -> Result:
    return CliRunner().invoke(COMMANDS[name], arguments)


def refused(result: Result) -> str:
    """What was said: one line of an error that is no traceback."""
    crash = result.exception
    assert crash is None or isinstance(crash, SystemExit), repr(crash)
    assert result.exit_code in (1, 2), result.output
    last = result.output.strip().splitlines()[-1]
    assert last.lower().startswith("error: ")
    return last


def options() -> Iterator[tuple[str, click.Parameter]]:
    for name, one in COMMANDS.items():
        for parameter in one.params:
            yield name, parameter


NUMERIC = [
    (name, p) for name, p in options() if isinstance(p.type, (click.IntRange, click.FloatRange))
]
PATHS = [
    (name, p) for name, p in options() if "path" in p.type.name.lower() or p.type.name == "Path"
]


def test_every_number_of_every_command_has_a_range() -> None:
    allowed = (click.IntRange, Number)
    for name, parameter in options():
        free = isinstance(parameter.type, (click.types.IntParamType, click.types.FloatParamType))
        named = parameter.name == "image_size"  # checked with the checkpoint
        assert not free or isinstance(parameter.type, allowed) or named, (name, parameter.name)


@pytest.mark.parametrize(("name", "option"), NUMERIC, ids=[f"{n}-{p.name}" for n, p in NUMERIC])
def test_a_number_outside_its_range_is_refused_at_once(
    name: str, option: click.Parameter, data: Path, tmp_path: Path
) -> None:
    kind = option.type
    assert isinstance(kind, (click.IntRange, click.FloatRange))
    wrong = ["-1", "nan", "inf", "-inf", "", "1e999", "x"]
    wrong += ["0"] if kind.min != 0 or getattr(kind, "min_open", False) else []
    wrong += [str(kind.max + 1)] if kind.max is not None else []
    for value in wrong:
        arguments = [*good(name, data, tmp_path), f"{option.opts[0]}={value}"]
        assert invoke(name, arguments).exit_code == 2, value
    assert list(tmp_path.iterdir()) == []


OPENED = [
    (name, flag)
    for name, flags in {
        "export": "--checkpoint --images --labels --subnet --evaluate --out",
        "supernet": "--checkpoint --images --recipe --out",
        "finetune": "--checkpoint --images --subnet --run --recipe --evaluate --out --work",
        "search": "--effects --run --space",
        "predictor": "--checkpoint --images --out",
        "cost cycles": "--space",
        "ablate rows": "--checkpoint --images --labels --evaluate --json",
        "ablate training": "--checkpoint --images --labels --recipe --out",
        "zoo": "--data --out --work",
        "plot": "--out",
    }.items()
    for flag in flags.split()
]


ODD = [(name, flag, what) for name, flag in OPENED for what in ("absent", "fifo")]
ODD += [(name, flag, "loop") for name, flag in OPENED[:6]]


@pytest.mark.parametrize(("name", "flag", "what"), ODD)
def test_a_path_that_cannot_be_used_is_refused_before_the_work(
    name: str, flag: str, what: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = tmp_path / "odd.yaml"
    given = str(path)
    if what == "fifo":
        os.mkfifo(path)
    elif what == "loop":
        path.symlink_to(path)
    else:
        given = str(tmp_path / "none" / "odd.yaml")
    writes = flag in ("--out", "--work", "--json")
    folder = flag == "--work" or name in ("supernet", "ablate training")
    if writes and (what == "absent" if folder else what == "fifo"):
        pytest.skip("a pipe can be written to, folders are made")
    arguments = good(name, data, out)
    if flag in ("--subnet", "--run") and name in ("export", "finetune"):
        arguments = [a for a in arguments if a not in ("--share8", "1")]
        if flag == "--run":
            arguments += ["--subnet", f"{data}/subnet.json"]
    if name == "search" and flag == "--run":
        arguments += ["--images", f"{data}/mix.tar"]
    result = invoke(name, [*arguments, flag, given])
    refused(result)
    assert "calibrate" not in result.output
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("export", ["--name", "W 8"], "name is 'W 8'"),
        ("export", ["--preset", "deitt"], "did you mean 'deit'"),
        ("export", ["--overlay", "b1042"], "did you mean 'b1024'"),
        ("export", ["--image-size", "0"], "expected a multiple of 16 from 16 to 240"),
        ("export", ["--image-size", "-16"], "expected a multiple of 16"),
        ("export", ["--licence", "two\nlines"], "--licence is 'two\\nlines'"),
        ("export", ["--weights-from", ""], "--weights-from is ''"),
        ("export", ["--dataset", "x" * 999], "expected 1 to 256 printable characters"),
        ("export", ["--subnet", "DATA/subnet.json"], "give one of --bits, --share8 and --subnet"),
        ("export", ["--out", "DATA/deit.safetensors"], "is also read by this command"),
        ("export", ["--out", "DATA/labels.json"], "is also read by this command"),
        ("export", ["--out", "DATA/mix.tar"], "is also read by this command"),
        ("finetune", ["--out", "DATA/recipe.yaml"], "is also read by this command"),
        ("finetune", ["--work", "DATA/mix.tar"], "mix.tar is not a folder"),
        ("finetune", ["--recipe", "finetun"], "did you mean 'finetune'"),
        ("supernet", ["--recipe", "finetune"], "names no space"),
        ("supernet", ["--set", "bacth=8"], "did you mean 'batch'"),
        ("supernet", ["--set", "batch=many"], "batch is 'many', expected int"),
        ("supernet", ["--set", "batch=0"], "batch is 0, allowed are 1 to 65536"),
        ("supernet", ["--set", "rate=fast"], "rate is 'fast', expected float"),
        ("supernet", ["--set", "layer_scaling=2"], "layer_scaling is 2, expected bool"),
        ("supernet", ["--set", "batch"], "expected KEY=VALUE, such as batch=32"),
        ("finetune", ["--set", "batch=8", "--set", "batch=4"], "--set gives batch twice"),
        ("ablate training", ["--set", "seed=-1"], "seed is -1, expected int"),
        ("search", ["--space", "vit_tyny"], "did you mean 'vit_tiny'"),
        ("search", ["--overlay", "b1042"], "did you mean 'b1024'"),
        ("search", ["--budget", "dsp=²"], "expected dsp, lut, ff, bram36 with a number"),
        ("cost cycles", ["--overlay", "b1042"], "did you mean 'b1024'"),
        ("zoo", ["vit-tiny-w9"], "did you mean 'vit-tiny-w8'"),
        ("ablate predicted", ["--overlay", "b1042"], "did you mean 'b1024'"),
    ],
)
def test_what_is_wrong_is_named_before_the_work(
    name: str, more: list[str], said: str, data: Path, tmp_path: Path
) -> None:
    arguments = [*good(name, data, tmp_path), *(m.replace("DATA", str(data)) for m in more)]
    before = {p: p.stat().st_mtime_ns for p in data.iterdir()}
    assert said in refused(invoke(name, arguments))
    assert list(tmp_path.iterdir()) == []
    assert {p: p.stat().st_mtime_ns for p in data.iterdir()} == before


def test_a_model_that_no_overlay_takes_is_refused_before_the_work() -> None:
    small = Subnet.uniform(384, 12, 6, 1536, 1.0)
    with pytest.raises(DataError, match=r"2000 classes, overlay 'b8192' holds 1024 logits"):
        overlay_for(small, 224, 2000)
    with pytest.raises(
        DataError, match=r"no model file holds this: architecture\.classes is 21843"
    ):
        overlay_for(small, 224, 21843)
    with pytest.raises(DataError, match=r"--overlay b8192 takes it"):
        overlay_for(small, 224, 1000, "b1024")


def test_a_model_for_a_larger_overlay_is_made_for_it_and_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert overlay_for(Subnet.uniform(384, 12, 6, 1536, 1.0), 224, 1000) == "b8192"
    assert "run it with --overlay b8192" in capsys.readouterr().err
    assert overlay_for(Subnet.uniform(192, 12, 3, 768, 1.0), 224, 1000) == "b1024"


# --- settings ---


@pytest.mark.parametrize("key", [*COUNTS, *NUMBERS])
def test_every_setting_of_a_recipe_has_a_range(key: str) -> None:
    wrong: list[Any] = [-1, float("nan"), float("inf"), None, [1], {}, True, "x", 10**30]
    for value in wrong:
        with pytest.raises(DataError, match=f"mine: {key} is "):
            TrainingRecipe.parse("mine", {"views": 64, key: value})
    kinds = {
        f: type(getattr(TrainingRecipe(views=64), f)) for f in TrainingRecipe(views=64).to_dict()
    }
    assert set(COUNTS) | set(NUMBERS) == {k for k, t in kinds.items() if t in (int, float)}


def test_a_rate_as_yaml_reads_it_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("views: 64\nrate: 3e-4\n")
    assert TrainingRecipe.load(path).rate == pytest.approx(3e-4)
    path.write_text("a: &a [x, x]\nb: &b [*a, *a]\n")
    with pytest.raises(DataError, match="unknown setting 'a'"):
        TrainingRecipe.load(path)
    path.write_text("[" * 100000)
    with pytest.raises(DataError, match="is not YAML"):
        TrainingRecipe.load(path)
    with pytest.raises(SpaceError, match="is not YAML"):
        Space.load(path)


# --- from beginning to end ---


def test_what_a_file_says_is_what_was_used_and_known(data: Path, tmp_path: Path) -> None:
    result = invoke("export", [*good("export", data, tmp_path), "--calibration", "512"])
    assert result.exit_code == 0, result.output
    model = read_model(tmp_path / "m.safetensors")
    facts = model.provenance
    assert facts["calibration"]["images"] + facts["held_out"]["images"] == 24
    assert facts["weights"]["from"] == facts["weights"]["licence"] == NOT_STATED
    assert facts["summary"].startswith("ViT of deit.safetensors, all rows 8-bit")
    assert "--labels labels.json" in facts["command"]
    assert model.target == {"overlay": "b1024", "fps": None}


def test_a_model_is_kept_when_measuring_it_or_writing_it_fails(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = tmp_path / "sample" / "n00000000"
    sample.mkdir(parents=True)
    (sample / "a.png").write_bytes(b"no picture")
    arguments = [*good("export", data, tmp_path), "--evaluate", str(sample.parent)]
    said = refused(invoke("export", arguments))
    assert "none of its pictures can be read" in said
    assert said.endswith("m.safetensors, without its accuracy")
    kept = read_model(tmp_path / "m.safetensors")
    assert "accuracy" not in kept.provenance

    from train.report import finish

    there = tmp_path / "elsewhere"
    there.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(there))
    with pytest.raises(DataError, match=r"the model that was made is kept in .*elsewhere/"):
        finish.keep(kept, tmp_path / "none" / "m.safetensors")
    (found,) = there.glob("*/m.safetensors")
    assert read_model(found).name == "m"


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [(signal.SIGINT, 130, "Interrupted: "), (signal.SIGTERM, 143, "Terminated: ")],
)
def test_a_signal_ends_a_command_in_one_line(sent: int, code: int, said: str) -> None:
    @click.command(cls=Verb, kept="nothing was written")
    def waits() -> None:
        signal.raise_signal(sent)
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(waits, [])
    assert (result.exit_code, result.output) == (code, f"{said}nothing was written\n")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "last.pt"), "last.pt: No space left"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "workers: 0"),
        (ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"), "pip install"),
        (DataError("two\nlines \x1b[31m"), "two lines \\x1b[31m"),
    ],
)
def test_what_the_machine_lacks_is_one_line(error: Exception, said: str) -> None:
    @click.command(cls=Verb)
    def fails() -> None:
        raise error

    result = CliRunner().invoke(fails, [])
    assert result.exit_code == 1
    assert said in result.output
    assert len(result.output.splitlines()) == 1


def test_a_fault_of_this_project_is_not_hidden() -> None:
    @click.command(cls=Verb)
    def fails() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(fails, []).exception, ZeroDivisionError)


def test_words_for_a_file_are_printable() -> None:
    assert check_words("--x", None, 5) is None
    assert check_words("--x", "fünf!", 5) == "fünf!"
    with pytest.raises(DataError, match="expected 1 to 5 printable"):
        check_words("--x", "sixsix", 5)


# --- stopped and going on ---


def test_a_fine_tuning_killed_at_any_moment_goes_on(data: Path, tmp_path: Path) -> None:
    arguments = [*good("finetune", data, tmp_path), "--threads", "1"]
    whole = invoke("finetune", arguments)
    assert whole.exit_code == 0, whole.output
    wanted = (tmp_path / "m.safetensors").read_bytes()
    lines = (tmp_path / "m.run" / "metrics.jsonl").read_text()
    last = (tmp_path / "m.run" / "last.pt").read_bytes()

    def again() -> bytes:
        (tmp_path / "m.safetensors").unlink(missing_ok=True)
        result = invoke("finetune", arguments)
        assert result.exit_code == 0, result.output
        return (tmp_path / "m.safetensors").read_bytes()

    folder = tmp_path / "m.run"
    (folder / "metrics.jsonl").write_text(lines + '{"step": 3, "los')  # half a line
    (folder / ".last.pt.0123").write_bytes(last[:100])  # half a file
    assert again() == wanted
    (folder / "last.pt").write_bytes(last[: len(last) // 2])  # not by us
    assert "last.pt: damaged" in refused(invoke("finetune", arguments))
    (folder / "last.pt").unlink()  # killed before its first step
    assert again() == wanted

    other = [*arguments, "--set", "views=8"]
    assert "was begun with views = 16, now it is 8" in refused(invoke("finetune", other))
    with held(folder):
        assert "another training is at work" in refused(invoke("finetune", arguments))
    subnet = (folder / "subnet.json").read_bytes()
    parent = [a for a in good("finetune", data, tmp_path) if a not in ("--share8", "1")]
    parent += [
        "--threads",
        "1",
        "--run",
        str(folder),
        "--subnet",
        str(folder / "subnet.json"),
        "--work",
        str(folder),
    ]
    assert "was begun with" in refused(invoke("finetune", parent))
    assert (folder / "subnet.json").read_bytes() == subnet


def test_metrics_of_steps_that_are_taken_again_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (0, 1, 2, 3):
        Log(path, step).write(step=step)
    assert [line["step"] for line in read_lines(path)] == [0, 1, 2, 3]
    Log(path, 1).write(step=2)
    assert [line["step"] for line in read_lines(path)] == [0, 1, 2]
    Log(path, 0)
    assert read_lines(path) == []
    path.write_text('{"step": 1}\nnot JSON\n{"step": 2}\n')
    with pytest.raises(DataError, match="damaged"):
        read_lines(path)


def test_a_search_keeps_what_it_found_when_the_last_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects = {f"blocks.0.{m}": n for m, n in (("qkv", 192), ("proj", 64), ("fc1", 96))}
    effects |= {"blocks.0.fc2": 64, "blocks.0.units": 96}
    values = {name: [1.0] * count for name, count in effects.items()}
    EffectLoss(values).save(tmp_path / "effects.npz")
    (tmp_path / "one.yaml").write_text(SPACE.replace("depths: [2]", "depths: [1]"))
    out = tmp_path / "100% found?"
    arguments = [str(out), "--effects", f"{tmp_path}/effects.npz", "--overlay", "b64"]
    arguments += ["--space", f"{tmp_path}/one.yaml", "--target", "100", "--trials", "4"]
    (out / "front.json").mkdir(parents=True)
    said = refused(invoke("search", [*arguments, "--population", "4"]))
    assert "the trials are kept in" in said
    (out / "front.json").rmdir()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = invoke("search", [*arguments, "--population", "4"])
    assert result.exit_code == 0, result.output
    assert "matplotlib is not installed: no front.svg" in result.output
    assert (out / "subnet-100fps.json").is_file()
    (out / "search.db").write_bytes(b"something else")
    assert "no search's storage" in refused(invoke("search", arguments))


def test_effects_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "effects.npz"
    for content in (b"", b"PK\3\4", b"\x93NUMPY", b"[]"):
        path.write_bytes(content)
        with pytest.raises(SpaceError, match="holds no effects"):
            EffectLoss.load(path)


@pytest.mark.skipif(sys.platform != "linux", reason="a mount")
def test_a_full_disk_leaves_the_state_before(data: Path, tmp_path: Path) -> None:
    from train.training import folder as files

    path = tmp_path / "last.pt"
    state = {"step": 1, "supernet": {}, "average": {}, "teacher": {}}
    files.write_state(path, state)
    before = path.read_bytes()
    script = (
        "import resource, sys, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "from pathlib import Path; from quasar_runtime.errors import DataError\n"
        "from train.training.folder import write_state\n"
        "try: write_state(Path(sys.argv[1]), {'step': 2, 'x': list(range(9999))})\n"
        "except DataError as e: sys.exit(str(e))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert "last.pt: cannot be written (File too large)" in done.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert replace(TrainingRecipe(views=8), batch=8).steps == 1
