"""What holds for all tests."""

import os
import signal
import sys

import pytest

# A shell starts background jobs with SIGINT ignored, and children inherit that: the tests of Ctrl-C
# would then wait for an interrupt that never comes.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
