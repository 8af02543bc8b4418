"""Where built simulations are kept, on machines that lack a home, room, or the right to write."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from quasar_runtime import cache
from quasar_runtime.cache import cache_folder, unusable
from quasar_runtime.errors import DeviceError


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A user with a home and nothing set."""
    for name in ("QUASAR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def homeless(monkeypatch):
    """A container's random user: no HOME, and no line in /etc/passwd."""
    monkeypatch.delenv("HOME")

    def unknown(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_the_cache_is_in_the_home(tmp_path):
    assert cache_folder() == tmp_path / "home/.cache/quasar"


def test_xdg_cache_home_takes_precedence_when_it_is_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/quasar"
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    assert cache_folder() == tmp_path / "home/.cache/quasar"


def test_a_relative_folder_is_that_of_the_working_directory(tmp_path, monkeypatch):
    """Compilers run elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUASAR_CACHE", "kept/here")
    assert cache_folder() == tmp_path / "kept/here"


def test_a_relative_folder_needs_a_working_directory(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("QUASAR_CACHE", "kept")
    with pytest.raises(DeviceError, match="working directory, which is gone"):
        cache_folder()


def test_without_a_home_the_cache_is_the_users_own_temporary_folder(tmp_path, homeless):
    folder = cache_folder()
    assert folder == tmp_path / f"temporary/quasar-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert cache_folder() == folder


def test_a_home_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / "home")
    assert cache_folder().parent == tmp_path / "temporary"


@pytest.mark.parametrize("how", ["writable by all", "a link", "a file"])
def test_a_temporary_folder_that_others_prepared_is_refused(tmp_path, homeless, how):
    """Libraries are loaded from it."""
    folder = tmp_path / f"temporary/quasar-{os.getuid()}"
    if how == "a link":
        folder.symlink_to(tmp_path)
    elif how == "a file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(DeviceError, match="set QUASAR_CACHE to a folder of your own"):
        cache_folder()


def test_another_users_temporary_folder_is_refused(tmp_path, homeless, monkeypatch):
    (tmp_path / f"temporary/quasar-{os.getuid()}").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DeviceError, match="another user's"):
        cache_folder()


def test_without_any_place_the_variable_is_named(homeless, monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(cache.tempfile, "gettempdir", nowhere)
    with pytest.raises(DeviceError, match="set QUASAR_CACHE"):
        cache_folder()


def test_what_cannot_be_written_is_named_with_the_reason_and_the_variable():
    error = unusable(OSError(28, "No space left on device", "/cache/x.o"), Path("/cache"))
    assert str(error).startswith("/cache/x.o: No space left on device: ")
    assert "set QUASAR_CACHE to a folder" in str(error)
