"""`quasar overlays`: what is there, what is missing, and what is damaged."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from quasar_runtime.bitstream.package import write_checksums
from quasar_runtime.cli.app import quasar
from quasar_runtime.resources import data_folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Overlays of which b64 alone has a bitstream."""
    source = data_folder("overlays")
    for name in ("b64", "b1024"):
        (tmp_path / name).mkdir()
        shutil.copyfile(source / name / "overlay.json", tmp_path / name / "overlay.json")
    for suffix in ("bit", "hwh"):
        (tmp_path / "b64" / f"b64.{suffix}").write_bytes(suffix.encode())
    write_checksums(tmp_path / "b64")
    monkeypatch.setenv("QUASAR_OVERLAYS", str(tmp_path))
    return tmp_path


def call(*arguments, code=0):
    result = CliRunner().invoke(quasar, ["overlays", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_overlays_are_listed_with_what_they_have(folder):
    found = json.loads(call("list", "--json"))
    assert [(o["name"], o["macs_per_cycle"]) for o in found] == [("b64", 64), ("b1024", 1024)]
    assert found[0]["bitstream"] == str(folder / "b64" / "b64.bit")
    assert found[1]["bitstream"] is found[1]["handoff"] is None
    assert call("list", "-q").split() == ["b64", "b1024"]
    lines = call("list").splitlines()
    assert lines[1].split()[:8] == ["b64", "2", "x", "4", "x", "8", "64", "300"]
    assert ["yes" in line.split() for line in lines[1:]] == [True, False]


def test_show_says_how_to_get_a_bitstream(folder):
    text = call("show", "b1024")
    assert "4 tokens x 16 rows x depth 16" in text
    assert "quasar overlays build b1024" in text
    assert "quasar overlays install FILE" in text
    assert "bitstream   none" in text
    assert "bitstream   none" not in call("show", "b64")
    assert json.loads(call("show", "b64", "--json"))["rows"] == 4
    assert call("show", "b64", "-q") == "b64\n"
    assert "did you mean 'b1024'" in call("show", "b102", code=1)


def test_verify_finds_a_damaged_bitstream(folder):
    assert call("verify", "b64") == "b64: ok\n"
    (folder / "b64" / "b64.bit").write_bytes(b"damaged")
    assert "b64.bit has the SHA-256" in call("verify", "b64", code=1)
    found = json.loads(call("verify", "--json", code=1))
    assert [answer["ok"] for answer in found] == [False, None]
    assert "b64.bit" in found[0]["problem"]


def test_an_overlay_without_a_bitstream_is_an_error_only_where_it_is_named(folder):
    assert "b1024: overlay 'b1024' has no bitstream" in call("verify")
    assert call("verify", "-q") == ""
    assert "quasar overlays install" in call("verify", "b1024", code=1)


def test_install_takes_a_package_after_checking_it(folder, tmp_path_factory, monkeypatch):
    target = tmp_path_factory.mktemp("target")
    monkeypatch.setenv("QUASAR_OVERLAYS", str(target))
    assert call("install", folder / "b64") == f"b64: {target / 'b64' / 'b64.bit'}\n"
    assert "--replace" in call("install", folder / "b64", code=1)
    found = json.loads(call("install", folder / "b64", "--replace", "--json"))
    assert found["bitstream"] == str(target / "b64" / "b64.bit")
    assert "no bitstream" in call("install", folder / "b1024", code=1)


def test_build_of_an_unknown_overlay_is_refused(folder):
    assert "no overlay named 'b63'" in call("build", "b63", code=1)


@pytest.mark.parametrize("how", ["garbage", "a FIFO", "another's", "out of range"])
def test_a_broken_overlay_costs_none_of_the_others(call, tmp_path, monkeypatch, how):
    shutil.copytree(data_folder("overlays"), tmp_path, dirs_exist_ok=True)
    path = tmp_path / "b64" / "overlay.json"
    good = path.read_text()
    path.unlink()
    if how == "a FIFO":
        os.mkfifo(path)
    else:
        changed = {"another's": good.replace("b64", "b128"), "out of range": good.replace("8", "9")}
        path.write_text(changed.get(how, "{"))
    monkeypatch.setenv("QUASAR_OVERLAYS", str(tmp_path))
    listed = call("overlays", "list", "-q", code=1)
    assert listed.stdout.split() == ["b1024", "b8192"]
    (line,) = listed.stderr.splitlines()
    assert str(path) in line
    verified = json.loads(call("overlays", "verify", "--json", code=1).stdout)
    assert [v["ok"] for v in verified] == [None, None, False]
    devices = json.loads(call("devices", "--no-build", "--json").stdout)
    assert all("overlay" not in (d["reason"] or "") for d in devices)


@pytest.mark.parametrize("folder", ["nothing", "file", "empty"])
def test_a_folder_without_overlays_is_named(call, tmp_path, monkeypatch, folder):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("QUASAR_OVERLAYS", str(tmp_path / folder))
    for verb in (["list"], ["verify"], ["show", "b64"]):
        (line,) = call("overlays", *verb, code=1).stderr.splitlines()
        assert f"there are no overlays in {tmp_path / folder}; set QUASAR_OVERLAYS" in line
