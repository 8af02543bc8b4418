"""Overlay packages: checksums before anything reaches the fabric, installing, what is said."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.bitstream import package as packages
from quasar_runtime.errors import OverlayError
from quasar_runtime.isa.overlay import load_overlay

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def overlays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An overlays' folder of its own, with b64's parameters and no bitstream."""
    folder = tmp_path / "overlays"
    (folder / "b64").mkdir(parents=True)
    shutil.copy(ROOT / "overlays" / "b64" / "overlay.json", folder / "b64")
    monkeypatch.setenv("QUASAR_OVERLAYS", str(folder))
    return folder


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A package as the build leaves it, with made-up bits."""
    folder = tmp_path / "built" / "b64"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "overlays" / "b64" / "overlay.json", folder)
    (folder / "b64.bit").write_bytes(b"bits" * 1000)
    (folder / "b64.hwh").write_text(hwh.generate(load_overlay("b64")))
    packages.write_checksums(folder)
    return folder


def pack(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, folder.name)
    return target


def test_a_built_package_verifies(built: Path) -> None:
    packages.install_package(built)
    path = packages.bitstream("b64")
    assert path.name == "b64.bit"
    assert path.with_suffix(".hwh").is_file()


def test_checksums_are_those_of_sha256sum(built: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=built, capture_output=True)
    assert done.returncode == 0
    line = f"{hashlib.sha256((built / 'b64.bit').read_bytes()).hexdigest()}  b64.bit"
    assert line in (built / "SHA256SUMS").read_text().splitlines()


def test_a_folder_without_bitstream_says_how_to_get_one() -> None:
    package = packages.load_package("b64")
    assert package.bitstream is None
    with pytest.raises(OverlayError, match=r"no bitstream.*overlays build b64.*overlays install"):
        packages.bitstream("b64")


@pytest.mark.parametrize("file", ["b64.bit", "b64.hwh"])
def test_a_changed_file_is_refused(built: Path, file: str) -> None:
    data = bytearray((built / file).read_bytes())
    data[len(data) // 2] ^= 1
    (built / file).write_bytes(data)
    with pytest.raises(OverlayError, match=rf"{file} has the SHA-256 .* SHA256SUMS says .*damaged"):
        packages.install_package(built)


def test_parameters_changed_after_the_build_are_refused(built: Path, overlays: Path) -> None:
    packages.install_package(built)
    path = overlays / "b64" / "overlay.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "clock_mhz": 250}))
    with pytest.raises(OverlayError, match=r"changed after the bitstream was built"):
        packages.bitstream("b64")


@pytest.mark.parametrize("file", ["b64.hwh", "SHA256SUMS"])
def test_a_missing_file_is_named(built: Path, file: str) -> None:
    (built / file).unlink()
    with pytest.raises(OverlayError, match=f"{file} is missing"):
        packages.install_package(built)


def test_a_checksum_file_without_a_line_is_refused(built: Path) -> None:
    lines = (built / "SHA256SUMS").read_text().splitlines()
    (built / "SHA256SUMS").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(OverlayError, match=r"no line 'SHA256  b64\.hwh'"):
        packages.install_package(built)


def test_an_archive_is_installed(built: Path, overlays: Path, tmp_path: Path) -> None:
    package = packages.install_package(pack(built, tmp_path / "b64.tar.gz"))
    assert package.folder == overlays / "b64"
    assert package.bitstream is not None
    packages.verify_package(package)
    assert sorted(p.name for p in overlays.iterdir()) == ["b64"], "no scratch folder is left"


def test_an_overlay_that_was_unknown_is_installed(built: Path, overlays: Path) -> None:
    shutil.rmtree(overlays / "b64")
    assert packages.install_package(built).name == "b64"


def test_a_bitstream_is_only_replaced_when_asked(built: Path) -> None:
    packages.install_package(built)
    (built / "b64.bit").write_bytes(b"new")
    packages.write_checksums(built)
    with pytest.raises(OverlayError, match=r"already has a bitstream.*--replace"):
        packages.install_package(built)
    packages.install_package(built, replace=True)
    assert packages.bitstream("b64").read_bytes() == b"new"


def test_other_parameters_are_only_replaced_when_asked(built: Path, overlays: Path) -> None:
    path = built / "overlay.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "clock_mhz": 250}))
    packages.write_checksums(built)
    (overlays / "b64" / "synth.md").write_text("a report")
    with pytest.raises(OverlayError, match="other parameters"):
        packages.install_package(built)
    assert packages.install_package(built, replace=True).overlay.clock_mhz == 250
    assert (overlays / "b64" / "synth.md").read_text() == "a report"


def test_an_archive_cannot_write_outside(built: Path, overlays: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(built, "b64")
        for name in ("../../outside", "/outside"):
            member = tarfile.TarInfo(name + ".txt" * (name[0] == "/"))
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    packages.install_package(path)
    assert not list(tmp_path.rglob("outside*"))
    assert not (overlays / "b64" / "link").exists()


def test_a_name_that_is_no_folder_is_refused(built: Path) -> None:
    path = built / "overlay.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "../b64"}))
    with pytest.raises(OverlayError, match="no folder's name"):
        packages.install_package(built)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\x00"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b64.tar.gz"
    path.write_bytes(content)
    with pytest.raises(OverlayError, match=r"no readable .tar.gz|holds no overlay.json"):
        packages.install_package(path)


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OverlayError, match=r"holds no overlay\.json"):
        packages.install_package(tmp_path)
    with pytest.raises(OverlayError, match="no such file or folder"):
        packages.install_package(tmp_path / "nothing")


def test_building_needs_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "VIVADO_FOLDER", tmp_path / "vivado")
    with pytest.raises(OverlayError, match=r"checkout of the repository"):
        packages.build_overlay("b64")
    with pytest.raises(OverlayError, match="no overlay named 'b65'"):
        packages.build_overlay("b65")


def test_a_failed_build_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@exit 3\n")
    monkeypatch.setattr(packages, "VIVADO_FOLDER", tmp_path)
    with pytest.raises(OverlayError, match=r"OVERLAY=b64` ended with status 2"):
        packages.build_overlay("b64")


def test_what_a_killed_installation_left_goes_with_the_next_one(
    built: Path, overlays: Path
) -> None:
    stale = overlays / ".new-killed" / "new"
    shutil.copytree(built, stale)
    packages.install_package(built)
    assert [p.name for p in overlays.iterdir()] == ["b64"]
    with pytest.raises(OverlayError, match="already has a bitstream"):
        packages.install_package(built)
    assert [p.name for p in overlays.iterdir()] == ["b64"]


def test_an_overlay_is_replaced_in_one_step(
    built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    if not packages._exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("this file system cannot exchange two folders")
    packages.install_package(built)
    monkeypatch.delattr(Path, "rename")  # two steps, between which there would be no overlay
    (built / "b64.bit").write_bytes(b"other" * 1000)
    packages.write_checksums(built)
    packages.install_package(built, replace=True)
    assert packages.bitstream("b64").read_bytes() == b"other" * 1000


def test_an_overlay_is_replaced_where_folders_cannot_be_exchanged(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "_exchange", lambda one, two: False)
    packages.install_package(built)
    packages.install_package(built, replace=True)
    packages.bitstream("b64")
