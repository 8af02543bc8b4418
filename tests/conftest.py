"""What holds for all tests."""

import signal

# A shell starts background jobs with SIGINT ignored, and children inherit that: the tests of Ctrl-C
# would then wait for an interrupt that never comes.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path, config):
    """`pytest -m board` looks at the driver's tests alone: on a board, what the others import is
    not installed."""
    if config.getoption("markexpr") == "board" and collection_path.name.startswith("test_"):
        return None if collection_path.parent.name == "board" else True
    return None
