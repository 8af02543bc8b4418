"""A session belongs to the process that opened it: a forked child gets an error or opens its own.

A child that hangs is ended by its alarm, and the test fails.
"""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from contextlib import suppress

import numpy as np
import pytest

from quasar_runtime import process as process_module
from quasar_runtime.devices.catalogue import open_device
from quasar_runtime.errors import DeviceClosed, DeviceError
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.session.session import Session

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
MODEL = random_model(0)
PATIENCE = 120
"""Seconds until a child hangs: it takes well below one."""


def pictures(count=4):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(count)]


def open_session(device="native"):
    return Session(MODEL, device, overlay="b64", threads=2 if device == "native" else None)


def logits(session):
    return [result.logits.tolist() for result in session.stream(pictures())]


def in_child(action):
    """Fork; the child calls `action` and ends without ado. Fails if it hangs or raises."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            signal.alarm(PATIENCE)
            try:
                action()
                code = 0
            except BaseException:
                traceback.print_exc()
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert not os.WIFSIGNALED(status), f"the child was ended by signal {os.WTERMSIG(status)}"
    assert os.waitstatus_to_exitcode(status) == 0, "the child raised"


def belongs_to_the_parent(action):
    """What a child does that must give the error which names its parent."""

    def attempt():
        message = rf"belongs to another process \(PID {os.getppid()}\); open one after the fork"
        with pytest.raises(DeviceClosed, match=message):
            action()

    return attempt


@pytest.fixture(params=["native", "reference"])
def session(request):
    """A session whose decoding and helper threads have been started."""
    with open_session(request.param) as session:
        logits(session)
        yield session


@pytest.mark.parametrize("use", [
    lambda session: session.classify(pictures()[0]),
    lambda session: list(session.stream(pictures())),
    lambda session: list(session.stream(pictures(1))),
    lambda session: session.run(session.preprocess(pictures()[0])),
    lambda session: Session(MODEL, session.device),
    lambda session: session.device.allocate(64),
])  # fmt: skip
def test_a_child_that_uses_its_parents_session_gets_an_error(session, use):
    in_child(belongs_to_the_parent(lambda: use(session)))
    use(session)


@pytest.mark.parametrize("end", [
    lambda session: session.close(),
    lambda session: session.device.close(),
    lambda session: session.__exit__(None, None, None),
    lambda session: session.__del__(),
])  # fmt: skip
def test_what_a_child_closes_stays_open_in_its_parent(session, end):
    before = logits(session)
    in_child(lambda: end(session))
    assert logits(session) == before


def test_a_session_that_a_child_collects_is_left_alone():
    holder = [open_session()]
    logits(holder[0])

    def collect():
        holder.clear()
        gc.collect()

    in_child(collect)
    with holder[0] as session:
        logits(session)


def test_a_child_opens_its_own(session):
    expected = logits(session)

    def own():
        with open_session() as mine:
            assert logits(mine) == expected

    in_child(own)


def test_a_child_in_the_middle_of_a_stream(session):
    expected = logits(session)
    stream = session.stream(pictures())
    first = next(stream)
    in_child(belongs_to_the_parent(lambda: next(stream)))
    in_child(stream.close)
    assert [r.logits.tolist() for r in (first, *stream)] == expected


def test_pictures_whose_source_forks(session):
    """The child goes on inside the stream that asked for the next picture."""
    children = []

    def source():
        for picture in pictures():
            children.append(os.fork())
            if children[-1] == 0:
                signal.alarm(PATIENCE)
            yield picture

    try:
        answers = [r.logits.tolist() for r in session.stream(source())]
    except DeviceClosed:
        if children[-1] == 0:
            os._exit(7)
        raise
    finally:
        if 0 in children:
            os._exit(1)
    assert answers == logits(session)
    assert [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children] == [7] * 4


def test_a_fork_while_another_thread_runs_or_holds_the_lock(session):
    expected, stop = logits(session), threading.Event()
    answers = []

    def work():
        while not stop.is_set():
            answers.extend(logits(session))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            in_child(session.close)
            in_child(belongs_to_the_parent(lambda: session.classify(pictures()[0])))
    finally:
        stop.set()
        thread.join()
    assert answers == expected * (len(answers) // len(expected))
    taken, leave = threading.Event(), threading.Event()

    def hold():
        with session._lock:
            taken.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        in_child(session.close)
    finally:
        leave.set()
        thread.join()


EXITS = """
import os, signal, sys, threading
import numpy as np
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.session.session import Session

