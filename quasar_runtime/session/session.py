"""A model on a device: pictures in, answers out.

The session compiles the model for the device's overlay, lays program, output, profile and a ring of
image slots into one arena, and runs one picture at a time. While one runs, a few threads decode the
next ones straight into free slots (Pillow releases the interpreter lock while it decodes and
resizes).
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Device, Job
from quasar_runtime.devices.catalogue import open_device
from quasar_runtime.errors import DeviceClosed, DeviceError, ImageError
from quasar_runtime.html import box, dim, escape, table
from quasar_runtime.images.prepare import (
    Held,
    ImageSource,
    ImageSources,
    expand,
    hold,
    is_single,
    load_image,
    source_name,
)
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa.program import Program
from quasar_runtime.model.network import Model
from quasar_runtime.model.validate import validate
from quasar_runtime.process import Owner, refuse_to_copy
from quasar_runtime.session.arena import Arena, Block, aligned
from quasar_runtime.session.results import Profile, Result, Times, profile_entries, rank

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from quasar_runtime.isa.overlay import Overlay

RING = 4
"""Default number of pictures that are decoded ahead."""


class Session:
    """A model loaded on a device, as a context manager.

    model    a name in the zoo, a model file's path, or a Model
    device   'auto' (the board where there is one, else native), a device's name, or an open Device,
             which then stays open after the session
    overlay  name or Overlay to compile for, by default b1024; the board takes its own
    threads  of the native device, by default all cores
    timeout  seconds that one run may take before DeviceTimeout; by default the device's own: 30, or
             on the rtl device as long as its deadline in cycles allows
    ring     pictures decoded ahead of the one that runs

    Attributes: `name` of the model, `labels` (wnid, name) of each class, its `preprocessing`,
    `program` (its data lies in the device's memory), `device`.

    Raises ModelError, OverlayError, DeviceNotFound, CompileError, ArenaError or DeviceFault; what
    was opened until then is closed. Threads may share a session: runs take turns. Processes cannot:
    a forked child that uses its parent's gets DeviceClosed, and opens its own.
    """

    def __init__(
        self,
        model: str | Path | Model,
        device: str | Device = "auto",
        *,
        overlay: str | Overlay | None = None,
        threads: int | None = None,
        timeout: float | None = None,
        ring: int = RING,
    ) -> None:
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout is {timeout}, expected a positive number of seconds")
        if ring < 1:
            raise ValueError(f"ring is {ring}, expected at least 1")
        self._closed = True  # until there is something to close
        self._owner = Owner("session")
        self._lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        if isinstance(model, Model):
            validate(model)  # what comes from a file has been validated on reading
        loaded = model if isinstance(model, Model) else _load(model)
        self.name = loaded.name
        self.labels = loaded.labels
        self.preprocessing: Preprocessing = loaded.preprocessing
        self._owns_device = isinstance(device, str)
        self.device = (
            open_device(device, overlay=overlay, threads=threads)
            if isinstance(device, str)
            else device
        )
        self._timeout = self.device.timeout if timeout is None else timeout
        self._arena: Arena | None = None
        self._closed = False
        try:
            program = compile_model(loaded, self.device.overlay)
            del loaded  # its weights are in the program now
            self._place(program, ring)
        except BaseException:
            self.close()
            raise

    def _place(self, program: Program, ring: int) -> None:
        """Lay out the arena, write the program into it and hand it to the device.

        One slot more than the ring holds, so that `classify` works in the middle of a stream.
        """
        sizes = [program.data.size, program.output_bytes, program.profile_bytes]
        slots = [program.image_bytes] * (ring + 1)
        self._arena = Arena(self.device, sum(map(aligned, sizes + slots)))
        code = self._arena.allocate("program", sizes[0])
        self._output = self._arena.allocate("output", sizes[1])
        self._profile = self._arena.allocate("profile", sizes[2])
        self._own, *free = (
            self._arena.allocate(f"image {i}", size) for i, size in enumerate(slots)
        )
        self._free: deque[Block] = deque(free)
        code.array[:] = program.data
        self.program = replace(program, data=code.array)
        self._arena.to_device(code)
        self.device.load(code.address, code.size, program.count)
        self._job = Job.of(program.count, code, self._own, self._output, self._profile)

    def classify(self, image: ImageSource, top: int = 5) -> Result:
        """The `top` most likely classes of one picture.

        image is a path, an encoded picture's bytes or binary file, a uint8 or uint16 array
        (H, W[, 1, 3 or 4]) in RGB order, or a Pillow image. Raises ImageError when it cannot be
        read, DeviceTimeout or DeviceFault when the device fails; the session stays usable.
        """
        self._check(top)
        prepared = load_image(image, self.preprocessing)
        with self._lock:
            self._check()
            self._own.array[:] = prepared.pixels.reshape(-1)
            times = Times(prepared.decode_ms, prepared.preprocess_ms)
            return self._answer(image, self._own, times, top)

    def stream(self, images: ImageSources, top: int = 5) -> Iterator[Result]:
        """One Result per picture, in order.

        images is a folder (with its subfolders), an array (N, H, W, 3), or any iterable of what
        `classify` takes and of folders; it is read `ring` pictures ahead. Each picture is answered
        as it was when the iterable yielded it: the next one may be in the same buffer, file object
        or Pillow image. A picture that cannot be read gives a Result with its `error`, and the
        others go on. So does what looks like a picture in a folder and is none, and a subfolder
        that cannot be listed; `list_pictures` tells what else was left out. When the iterable
        itself raises, the pictures before it are answered first.
        """
        self._check(top)
        if isinstance(images, (list, tuple)) and len(images) == 1:
            images = images[0]
        if is_single(images):  # nothing to decode ahead: spares the thread pool
            return (self._classify_or_error(image, top) for image in expand(images))
        return self._stream(expand(images), top)

    def preprocess(self, image: ImageSource) -> npt.NDArray[np.uint8]:
        """The program's input for a picture: raw RGB bytes, uint8 (side, side, 3)."""
        return load_image(image, self.preprocessing).pixels

    def run(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], Profile]:
        """The classifier's accumulators, int32 (classes,), for a program's input, and the profile.

        pixels is what `preprocess` gives. For comparison and measurement: a logit is its
        accumulator times `program.scale`.
        """
        self._check()
        side = self.program.image_size
        if pixels.shape != (side, side, 3) or pixels.dtype != np.uint8:
            raise ImageError(
                f"{source_name(pixels)}: expected uint8 ({side}, {side}, 3), as preprocess gives"
            )
        with self._lock:
            self._check()
            self._own.array[:] = pixels.reshape(-1)
            return self._run(self._own)

    def close(self) -> None:
        """Stop decoding, return the memory and close the device. May be called twice."""
        self._release(wait=True)

    def _release(self, wait: bool) -> None:
        if not self._owner.is_here():
            return  # a forked child: it has neither the threads nor the device
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self._pool is not None:
                    # Nobody may write into a slot after its memory has gone.
                    self._pool.shutdown(wait=wait, cancel_futures=True)
                if self._arena is not None:
                    self._keep_program()
                    self._arena.close()
            finally:
                if self._owns_device:
                    self.device.close()

    def _keep_program(self) -> None:
        """Leave `program` as it was to whoever looks at it later: its data lies in the device's
        memory, which on a board is gone after this.
        """
        program: Program | None = self.__dict__.get("program")
        if program is not None:
            self.program = replace(program, data=program.data.copy())

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # No stream is alive that could still decode: it would hold the session.
        with suppress(Exception):
            self._release(wait=False)

    def __reduce__(self) -> NoReturn:
        raise refuse_to_copy(self)

    def _repr_html_(self) -> str:
        return session_html(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"on {self.device.name}"
        return f"Session({self.name!r}, {state}, overlay '{self.device.overlay.name}')"

    def _check(self, top: int = 1) -> None:
        self._owner.require()
        if self._closed:
            raise DeviceClosed(f"the session of {self.name} is closed; open a new one")
        if top < 1:
            raise ValueError(f"top is {top}, expected at least 1")

    def _stream(self, sources: Iterator[ImageSource], top: int) -> Iterator[Result]:
        pending: deque[tuple[ImageSource | Held, Block, Future[Times]]] = deque()
        more, failure = True, None
        try:
            while True:
                self._check()
                while more and (slot := self._take_slot()):
                    try:
                        source = hold(next(sources))
                    except BaseException as e:
                        self._free.append(slot)
                        if not isinstance(e, Exception):
                            raise
                        more, failure = False, None if isinstance(e, StopIteration) else e
                        break
                    pending.append((source, slot, self._decode_ahead(source, slot)))
                if pending:
                    source, slot, task = pending[0]
                    result = self._finish(source, slot, task, top)
                    pending.popleft()
                    self._free.append(slot)
                    yield result
                elif more:  # other streams hold all slots: go on without decoding ahead
                    try:
                        source = next(sources)
                    except StopIteration:
                        return
                    yield self._classify_or_error(source, top)
                elif failure is not None:
                    raise failure
                else:
                    return
        finally:
            # A forked child has none of the threads that could be waited for.
            for _, slot, task in pending if self._owner.is_here() else ():
                if not task.cancel():
                    task.exception()  # waits: the slot is written to until then
                self._free.append(slot)

    def _finish(
        self, source: ImageSource | Held, slot: Block, task: Future[Times], top: int
    ) -> Result:
        try:
            times = task.result()
        except ImageError as e:
            return Result(source_name(source), error=e)
        except Exception:
            self._check()  # closed by another thread, which cancelled the task
            raise
        return self._answer(source, slot, times, top)

    def _classify_or_error(self, source: ImageSource, top: int) -> Result:
        try:
            return self.classify(source, top)
        except ImageError as e:
            return Result(source_name(source), error=e)

    def _answer(self, source: ImageSource | Held, slot: Block, times: Times, top: int) -> Result:
        """Run the picture in `slot` and rank the classes."""
        with self._lock:
            start = perf_counter()
            accumulators, profile = self._run(slot)
            times = replace(times, infer_ms=(perf_counter() - start) * 1e3)
            cycles = self.device.cycles
        logits = (accumulators * self.program.scale).astype(np.float32)
        return Result(
            source=source_name(source),
            predictions=rank(logits, self.labels, top),
            logits=logits,
            profile=profile,
            cycles=cycles,
            times=times,
        )

    def _run(self, slot: Block) -> tuple[npt.NDArray[np.int32], Profile]:
        """One run on the picture in `slot`. The lock is held."""
        self._check()
        arena, program = self._arena, self.program
        assert arena is not None
        arena.to_device(slot)
        try:
            self.device.submit(replace(self._job, image=slot.address))
            self.device.wait(self._timeout)
        except BaseException:
            # Also after Ctrl-C, with a run under way: the next picture finds the device idle.
            with suppress(DeviceError):
                self.device.reset()
            raise
        arena.from_device(self._output)
        arena.from_device(self._profile)
        accumulators = self._output.array[: program.classes * 4].view("<i4").copy()
        entries = profile_entries(self._profile.array)
        return accumulators, Profile(program.names, program.macs, entries, self.device.tick_hz)

    def _take_slot(self) -> Block | None:
        try:
            return self._free.popleft()
        except IndexError:
            return None

    def _decode_ahead(self, source: ImageSource | Held, slot: Block) -> Future[Times]:
        """Have a thread decode a picture into a slot."""
        self._owner.require()  # `images` may have forked
        if self._pool is None:
            # Imported here: one picture needs no pool, and a cold start no executor.
            from concurrent.futures import ThreadPoolExecutor

            workers = min(len(self._free) + 1, os.cpu_count() or 1)
            self._pool = ThreadPoolExecutor(workers, "quasar-decode")
        try:
            return self._pool.submit(_prepare, source, slot, self.preprocessing)
        except RuntimeError:
            self._check()  # closed by another thread, which shut the pool down
            raise


def _load(name: str | Path) -> Model:
    """The model of that name or file. The zoo is imported only where a name is to be looked up."""
    from quasar_runtime.model.zoo import load_model

    return load_model(name)


def _prepare(source: ImageSource | Held, slot: Block, preprocessing: Preprocessing) -> Times:
    """Decode a picture into a slot. Not a method: a decoder must not keep a session alive."""
    prepared = load_image(source, preprocessing)
    slot.array[:] = prepared.pixels.reshape(-1)
    return Times(prepared.decode_ms, prepared.preprocess_ms)


def session_html(session: Session) -> str:
    """Model, device and overlay, and what the program takes of memory."""
    program, device = session.program, session.device
    overlay = device.overlay
    facts = [
        ("device", ", ".join([device.name, *(f"{k} {v}" for k, v in device.describe().items())])),
        (
            "overlay",
            f"{overlay.name}: {overlay.macs:,} 4-bit MACs per cycle, {overlay.clock_mhz} MHz",
        ),
        ("program", f"{program.count} operations, {program.data.size / 1e6:.1f} MB"),
        ("picture", f"{program.image_size} x {program.image_size}"),
    ]
    rows = table([(dim(name), escape(text)) for name, text in facts], "ll")
    return box(f"<b>{escape(session.name)}</b>{rows}")
