"""The zoo: names to files, the index that is made from them, and what is said when they differ."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import image_fps
from quasar_runtime.errors import ModelFileError, ModelNotFound
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.file import read_model, write_model
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.model.zoo import (
    build_index,
    count_macs,
    find_model,
    list_models,
    load_model,
    main,
    verify_models,
)
from tests.runtime.model import model_bytes as mb

FACTS = {
    "summary": "a small one",
    "teacher": "DeiT-Tiny",
    "accuracy": {"top1": 71.5, "teacher_top1": 72, "dataset": "a thousand images"},
    "frame_rates": {"b8192": 900, "b1024": 60.5, "clock_mhz": 300, "by": "the cycle model"},
    "weights": {"licence": "Apache-2.0", "from": "somebody"},
}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A folder with two models and their index, as the zoo."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for name, share8, provenance in (("q-vit-60fps", 1.0, FACTS), ("deit-w4", 0.0, {})):
        model = mb.small_model(share8=share8, name=name)
        model.provenance = provenance
        write_model(model, folder / f"{name}.safetensors")
    build_index(folder)
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(folder))
    return folder


def test_the_index_holds_what_the_files_hold(zoo):
    plain, measured = list_models()
    assert (plain.name, measured.name) == ("deit-w4", "q-vit-60fps")
    assert measured.path == zoo / "q-vit-60fps.safetensors"
    assert measured.sha256 == hashlib.sha256(measured.path.read_bytes()).hexdigest()
    assert (measured.rows8, plain.rows8) == (1.0, 0.0)
    assert (measured.top1, measured.dataset) == (71.5, "a thousand images")
    assert (measured.teacher, measured.summary) == ("DeiT-Tiny", "a small one")
    assert (measured.teacher_top1, measured.licence) == (72.0, "Apache-2.0")
    assert measured.frame_rates == {"b1024": 60.5, "b8192": 900.0}
    assert measured.rates_by == "the cycle model"
    assert (plain.teacher_top1, plain.licence) == (None, None)
    assert (plain.frame_rates, plain.rates_by) == ({}, None)
    assert (plain.top1, plain.dataset, plain.teacher, plain.summary) == (None, None, None, "")


def test_the_index_is_the_same_when_it_is_built_again(zoo):
    before = (zoo / "index.json").read_bytes()
    build_index(zoo)
    assert (zoo / "index.json").read_bytes() == before
    assert sorted(p.suffix for p in zoo.iterdir()) == [".json", ".safetensors", ".safetensors"]


def test_macs_are_those_that_a_program_executes():
    for seed, heads, mlp in ((1, [2], [96]), (2, [1, 3, 2], [64, 32, 160])):
        model = random_model(seed, heads=heads, mlp=mlp, share8=0.0)
        model.patch.bits[:] = model.head.bits[:] = 4
        program = compile_model(model, load_overlay("b1024"))
        attention = sum(
            macs
            for macs, name in zip(program.macs, program.names, strict=True)
            if name.endswith("attention")
        )
        # An attention product counts as 8-bit, two 4-bit MACs.
        assert count_macs(model) == sum(program.macs) - attention // 2


def test_parameters_are_counted(zoo):
    entry = list_models()[0]
    matrices = 32 * 768 + 192 * 32 + 32 * 64 + 2 * 32 * 32 + 3 * 32
    rows, gains, position = 32 + 192 + 32 + 32 + 32 + 3, 3 * 32, 2 * 32
    assert entry.parameters == matrices + rows + gains + position


def test_a_name_is_looked_up_in_the_zoo(zoo):
    assert find_model("deit-w4") == zoo / "deit-w4.safetensors"
    assert load_model("deit-w4").name == "deit-w4"


def test_a_path_is_taken_as_it_is_and_needs_no_zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(tmp_path / "absent"))
    path = tmp_path / "own.safetensors"
    write_model(mb.small_model(), path)
    assert find_model(path) == find_model(str(path)) == path
    assert load_model(path).name == "synthetic"
    monkeypatch.chdir(tmp_path)
    assert load_model("own.safetensors").name == "synthetic"


def test_an_unknown_name_is_answered_with_the_closest_one(zoo):
    with pytest.raises(
        ModelNotFound, match=r"no model named 'q-vit-60'; did you mean 'q-vit-60fps'\? known: deit"
    ):
        load_model("q-vit-60")
    with pytest.raises(ModelNotFound, match="no model named 'zzz'; known: deit-w4, q-vit-60fps"):
        find_model("zzz")


def test_a_missing_file_is_answered_with_the_closest_name(zoo):
    with pytest.raises(ModelNotFound, match=r"no such file: \./deit_w4; did you mean 'deit-w4'\?"):
        find_model("./deit_w4")


def test_a_missing_file_is_reported_without_a_zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(tmp_path))
    with pytest.raises(ModelNotFound, match=r"no such file: ab\.safetensors$"):
        find_model("ab.safetensors")


def test_a_replaced_file_is_told_with_both_sums_and_the_remedy(zoo):
    old = list_models()[0].sha256
    write_model(mb.small_model(seed=5, name="deit-w4"), zoo / "deit-w4.safetensors")
    new = hashlib.sha256((zoo / "deit-w4.safetensors").read_bytes()).hexdigest()
    with pytest.raises(ModelFileError, match=f"sha256 is {new}, expected {old}; .* rebuild the in"):
        load_model("deit-w4")


def test_verification_goes_on_after_a_bad_model(zoo):
    path = zoo / "deit-w4.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    first, second = verify_models()
    assert (first.name, first.path, second.name) == ("deit-w4", path, "q-vit-60fps")
    assert "sha256" in first.problem
    assert second.problem is None


def test_verification_tells_facts_that_the_file_does_not_hold(zoo):
    index = json.loads((zoo / "index.json").read_text())
    index["models"][1]["top1"] = 99.9
    (zoo / "index.json").write_text(json.dumps(index))
    assert [v.problem is None for v in verify_models()] == [True, False]


def test_a_missing_file_of_the_zoo_is_told(zoo):
    (zoo / "deit-w4.safetensors").unlink()
    assert "no such file" in next(iter(verify_models())).problem


def test_a_missing_index_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(tmp_path))
    with pytest.raises(ModelNotFound, match=r"index\.json is missing; set QUASAR_MODEL_ZOO"):
        list_models()


def entry(**values):
    """An index of one entry with these values changed."""
    legal = {
        "name": "a", "file": "a.safetensors", "sha256": "0" * 64, "parameters": 1, "macs": 1,
        "rows8": 0.5, "top1": None, "teacher_top1": None, "dataset": None, "frame_rates": {},
        "rates_by": None, "teacher": None, "licence": None, "summary": "",
    }  # fmt: skip
    return json.dumps({"models": [{**legal, **values}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"models": [], "models": []}', "key 'models' occurs more than once"),
        ("[]", "holds no list named 'models'"),
        ('{"models": {}}', "holds no list named 'models'"),
        ('{"models": [5]}', r"models\[0\] has 5, expected the keys name, file"),
        (entry(extra=1), r"models\[0\] has \['dataset', 'extra'"),
        (entry(macs="1"), r"models\[0\]: macs is '1', expected int"),
        (entry(frame_rates=[]), r"models\[0\]: frame_rates is \[\], expected dict"),
        (entry(frame_rates={"b64": "1"}), r"frame_rates of 'b64' is '1', expected a number"),
        (entry(top1=True), r"models\[0\]: top1 is True, expected int or float or NoneType"),
        (entry(file="../a.safetensors"), r"file is '\.\./a\.safetensors', expected a\.safetensors"),
        (entry(name="../a", file="../a.safetensors"), r"file is '\.\./a\.safetensors'"),
    ],
)
def test_a_malformed_index_is_refused(zoo, text, message):
    (zoo / "index.json").write_text(text)
    with pytest.raises(ModelFileError, match=rf"index\.json.*{message}.*; "):
        list_models()


def test_an_index_that_is_not_utf8_is_refused(zoo):
    (zoo / "index.json").write_bytes(b"\xff")
    with pytest.raises(ModelFileError, match="not UTF-8"):
        list_models()


def test_a_file_must_be_named_after_its_model(zoo):
    (zoo / "deit-w4.safetensors").rename(zoo / "other.safetensors")
    with pytest.raises(ModelFileError, match=r"holds the model 'deit-w4'; rename it to deit-w4\.s"):
        build_index(zoo)


def test_the_index_is_rebuilt_from_the_command_line(zoo, capsys):
    before = (zoo / "index.json").read_bytes()
    (zoo / "index.json").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "quasar_runtime.model.zoo", str(zoo)],
        check=True,
        capture_output=True,
    )
    assert (zoo / "index.json").read_bytes() == before
    assert [line.split()[1] for line in done.stdout.decode().splitlines()] == [
        "deit-w4",
        "q-vit-60fps",
    ]


def test_a_folder_without_models_is_one_line_and_status_1(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("Error: no *.safetensors file in")


def test_the_models_that_are_shipped_are_what_their_index_says(monkeypatch):
    folder = Path(__file__).parents[3] / "model_zoo"
    if not (folder / "index.json").is_file():
        pytest.skip("model_zoo/ has no index: its models have not been exported yet")
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(folder))
    files = {path.name for path in folder.glob("*.safetensors")}
    assert files == {e.file for e in list_models()}
    assert [v for v in verify_models() if v.problem] == []


def shipped() -> list[Path]:
    return sorted((Path(__file__).parents[3] / "model_zoo").glob("*.safetensors"))


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_a_model_is_as_fast_as_it_says_and_as_its_name_promises(path):
    model = read_model(path)
    stated = model.provenance["frame_rates"]
    for name in ("b1024", "b8192"):
        found = image_fps(compile_model(model, load_overlay(name)))
        assert found > 0.99 * stated[name], "slower than it says: quasar-train zoo --rates"
    promised = re.fullmatch(r"q-vit-(\d+)fps", model.name)
    if promised:
        assert stated["b1024"] >= int(promised[1]) == model.target["fps"]


def test_the_models_that_are_shipped_are_those_that_the_training_makes():
    pytest.importorskip("yaml", reason="the training tools are not installed")
    from train.data.recipe import TrainingRecipe
    from train.pipelines.zoo import ZOO
    from train.report.provenance import recipe_facts
    from train.spaces.space import Subnet

    assert {path.stem for path in shipped()} == set(ZOO)
    for path in shipped():
        model, how = read_model(path), ZOO[path.stem].recipe
        assert model.preprocessing.crop == (how.image_size or 224)
        if isinstance(how.mix, Subnet):
            assert model.provenance["subnet"] == how.mix.to_dict()
        training = ZOO[path.stem].training
        assert ("training" in model.provenance) == (training is not None)
        verb = "finetune" if training else "export"
        assert model.provenance["command"].startswith(f"quasar-train {verb} ")
        if training:
            said = model.provenance["training"]["recipe"]
            assert said == recipe_facts(TrainingRecipe.load(training).to_dict())