image = np.zeros((40, 50, 3), np.uint8)
session = Session(random_model(0), "native", overlay="b64", threads=2)
stream = session.stream([image] * 8)
next(stream)
{before}
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm({patience})
        sys.exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"the child ended with status {{status}}"
{after}
next(stream)
session.classify(image)
print("done")
"""


@pytest.mark.parametrize(("before", "after"), [
    ("", ""),
    ("session.close()\n"
     "session = Session(random_model(0), 'native', overlay='b64')\n"
     "stream = session.stream([image] * 3)\n"
     "next(stream)", ""),
    ("stop = threading.Event()\n"
     "def work():\n"
     "    while not stop.is_set(): list(session.stream([image] * 3))\n"
     "thread = threading.Thread(target=work); thread.start()", "stop.set(); thread.join()"),
], ids=["streaming", "a closed one and another", "another thread in a run"])  # fmt: skip
def test_a_child_exits_as_any_program_does(before, after):
    """With the interpreter's clearing up, as a server's workers do."""
    code = EXITS.format(before=before, after=after, patience=PATIENCE)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert not done.stderr


def test_preforking_servers(tmp_path):
    """The master opens a session, forks its workers, and replaces those that end, as gunicorn
    does: a worker that opens its own answers, one that uses the master's fails with one error."""
    code = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from quasar_runtime.errors import DeviceClosed
        from quasar_runtime.model.synthetic import random_model
        from quasar_runtime.session.session import Session

        image = np.full((40, 50, 3), 9, np.uint8)
        open_one = lambda: Session(random_model(0), "native", overlay="b64", threads=2)
        application = open_one()
        expected = application.classify(image).logits.tolist()

        def worker(number):
            signal.alarm(120)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            if number % 2:
                try:
                    application.classify(image)
                except DeviceClosed:
                    os.kill(os.getpid(), signal.SIGTERM)
            with open_one() as own:
                assert own.classify(image).logits.tolist() == expected
            sys.exit(5)

        ends = []
        for number in range(4):
            child = os.fork()
            if child == 0:
                worker(number)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert application.classify(image).logits.tolist() == expected
        print(ends)
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert (done.stdout, done.returncode) == ("[5, 0, 5, 0]\n", 0), done.stderr


def answer_with_own(number):
    with open_session() as own:
        return number, logits(own)


inherited = None


def answer_with_the_parents(number):
    return inherited.classify(pictures()[number]).logits.tolist()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(session, method):
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        task = pool.map_async(answer_with_own, range(2))
        assert task.get(PATIENCE) == [(0, logits(session)), (1, logits(session))]
        with pytest.raises(
            TypeError, match=r"a Session cannot be pickled or copied: .*open one in"
        ):
            pool.apply(logits, (session,))


def test_multiprocessing_with_the_parents_session(session, monkeypatch):
    """The error crosses back to the parent as it is."""
    monkeypatch.setattr(sys.modules[__name__], "inherited", session)
    with (
        multiprocessing.get_context("fork").Pool(1) as pool,
        pytest.raises(DeviceClosed, match="belongs to another process"),
    ):
        pool.apply_async(answer_with_the_parents, (0,)).get(PATIENCE)


class Answers:
    """A data set whose items are answers of a session, its own or one that it was given."""

    def __init__(self, session=None):
        self.session = session

    def __len__(self):
        return 2

    def __getitem__(self, number):
        if self.session is None:
            self.session = open_session()
        return self.session.classify(pictures()[number]).logits


def test_workers_of_pytorchs_data_loader(session):
    data = pytest.importorskip("torch.utils.data")

    def load(dataset):
        loader = data.DataLoader(
            dataset, batch_size=None, num_workers=1, timeout=PATIENCE,
            multiprocessing_context="fork",
        )  # fmt: skip
        return [item.tolist() for item in loader]

    assert load(Answers()) == logits(session)[:2]
    with pytest.raises(DeviceClosed, match="belongs to another process"):
        load(Answers(session))
    assert logits(session)


@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_sessions_and_devices_are_not_copied(session, copying):
    for thing, name in ((session, "Session"), (session.device, type(session.device).__name__)):
        with pytest.raises(TypeError, match=f"a {name} cannot be pickled or copied: it holds"):
            copying(thing)


def test_errors_of_devices_are_pickled_with_their_state():
    error = pickle.loads(pickle.dumps(DeviceError("it stopped", {"STATUS": 4})))
    assert (str(error), error.state) == ("it stopped", {"STATUS": 4})


@pytest.mark.parametrize("name", ["native", "reference"])
def test_devices_in_a_child(name):
    with open_device(name, overlay="b64") as device:
        memory = device.allocate(64)
        in_child(belongs_to_the_parent(lambda: device.free(memory)))
        in_child(belongs_to_the_parent(lambda: device.allocate(64)))
        in_child(device.close)
        device.free(memory)


def test_an_owner_is_a_process_not_a_thread(monkeypatch):
    owner, seen = process_module.Owner("thing"), []
    thread = threading.Thread(target=lambda: seen.append(owner.is_here()))
    thread.start()
    thread.join()
    assert seen == [True]
