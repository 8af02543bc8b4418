"""Files and folders that users name: nothing blocks, nothing is missing in silence."""

import os
import signal
import socket
import stat
import tracemalloc

import pytest

from quasar_runtime import files
from quasar_runtime.errors import DataError, ImageError, printable
from quasar_runtime.files import (
    check_output,
    list_files,
    open_regular,
    read_bytes,
    read_object,
    read_text,
    replacing,
)


@pytest.fixture
def odd(tmp_path):
    """A folder with one of each thing that is no regular file, named by kind."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "a folder, not a regular file"),
        ("fifo", "a FIFO (named pipe), not a regular file"),
        ("socket", "a socket, not a regular file"),
        ("nowhere", "a link to nowhere"),
        ("fiffo", "no such file; did you mean 'fifo'?"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_is_no_regular_file_is_named_at_once(odd, name, said):
    with pytest.raises(ImageError) as e:
        open_regular(odd / name, ImageError)
    assert said in str(e.value)


def test_a_device_is_not_read():
    with pytest.raises(DataError, match="character device"):
        read_bytes("/dev/zero", 10)


def test_a_file_is_read_up_to_its_bound(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(DataError, match="more than 4 bytes"):
        read_bytes(path, 4)


def test_closest_name_is_not_looked_for_in_a_large_folder(tmp_path, monkeypatch):
    """Thousands of missing files must not cost a listing of thousands of names each."""
    for i in range(6):
        (tmp_path / f"a{i}.jpg").write_bytes(b"")
    monkeypatch.setattr("quasar_runtime.files.MOST_NEIGHBOURS", 6)
    with pytest.raises(DataError, match=r"did you mean 'a3\.jpg'"):
        open_regular(tmp_path / "a3.jpeg")
    monkeypatch.setattr("quasar_runtime.files.MOST_NEIGHBOURS", 5)
    with pytest.raises(DataError, match="no such file; check the path"):
        open_regular(tmp_path / "a3.jpeg")


def test_only_control_characters_and_bytes_that_are_no_text_are_escaped_in_messages():
    harmless = "at\u202f3\xa0PM \u732b\u3000\u200d\xe9 'x'"
    assert printable(harmless) == harmless
    assert printable("a\nb\x1b[31m\x7f\x85\u2028") == "a\\nb\\x1b[31m\\x7f\\x85\\u2028"
    assert printable(os.fsdecode(b"\xff.jpg")) == "\\udcff.jpg"
    with pytest.raises(DataError, match=r"a\\nb: no such file") as e:
        open_regular("a\nb")
    assert "\n" not in str(e.value)


def test_text_is_utf8_without_its_mark(tmp_path):
    path = tmp_path / "a"
    path.write_bytes("\ufeffä".encode())
    assert read_text(path) == "ä"
    path.write_bytes(b"ab\xff")
    with pytest.raises(DataError, match="byte 2 is 0xff"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "Expecting property name"), ("[" * 10**5, "recursion"), ("[1]", "no JSON object")],
    ids=["open", "deep", "array"],
)
def test_what_is_no_json_object_says_why_and_what_to_do(tmp_path, text, why):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ImageError, match=rf"a\.json is no report \(.*{why}.*\); make it again"):
        read_object(path, "is no report", "make it again", ImageError)
    path.write_text('{"a": [1]}')
    assert read_object(path, "is no report", "make it again") == {"a": [1]}


def test_a_listing_tells_what_it_leaves_out(odd):
    for name in ("b.jpg", "folder/a.jpg", "c.heic", ".hidden.jpg", "plain"):
        (odd / name).write_bytes(b"x")
    (odd / "fifo").rename(odd / "fifo.jpg")
    (odd / "nowhere").rename(odd / "nowhere.jpg")
    (odd / "again").symlink_to(odd / "folder")
    (odd / "again2.jpg").symlink_to(odd / "b.jpg")
    listing = list_files(odd, lambda name: name.endswith(".jpg"))
    assert [p.name for p in listing.found] == ["again2.jpg", "b.jpg", "a.jpg"]
    assert {s.path.name: s.why for s in listing.skipped} == {
        "again": "a link to a folder, not followed",
        "fifo.jpg": "a FIFO (named pipe), not a regular file",
        "nowhere.jpg": "a link to nowhere",
    }
    assert [s.path.name for s in listing.skipped if not s.wanted] == ["again"]
    assert listing.others == {".heic": 1, "": 2}  # plain, socket


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, cannot_be_listed):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"x")
    cannot_be_listed("closed")
    listing = list_files(tmp_path, lambda name: name.endswith(".jpg"))
    assert [s.why for s in listing.skipped] == ["cannot be listed (Permission denied)"]
    assert [p.name for p in listing.found] == ["a.jpg"]


def test_an_output_is_checked_before_the_work(odd):
    source = odd / "in"
    source.write_bytes(b"x")
    check_output(odd / "new", [source])
    check_output("/dev/null", [source])
    (odd / "same").symlink_to(source)
    (odd / "loop").symlink_to(odd / "loop")
    (odd / "far").symlink_to(odd / "absent" / "a")
    for path, said in (
        (odd / "folder", "a folder"),
        (odd / "absent" / "a", "no such folder; make it first"),
        (source / "a", "not a folder"),
        (odd / "same", "also read by this command"),
        (odd / "loop", "a link that leads to itself"),
        (odd / "far", "no such folder; make it first"),
    ):
        with pytest.raises(DataError, match=said):
            check_output(path, [source])


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with pytest.raises(ZeroDivisionError):
        _write_half(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "link").symlink_to(path)
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with replacing("/dev/null") as file:
        file.write(b"new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(DataError, match="cannot be written"), replacing(tmp_path / "no" / "a"):
        pass
    with pytest.raises(DataError, match="No space left"), replacing("/dev/full") as file:
        file.write(b"new")


def _write_half(path):
    with replacing(path) as file:
        file.write(b"half")
        file.write(bytes(1 // 0))


def test_reading_takes_no_more_memory_than_the_file_has(tmp_path):
    (tmp_path / "small").write_bytes(b"small")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "small", 2**28) == b"small"
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_file_whose_size_is_not_known_is_read_to_its_end():
    assert read_bytes("/proc/self/status", 2**20).endswith(b"\n")
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_bytes("/proc/self/status", 10)


def test_a_process_that_is_killed_while_it_writes_leaves_nothing(tmp_path):
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("files without a name are Linux'")
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        pytest.skip("this file system knows no files without a name")
    (tmp_path / "out").write_text("before")
    child = os.fork()
    if not child:
        with replacing(tmp_path / "out") as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "before"


@pytest.mark.parametrize("nameless", [True, False])
def test_a_new_file_has_the_usual_mode_and_an_old_one_keeps_its_own(
    tmp_path, monkeypatch, nameless
):
    if not nameless:
        monkeypatch.setattr(files, "_nameless", lambda folder: None)
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "new") as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    os.chmod(tmp_path / "new", 0o604)
    with replacing(tmp_path / "new") as file:
        file.write(b"newer")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604
    assert (tmp_path / "new").read_bytes() == b"newer"
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
