"""A session answers pictures in order, survives bad ones, and always gives its memory back."""

import io
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices import catalogue as device_module
from quasar_runtime.devices.catalogue import open_device
from quasar_runtime.devices.reference.device import ReferenceDevice
from quasar_runtime.devices.reference.executor import run
from quasar_runtime.errors import (
    ArenaError,
    CompileError,
    DeviceClosed,
    DeviceFault,
    DeviceNotFound,
    DeviceTimeout,
    ImageError,
    ModelValueError,
    OverlayError,
)
from quasar_runtime.images.prepare import load_image
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.session import session as session_module
from quasar_runtime.session.session import Session

OVERLAY = load_overlay("b64")
MODEL = random_model(0)


def picture(seed, width=50, height=40):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class Watched(ReferenceDevice):
    """The reference device; counts memory and calls, and fails on demand."""

    def __init__(self):
        super().__init__(OVERLAY)
        self.allocated = self.freed = self.resets = self.closed = 0
        self.runs = []
        self.submit_error = self.wait_error = self.load_error = None

    def allocate(self, size):
        self.allocated += 1
        return super().allocate(size)

    def free(self, memory):
        self.freed += 1
        super().free(memory)

    def load(self, program, program_bytes, count):
        if self.load_error:
            raise self.load_error

    def submit(self, job):
        if self.submit_error:
            raise self.submit_error
        self.runs.append(job)
        super().submit(job)

    def wait(self, timeout):
        self.waited = timeout
        if self.wait_error:
            error, self.wait_error = self.wait_error, None
            raise error

    def reset(self):
        self.resets += 1

    def close(self):
        self.closed += 1
        super().close()


@pytest.fixture
def device():
    return Watched()


@pytest.fixture
def session(device):
    with Session(MODEL, device) as opened:
        yield opened


# --- answers


def test_answer_is_the_programs_own(session):
    image = picture(0)
    result = session.classify(image, top=3)
    pixels = load_image(image, MODEL.preprocessing).pixels
    output = run(compile_model(MODEL, OVERLAY), pixels)
    accumulators = output[: 4 * MODEL.classes].view("<i4")
    logits = (accumulators * MODEL.head_scale).astype(np.float32)
    assert result.logits.dtype == np.float32
    assert np.array_equal(result.logits, logits)
    probability = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
    best = np.argsort(-logits, kind="stable")[:3]
    assert [p.index for p in result.predictions] == best.tolist()
    assert [p.probability for p in result.predictions] == pytest.approx(probability[best].tolist())
    assert [(p.wnid, p.label) for p in result.predictions] == [MODEL.labels[i] for i in best]
    assert result.top1 is result.predictions[0]
    assert result.error is None


def test_run_gives_raw_accumulators_for_prepared_pixels(session):
    pixels = session.preprocess(picture(0))
    accumulators, profile = session.run(pixels)
    assert accumulators.dtype == np.int32
    expected = session.classify(picture(0)).logits
    logits = (accumulators * MODEL.head_scale).astype(np.float32)
    assert np.array_equal(logits, expected)
    assert len(profile.layers) == session.program.count
    with pytest.raises(ImageError, match="expected uint8"):
        session.run(pixels[:-1])


def test_profile_names_every_operation_and_shares_add_up(session):
    result = session.classify(picture(0))
    layers = result.profile.layers
    assert [layer.name for layer in layers] == list(session.program.names)
    assert [layer.macs for layer in layers] == list(session.program.macs)
    assert sum(layer.share for layer in layers) == pytest.approx(1)
    assert layers[0].begin_us == 0
    assert sum(layer.microseconds for layer in layers) <= result.profile.microseconds * 1.001
    assert result.times.infer_ms > 0


def test_top_may_exceed_the_classes(session):
    assert len(session.classify(picture(0), top=99).predictions) == MODEL.classes


