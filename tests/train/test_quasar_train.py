"""`quasar-train`: its verbs, what they import, and what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

pytest.importorskip("yaml")

from click.testing import CliRunner

from train.commands.app import VERBS, quasar_train

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = click.Context(quasar_train)
WIDTH = 80 - len("  predictor  ") - 2


def verb(name: str) -> click.Command:
    found = quasar_train.get_command(CONTEXT, name)
    assert found is not None
    return found


def python(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [[], *([name] for name in VERBS)], ids=" ".join)
def test_help_is_quick_it_imports_no_library_of_numbers(arguments: list[str]) -> None:
    code = (
        "import sys; from train.commands.app import quasar_train\n"
        f"quasar_train.main([*{arguments}, '--help'], standalone_mode=False)\n"
        "print(' '.join(sys.modules))"
    )
    imported = set(python(code).splitlines()[-1].split())
    assert not imported & {"torch", "numpy", "optuna", "PIL", "safetensors", "yaml"}


@pytest.mark.parametrize("name", VERBS)
def test_a_summary_fits_its_line_and_every_option_has_help(name: str) -> None:
    found = verb(name)
    commands = [*found.commands.values()] if isinstance(found, click.Group) else []
    for one in (found, *commands):
        assert not one.get_short_help_str(WIDTH).endswith("...")
        options = [p for p in one.params if isinstance(p, click.Option)]
        assert [p.name for p in options if not p.help] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exprot"], "no verb 'exprot'; did you mean 'export'?"),
        (["ablate", "rowz"], "no verb 'rowz'; did you mean 'rows'?"),
        (["cost", "aera"], "no verb 'aera'; did you mean 'area'?"),
        (["supernet", "--recipee"], "'--recipe'"),
    ],
)
def test_a_slip_of_the_pen_is_named(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(quasar_train, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "train", "exprot"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: quasar-train ")


def test_a_package_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    arguments = ["predictor", "--checkpoint", "c", "--images", "i", "--out", "e.npz"]
    result = CliRunner().invoke(quasar_train, arguments)
    assert result.exit_code == 1
    assert result.output == (
        "Error: this needs torch, not installed here; pip install 'quasar-vit[train]'\n"
    )


def test_a_search_by_effects_needs_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "one.yaml").write_text(
        "{image_size: 48, classes: 10, widths: [64], depths: [1], heads: [1], mlp: [96],"
        " shares: [0, 1]}"
    )
    code = f"""
import sys
sys.modules["torch"] = None
from train.commands.app import quasar_train
from train.cost.loss import EffectLoss
counts = {{"qkv": 192, "proj": 64, "fc1": 96, "fc2": 64, "units": 96}}
effects = {{f"blocks.0.{{name}}": [1.0] * count for name, count in counts.items()}}
EffectLoss(effects).save(__import__("pathlib").Path({str(tmp_path)!r}, "effects.npz"))
quasar_train.main(
    ["search", {str(tmp_path / "found")!r}, "--effects", {str(tmp_path / "effects.npz")!r},
     "--space", {str(tmp_path / "one.yaml")!r}, "--overlay", "b64", "--target", "100",
     "--trials", "4", "--population", "4"]
)
"""
    assert "100 FPS: loss" in python(code)
    assert (tmp_path / "found" / "subnet-100fps.json").is_file()


def test_a_shell_completes_verbs_and_options() -> None:
    for words, found in (("quasar-train ex", "export"), ("quasar-train zoo --me", "--measure")):
        environment = {
            **os.environ,
            "_QUASAR_TRAIN_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        code = (
            "import sys; from train.commands.app import main; sys.argv = ['quasar-train']; main()"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.stdout.split(",")[-1].strip() == found
