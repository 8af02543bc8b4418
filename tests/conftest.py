"""What holds for all tests."""

import os
import signal
import subprocess
import sys

import pytest

# One thread for the arithmetic of each test process: with two that wait for one another while two
# processes share two cores, the training tests take twice the time. `make test-cpus` sets others.
THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))

# A shell starts background jobs with SIGINT ignored, and nohup ignores SIGHUP; children inherit
# that: the tests of Ctrl-C and of a closed terminal would wait for a signal that never comes.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# On an emulated processor (tools/board/arm64.sh) a process takes tens of times as long: PATIENCE
# multiplies the limits within which one that a test started has to end.
if PATIENCE := float(os.environ.get("PATIENCE", "0")):
    communicate = subprocess.Popen.communicate

    def communicate_patiently(process, input=None, timeout=None):
        return communicate(process, input, timeout and timeout * PATIENCE)

    subprocess.Popen.communicate = communicate_patiently

SLOW = (
    *("test_rtl_", "test_cycles", "test_simulation", "test_vivado", "test_board_rtl"),
    *("test_train_", "test_export", "test_search", "test_ablate_training", "test_notebooks"),
    *("test_zoo_bytes", "test_native_builds", "test_doctor", "test_model_file_mutations"),
    *("test_installed", "test_collection", "test_pictures", "test_quasar_train", "test_campaign"),
)
"""Files that `make test-quick` leaves out: they simulate, train, build, or run whole models."""
FLOATS = ("test_train_", "test_export", "test_search_run", "test_ablate_training")
"""Files of which some verdicts rest on float arithmetic: `make test-cpus` runs them again."""
NOT_FLOATS = ("test_train_commands", "test_train_pictures", "test_train_weights")
"""But for these, which are about arguments and files."""


def pytest_make_parametrize_id(val, argname):
    """Files' contents do not name tests: with a time in them each process would have other names,
    and pytest-xdist runs only what all processes collect alike. Equal names get numbers."""
    return argname if isinstance(val, bytes) else None


FIRST = ("test_cycles.py::test_cycles_are_those_of_the_rtl[b8192",)
"""Tests that build for minutes: with them at its end, one process would wait for the other."""


def pytest_collection_modifyitems(items):
    """The markers follow from the file's name: whoever adds a test has nothing to do."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in FIRST))
    for item in items:
        if item.path.name.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if item.path.name.startswith(FLOATS) and not item.path.name.startswith(NOT_FLOATS):
            item.add_marker(pytest.mark.floats)


def pytest_ignore_collect(collection_path, config):
    """`pytest -m board` looks at the driver's tests alone: on a board, what the others import is
    not installed."""
    if config.getoption("markexpr") == "board" and collection_path.name.startswith("test_"):
        return None if collection_path.parent.name == "board" else True
    return None


# `make test TRAIN=0` runs where there is no PyTorch. Whatever imports it is skipped, and only then:
# without TRAIN=0 a PyTorch that is missing fails the tests.
WITHOUT_TORCH = os.environ.get("TRAIN") == "0"


class NoTorch:
    """Skips whatever asks for PyTorch: a test file as it is collected, a test as it runs."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise pytest.skip.Exception("TRAIN=0: needs PyTorch", allow_module_level=True)


if WITHOUT_TORCH:
    sys.meta_path.insert(0, NoTorch)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Names the file that was skipped; xdist takes skips from one place for one."""
    report = yield
    if WITHOUT_TORCH and report.skipped:
        report.longrepr = (str(collector.path), 1, report.longrepr[2])
    return report


def pytest_terminal_summary(terminalreporter):
    if WITHOUT_TORCH:
        skipped = terminalreporter.stats.get("skipped", ())
        nodes = {report.nodeid for report in skipped if "TRAIN=0" in str(report.longrepr)}
        files = sum("::" not in node for node in nodes)
        terminalreporter.write_line(
            f"TRAIN=0: {files} files and {len(nodes) - files} further tests need PyTorch: skipped"
        )


@pytest.fixture
def cannot_be_listed(monkeypatch):
    """Makes folders of a name unlistable. Permissions do not stop root: the call fails as it would
    for others."""
    scandir = os.scandir

    def refuse(name):
        def scan(path):
            if os.fspath(path).endswith(name):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", scan)

    return refuse


def arithmetic(torch):
    """What PyTorch keeps for a whole process: threads, and how float32 is multiplied."""
    product = torch.backends.mkldnn.matmul.fp32_precision
    return torch.get_num_threads(), product, torch.get_float32_matmul_precision()


@pytest.fixture(autouse=True)
def pytorch_as_it_was(monkeypatch):
    """What a command sets in this process ends with the test, so that no verdict depends on which
    tests ran before; and a command takes no more threads than the tests may have."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before, set_threads = arithmetic(torch), torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda n: set_threads(min(n, THREADS)))
    yield
    set_threads(before[0])
    torch.set_float32_matmul_precision(before[2])
    torch.backends.mkldnn.matmul.fp32_precision = before[1]