def test_results_have_helpful_text(session):
    assert "class" in repr(session.classify(picture(0)))
    assert "50x40" in repr(session.classify(Image.fromarray(picture(0))))
    assert "synthetic" in repr(session)


# --- streams


def test_stream_answers_in_order_and_as_classify_does(session):
    images = [picture(i, 40 + i, 40) for i in range(12)]
    alone = [session.classify(image).logits for image in images]
    results = list(session.stream(iter(images)))
    assert [r.source for r in results] == [f"<uint8 array 40x{40 + i}x3>" for i in range(12)]
    assert all(np.array_equal(a, r.logits) for a, r in zip(alone, results, strict=True))


def test_stream_takes_lists_folders_paths_and_single_pictures(session, tmp_path):
    for name in ("b.png", "a.png"):
        Image.fromarray(picture(0)).save(tmp_path / name)
    encoded = io.BytesIO()
    Image.fromarray(picture(1)).save(encoded, "PNG")
    names = [r.source.rpartition("/")[2] for r in session.stream(tmp_path)]
    assert names == ["a.png", "b.png"]
    assert len(list(session.stream(str(tmp_path / "a.png")))) == 1
    assert len(list(session.stream([tmp_path, encoded.getvalue(), picture(2)]))) == 4
    assert len(list(session.stream(np.stack([picture(0), picture(1)])))) == 2
    assert list(session.stream([])) == []


def test_bad_picture_gives_its_error_and_the_others_go_on(session, tmp_path):
    images = [picture(0), tmp_path / "missing.jpg", b"no picture", picture(1)]
    results = list(session.stream(images))
    assert [r.error is None for r in results] == [True, False, False, True]
    assert isinstance(results[1].error, ImageError)
    assert results[1].predictions == ()
    assert "missing.jpg" in repr(results[1])
    with pytest.raises(ImageError):
        results[1].top1  # noqa: B018
    assert [r.error is None for r in session.stream(b"no picture")] == [False]


def test_session_is_usable_after_a_bad_picture(session):
    with pytest.raises(ImageError):
        session.classify(b"no picture")
    assert session.classify(picture(0)).error is None


def test_source_is_read_at_most_the_ring_ahead(device):
    taken = []

    def source():
        for i in range(10):
            taken.append(i)
            yield picture(i)

    with Session(MODEL, device, ring=3) as session:
        for number, _ in enumerate(session.stream(source())):
            assert len(taken) <= number + 3
        assert len(taken) == 10


def test_decoding_of_the_next_pictures_overlaps_the_run(device, monkeypatch):
    decoded = threading.Semaphore(0)
    original = session_module.load_image

    def load(source, how):
        prepared = original(source, how)
        decoded.release()
        return prepared

    monkeypatch.setattr(session_module, "load_image", load)
    with Session(MODEL, device, ring=3) as session:
        stream = session.stream(picture(i) for i in range(3))
        waited = []
        # While the first picture is on the device, the other two get decoded.
        device.submit = lambda job: waited.extend(decoded.acquire(timeout=20) for _ in range(3))
        device.wait = lambda timeout: None
        next(stream)
        assert waited == [True, True, True]
        stream.close()


def test_classify_works_in_the_middle_of_streams(session):
    images = [picture(i) for i in range(6)]
    alone = [session.classify(image).logits for image in images]
    first, second = session.stream(iter(images)), session.stream(iter(images))
    for a, b, logits in zip(first, second, alone, strict=True):
        assert np.array_equal(a.logits, logits)
        assert np.array_equal(b.logits, logits)
        assert np.array_equal(session.classify(images[3]).logits, alone[3])


def test_error_of_the_source_comes_after_the_pictures_before_it(session):
    def source():
        yield picture(0)
        yield picture(1)
        raise RuntimeError("camera unplugged")

    results = []
    with pytest.raises(RuntimeError, match="camera unplugged"):
        results.extend(session.stream(source()))
        # extend keeps what came before the error
    assert len(results) == 2
    assert len(list(session.stream([picture(0)] * 6))) == 6


def encoded(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def array_again(frames):
    buffer = np.empty_like(frames[0])
    for frame in frames:
        buffer[:] = frame
        yield buffer


def bytes_again(frames):
    buffer = bytearray(max(len(encoded(frame)) for frame in frames))
    for frame in frames:
        data = encoded(frame)
        buffer[:] = data.ljust(len(buffer), b"\0")
        yield memoryview(buffer)


def file_again(frames):
    file = io.BytesIO()
    for frame in frames:
        file.seek(0)
        file.truncate()
        file.write(encoded(frame))
        file.seek(0)
        yield file


def image_again(frames):
    image = Image.new("RGB", frames[0].shape[1::-1])
    for frame in frames:
        image.paste(Image.fromarray(frame))
        yield image


def closed_again(frames):
    for frame in frames:
        with Image.open(io.BytesIO(encoded(frame))) as image:
            yield image


@pytest.mark.parametrize(
    "camera", [array_again, bytes_again, file_again, image_again, closed_again]
)
def test_each_picture_is_answered_as_it_was_when_it_was_yielded(session, camera):
    """Cameras and decoders hand out one buffer again and again."""
    frames = [picture(i) for i in range(12)]
    alone = [session.classify(frame).logits for frame in frames]
    found = [result.logits for result in session.stream(camera(frames))]
    assert all(np.array_equal(a, b) for a, b in zip(alone, found, strict=True))


def test_one_image_that_shows_its_frames_in_turn_is_answered_frame_by_frame(session):
    frames = [picture(i) for i in range(4)]
    out = io.BytesIO()
    first, *others = map(Image.fromarray, frames)
    first.save(out, "WEBP", save_all=True, append_images=others, lossless=True)
    film = Image.open(out)

    def shown():
        for number in range(film.n_frames):
            film.seek(number)
            yield film

    alone = [session.classify(frame).logits for frame in frames]
    found = [result.logits for result in session.stream(shown())]
    assert all(np.array_equal(a, b) for a, b in zip(alone, found, strict=True))


def test_upright_picture_is_not_turned_a_second_time(session):
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(picture(0)).save(out, "PNG", exif=exif)
    alone = session.classify(out.getvalue()).logits
    image = Image.open(out)
    for result in session.stream([image, image]):
        assert np.array_equal(result.logits, alone)


def test_pictures_that_cannot_be_held_are_errors_in_their_place(session, tmp_path):
    os.mkfifo(tmp_path / "b.jpg")
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    broken = io.BytesIO(b"x")
    broken.close()
    sources = [tmp_path, broken, np.zeros((4, 4)), {"a": 1}, [[1, 2], [3, 4]], picture(1)]
    results = list(session.stream(sources))
    assert [r.error is None for r in results] == [True, *[False] * 5, True]
    assert results[1].source == str(tmp_path / "b.jpg")
    assert all(isinstance(r.error, ImageError) for r in results[1:6])


def test_source_is_closed_with_its_stream(session):
    ended = []

    def camera():
        try:
            while True:  # never ends by itself
                yield picture(0)
        finally:
            ended.append(True)

    stream = session.stream(camera())
    next(stream)
    stream.close()
    assert ended == [True]


def test_interrupt_while_the_source_waits_returns_the_slots(session):
    def camera():
        yield picture(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(session.stream(camera()))
    assert len(session._free) == session_module.RING


def test_abandoned_stream_returns_its_slots(device):
    with Session(MODEL, device, ring=2) as session:
        for _ in range(5):
            stream = session.stream([picture(i) for i in range(6)])
            next(stream)
            stream.close()
        assert len(session._free) == 2


def test_threads_may_share_a_session(session):
    images = [picture(i) for i in range(4)]
    alone = [session.classify(image).logits for image in images]
    found = {}

    def work(i):
        found[i] = [session.classify(images[i]).logits for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(x, alone[i]) for i, logits in found.items() for x in logits)


# --- devices that fail


def test_deadline_reaches_the_device(device):
    with Session(MODEL, device, timeout=1.5) as session:
        session.classify(picture(0))
    assert device.waited == 1.5


def test_deadline_is_the_devices_own_where_none_is_given(device):
    assert device.timeout == 30
    device.timeout = 7.0
    with Session(MODEL, device) as session:
        session.classify(picture(0))
    assert device.waited == 7.0


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_deadline_must_be_a_number_of_seconds(device, timeout):
    with pytest.raises(ValueError, match="expected a positive number of seconds"):
        Session(MODEL, device, timeout=timeout)


def test_cycles_of_a_run_come_with_its_answer(device, monkeypatch):
    monkeypatch.setattr(type(device), "cycles", property(lambda device: 1000 + len(device.runs)))
    with Session(MODEL, device) as session:
        assert [r.cycles for r in session.stream([picture(0), picture(1)])] == [1001, 1002]
    with Session(MODEL, "reference", overlay="b64") as session:
        assert session.classify(picture(0)).cycles is None


@pytest.mark.parametrize(
    "error", [DeviceTimeout("late", {"STATUS": 2}), DeviceFault("bad", {"ERROR_CAUSE": 5})]
)
def test_device_errors_carry_state_and_leave_the_session_usable(session, device, error):
    device.wait_error = error
    with pytest.raises(type(error)) as caught:
        session.classify(picture(0))
    assert caught.value.state == error.state
    assert device.resets == 1
    assert session.classify(picture(0)).error is None


def test_interrupt_during_a_run_resets_the_device(session, device):
    device.wait_error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        session.classify(picture(0))
    assert device.resets == 1
    assert session.classify(picture(0)).error is None


@pytest.mark.parametrize("error", [DeviceFault("bad"), KeyboardInterrupt()])
def test_error_of_a_run_ends_the_stream_and_returns_its_slots(device, error):
    with Session(MODEL, device, ring=2) as session:
        stream = session.stream([picture(i) for i in range(6)])
        next(stream)
        device.wait_error = error
        with pytest.raises(type(error)):
            next(stream)
        assert len(session._free) == 2
        assert len(list(session.stream([picture(i) for i in range(3)]))) == 3


# --- opening and closing


def test_one_allocation_is_made_and_freed(device):
    with Session(MODEL, device) as session:
        list(session.stream([picture(i) for i in range(5)]))
        assert (device.allocated, device.freed) == (1, 0)
    session.close()
    assert (device.allocated, device.freed) == (1, 1)


def test_memory_is_freed_after_errors(device):
    with pytest.raises(RuntimeError), Session(MODEL, device):
        raise RuntimeError
    assert device.freed == 1


def test_memory_is_freed_when_loading_fails(device):
    device.load_error = DeviceFault("refused")
    with pytest.raises(DeviceFault):
        Session(MODEL, device)
    assert device.freed == device.allocated == 1


def test_forgotten_session_frees_its_memory(device):
    session = Session(MODEL, device)
    next(session.stream([picture(i) for i in range(6)]))
    del session
    assert device.freed == 1


def test_device_that_was_handed_in_stays_open_and_one_opened_here_is_closed(device, monkeypatch):
    with Session(MODEL, device):
        pass
    assert device.closed == 0
    monkeypatch.setattr(session_module, "open_device", lambda *a, **k: device)
    with Session(MODEL, "reference"):
        pass
    assert device.closed == 1


def test_use_after_close_is_refused(device):
    session = Session(MODEL, device)
    stream = session.stream([picture(i) for i in range(6)])
    next(stream)
    session.close()
    uses = (
        lambda: session.classify(picture(0)),
        lambda: session.stream([]),
        lambda: next(stream),
        lambda: session.run(np.zeros((32, 32, 3), np.uint8)),
    )
    for use in uses:
        with pytest.raises(DeviceClosed, match="closed"):
            use()
    assert "closed" in repr(session)


def test_session_closed_by_another_thread_ends_its_streams(device, monkeypatch):
    started, released = threading.Event(), threading.Event()
    original = session_module.load_image

    def load(source, how):
        started.set()
        assert released.wait(20)
        return original(source, how)

    monkeypatch.setattr(session_module, "load_image", load)
    session = Session(MODEL, device, ring=8)
    ended = []

    def work():
        try:
            list(session.stream([picture(i) for i in range(20)]))
        except DeviceClosed as e:
            ended.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(20)
    closing = threading.Thread(target=session.close)
    closing.start()
    while not session._closed:
        time.sleep(0.001)
    released.set()
    thread.join(20)
    closing.join(20)
    assert len(ended) == 1
    assert device.freed == 1


def test_close_waits_for_decoders_that_write_into_its_memory(device, monkeypatch):
    busy, finished = threading.Event(), []
    original = session_module.load_image

    def load(source, how):
        if busy.is_set():
            time.sleep(0.05)
        busy.set()
        prepared = original(source, how)
        finished.append(source)
        return prepared

    monkeypatch.setattr(session_module, "load_image", load)
    session = Session(MODEL, device)
    stream = session.stream([picture(i) for i in range(6)])
    next(stream)
    session.close()
    at_close = len(finished)
    time.sleep(0.15)
    assert len(finished) == at_close


def test_reference_device_opens_by_name():
    with Session(MODEL, "reference", overlay="b64") as session:
        assert session.device.name == "reference"
        assert session.device.overlay.name == "b64"


def test_native_device_answers_as_the_reference_does():
    pytest.importorskip("quasar_runtime.devices.native.device", reason="the C engine is not built")
    images = [picture(i) for i in range(8)]
    with Session(MODEL, "native", threads=2) as native, Session(MODEL, "reference") as reference:
        assert native.device.overlay.name == "b1024"
        pairs = zip(native.stream(iter(images)), reference.stream(iter(images)), strict=True)
        assert all(np.array_equal(a.logits, b.logits) for a, b in pairs)


def test_auto_is_native_where_there_is_no_board(monkeypatch):
    pytest.importorskip("quasar_runtime.devices.native.device", reason="the C engine is not built")
    monkeypatch.setitem(
        device_module.KINDS,
        "board",
        replace(device_module.KINDS["board"], reason=lambda: "no board here"),
    )
    with open_device(threads=1) as found:
        assert found.name == "native"
    with pytest.raises(DeviceNotFound, match="no board here"):
        open_device("board")


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(DeviceNotFound, match="did you mean 'native'"):
        Session(MODEL, "nativ")
    with pytest.raises(OverlayError, match="b1024"):
        Session(MODEL, "reference", overlay="b1023")


def test_model_that_does_not_fit_says_so(device):
    wide = random_model(0, image_size=224, width=768, heads=[4], mlp=[3072])
    with pytest.raises(CompileError, match="b64"):
        Session(wide, device)


def test_model_in_memory_is_validated_before_anything_is_allocated(device):
    broken = random_model(0)
    broken.blocks[0].gelu[5] = -128
    with pytest.raises(ModelValueError, match="gelu"):
        Session(broken, device)
    assert device.allocated == 0


def test_device_without_memory_is_an_arena_error(device):
    def allocate(size):
        raise MemoryError("CMA exhausted")

    device.allocate = allocate
    with pytest.raises(ArenaError, match="CMA exhausted"):
        Session(MODEL, device)


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": float("nan")}, {"timeout": float("inf")}, {"ring": 0}]
)
def test_senseless_options_are_refused(device, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Session(MODEL, device, **options)


def test_top_must_be_positive(session):
    for use in (lambda: session.classify(picture(0), top=0), lambda: session.stream([], top=0)):
        with pytest.raises(ValueError, match="top is 0"):
            use()
