"""A program: what a device executes. One block of bytes and the sizes of what lies around it.

    program   descriptor table, then weights, parameters, tables and position values, each on a
              64-byte boundary
    image     raw RGB bytes (side, side, 3)
    output    the classifier's int32 accumulators, then what a traced program stores for comparison
    profile   begin and end of every descriptor, two uint64

`check` is the rule book that every device enforces: field ranges, on-chip regions, memory ranges.
`require` also proves what no device can see in a single descriptor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from quasar_runtime.errors import ProgramError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay

_M = hw.CONSTANTS["MULTIPLIER_MAX"]
_N = hw.CONSTANTS["SHIFT_MAX"]


@dataclass(frozen=True)
class Trace:
    """Where a traced program stores an operation's result in the output area."""

    offset: int
    shape: tuple[int, int]
    dtype: str


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled model.

    data      uint8, the program's bytes; descriptors first
    names     one per descriptor, such as 'blocks.3.fc1'
    macs      one per descriptor: useful 4-bit MACs, an 8-bit one counting two
    classes   int32 accumulators at the start of the output
    scale     float32 (classes,): logit = accumulator * scale
    traces    by descriptor name, when compiled with trace=True
    """

    overlay: Overlay
    data: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    macs: tuple[int, ...]
    image_size: int
    classes: int
    scale: npt.NDArray[np.float32]
    output_bytes: int
    traces: dict[str, Trace] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Descriptors."""
        return len(self.names)

    @property
    def descriptors(self) -> npt.NDArray[np.void]:
        """The descriptor table, a view of DESCRIPTOR_DTYPE."""
        return self.data[: self.count * hw.DESCRIPTOR_BYTES].view(hw.DESCRIPTOR_DTYPE)

    @property
    def image_bytes(self) -> int:
        """Bytes of the IMAGE area."""
        return self.image_size * self.image_size * 3

    @property
    def profile_bytes(self) -> int:
        """Bytes of the PROFILE area."""
        return self.count * hw.PROFILE_BYTES

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the program's bytes, hexadecimal."""
        return hashlib.sha256(self.data.tobytes()).hexdigest()


@dataclass(frozen=True)
class Violation:
    """What is wrong with a descriptor, as a device reports it."""

    cause: Cause
    descriptor: int
    message: str


def digit_groups(outputs: int, rows8: int, rows: int) -> int:
    """Groups of `rows` digit rows: rows8 8-bit rows of two digits each, then the 4-bit rest."""
    return -(-(outputs + rows8) // rows)


def weight_bytes(inputs: int, outputs: int, rows8: int, overlay: Overlay) -> int:
    """Bytes of a packed weight matrix: whole array tiles, one nibble a digit."""
    steps = -(-inputs // overlay.depth)
    groups = digit_groups(outputs, rows8, overlay.rows)
    return groups * steps * overlay.rows * overlay.depth // 2


def region_words(tokens: int, pitch: int, overlay: Overlay) -> int:
    """Words of an on-chip region."""
    return -(-tokens // overlay.tokens) * pitch


def check(
    descriptors: npt.NDArray[np.void],
    overlay: Overlay,
    program_bytes: int,
    image_bytes: int,
    output_bytes: int,
) -> Violation | None:
    """The first violation of the interface in a descriptor table, or None.

    Order within a descriptor: opcode, field ranges in field order (a range's low and high bound,
    then its multiple), unused fields zero, then regions and memory ranges.
    """
    for number, d in enumerate(descriptors):
        violation = _check_fields(number, d) or _check_ranges(
            number, d, overlay, program_bytes, image_bytes, output_bytes
        )
        if violation:
            return violation
        if d["opcode"] == Opcode.END:
            return None
    return Violation(Cause.NO_END, len(descriptors), "the descriptor table has no END")


def check_parameters(
    data: npt.NDArray[np.uint8], descriptors: npt.NDArray[np.void]
) -> Violation | None:
    """The first row, gain or head parameter outside its range, in a table that `check` accepts.

    A device checks them as it reads them: a row's channel must be one of the outputs (BAD_RANGE),
    multipliers are below 2^15 and shifts at most 40, scores' at most 23 (BAD_FIELD).
    """
    for number, d in enumerate(descriptors):
        opcode, first = d["opcode"], int(d["parameters"])
        limits: dict[str, int] = {}
        if opcode == Opcode.LINEAR:
            size, dtype = int(d["outputs"]) * hw.ROW_BYTES, hw.ROW_DTYPE
            limits = {"channel": int(d["outputs"]) - 1, "multiplier": _M, "shift": _N}
        elif opcode == Opcode.ATTENTION:
            size, dtype = int(d["heads"]) * hw.HEAD_BYTES, hw.HEAD_DTYPE
            limits = {"score_multiplier": _M, "score_shift": hw.CONSTANTS["SCORE_SHIFT_MAX"]}
            limits |= {"out_multiplier": _M, "out_shift": _N}
        elif opcode == Opcode.LAYERNORM:
            size, dtype = int(d["inputs"]) * 2, np.dtype([("gain", "<u2")])
            limits = {"gain": _M}
        elif opcode == Opcode.END:
            break
        for name, limit in limits.items():
            most = int(data[first : first + size].view(dtype)[name].max())
            if most > limit:
                cause = Cause.BAD_RANGE if name == "channel" else Cause.BAD_FIELD
                return Violation(
                    cause, number, f"a parameter's {name} is {most}, allowed up to {limit}"
                )
    return None


def check_operands(
    data: npt.NDArray[np.uint8], descriptors: npt.NDArray[np.void], overlay: Overlay
) -> Violation | None:
    """The first ATTENTION whose K or V may be too large for the array, in a table that `check` and
    `check_parameters` accept.

    K and V enter the array as 8-bit weights do, 16 h + l with digits in [-8, 7]: at most 119. So
    whichever operation wrote them last must have kept its results there. What no operation of this
    table wrote is not looked at.
    """
    limits = np.zeros((overlay.act_words, overlay.tokens), np.uint8)
    for number, d in enumerate(descriptors):
        op = Opcode(int(d["opcode"]))
        if op == Opcode.END:
            break
        if op == Opcode.ATTENTION:
            channels = int(d["heads"]) * hw.HEAD_DIM
            for what in ("k", "v"):
                first = int(d[f"channel_{what}"])
                keys = _cells(
                    d["source_kv"], d["kv_pitch"], d["keys"], first, first + channels, overlay
                )
                most = int(limits[keys].max())
                if most > hw.CONSTANTS["WEIGHT8_MAX"]:
                    return Violation(
                        Cause.BAD_FIELD,
                        number,
                        f"{what.upper()} may hold values up to {most}, allowed up to "
                        f"{hw.CONSTANTS['WEIGHT8_MAX']}; let the LINEAR that writes it clamp there",
                    )
        written = _written(data, d, op)
        if written:
            tokens, channels, most = written
            first, pitch = d["destination"], d["destination_pitch"]
            limits[_cells(first, pitch, tokens, 0, channels, overlay)] = most
    return None


def _written(data: npt.NDArray[np.uint8], d: np.void, op: Opcode) -> tuple[int, int, int] | None:
    """(tokens, channels, largest magnitude) of what an operation writes to ACT, if it does."""
    tokens, most = int(d["tokens"]), hw.CONSTANTS["ACTIVATION_MAX"]
    if op == Opcode.LOAD_IMAGE:
        return (int(d["image_size"]) // hw.PATCH) ** 2 + 1, hw.PATCH_CHANNELS, most
    if op == Opcode.LAYERNORM:
        return tokens, int(d["inputs"]), most
    if op == Opcode.ATTENTION:
        return tokens, int(d["heads"]) * hw.HEAD_DIM, most
    if op != Opcode.LINEAR or d["mode"] not in (Epilogue.REQUANTISE, Epilogue.TABLE):
        return None
    outputs, first = int(d["outputs"]), int(d["parameters"])
    rows = data[first : first + outputs * hw.ROW_BYTES].view(hw.ROW_DTYPE)
    # A channel that no row writes keeps what it held.
    whole = np.unique(rows["channel"]).size == outputs
    return tokens, outputs, int(d["clamp"]) if whole and d["mode"] == Epilogue.REQUANTISE else most


def _cells(
    first: int, pitch: int, tokens: int, begin: int, end: int, overlay: Overlay
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(words, banks) of ACT that hold channels [begin, end) of a region's tokens."""
    token = np.arange(int(tokens))[:, None]
    column = np.arange(begin // overlay.depth, -(-end // overlay.depth))
    return int(first) + token // overlay.tokens * int(pitch) + column, token % overlay.tokens


def require(
    data: npt.NDArray[np.uint8],
    count: int,
    overlay: Overlay,
    image_bytes: int,
    output_bytes: int,
) -> None:
    """Raise ProgramError when a program of `count` descriptors breaks the interface."""
    descriptors = data[: count * hw.DESCRIPTOR_BYTES].view(hw.DESCRIPTOR_DTYPE)
    found = check(descriptors, overlay, data.size, image_bytes, output_bytes)
    found = found or check_parameters(data, descriptors)
    found = found or check_operands(data, descriptors, overlay)
    if found:
        raise ProgramError(f"descriptor {found.descriptor}: {found.message} ({found.cause.name})")


def _check_fields(number: int, d: np.void) -> Violation | None:
    opcode = int(d["opcode"])
    if opcode not in Opcode._value2member_map_:
        return Violation(Cause.BAD_OPCODE, number, f"opcode is {opcode}, allowed are 1 to 7")
    rules = hw.RULES[Opcode(opcode)]
    for f in hw.FIELDS[1:]:
        value = int(d[f.name])
        rule = rules.get(f.name, hw.Rule(0, 0))
        if not rule.low <= value <= rule.high:
            return Violation(
                Cause.BAD_FIELD, number, f"{f.name} is {value}, allowed {rule.low} to {rule.high}"
            )
        if value % rule.multiple:
            cause = Cause.MISALIGNED if rule.multiple == hw.ALIGNMENT else Cause.BAD_FIELD
            return Violation(
                cause, number, f"{f.name} is {value}, expected a multiple of {rule.multiple}"
            )
    return None


Found: TypeAlias = Iterator[Violation | None]


@dataclass(frozen=True)
class _Ranges:
    """The on-chip regions and memory ranges of a descriptor whose fields are in their ranges.

    One method per opcode gives a check after another, in the order in which devices make them:
    a violation, or None.
    """

    number: int
    d: np.void
    overlay: Overlay
    program: int
    image: int
    output: int

    def load_image(self) -> Found:
        side = self.field("image_size")
        patches = (side // hw.PATCH) ** 2 + 1
        yield self.act("destination", "destination", patches, hw.PATCH_CHANNELS)
        yield self.over("image", self.field("address") + side * side * 3, self.image)

    def load_residual(self) -> Found:
        tokens, inputs = self.field("tokens"), self.field("inputs")
        yield self.res(tokens, "destination_pitch", inputs)
        end = self.field("address") + tokens * inputs * 2
        yield self.over("position values", end, self.program)

    def linear(self) -> Found:
        tokens, inputs, outputs = (self.field(f) for f in ("tokens", "inputs", "outputs"))
        rows8, mode = self.field("rows8"), Epilogue(self.field("mode"))
        if rows8 > outputs:
            yield self.wrong(f"rows8 is {rows8}, above outputs {outputs}")
        if mode == Epilogue.LOGITS and tokens != 1:
            yield self.wrong(f"tokens is {tokens}, logits take 1")
        yield self.act("source", "source", tokens, inputs)
        if mode in (Epilogue.REQUANTISE, Epilogue.TABLE):
            yield self.act("destination", "destination", tokens, outputs)
        elif mode == Epilogue.RESIDUAL:
            yield self.res(tokens, "destination_pitch", outputs)
        else:
            yield self.over("logits", outputs, self.overlay.logits)
        size = weight_bytes(inputs, outputs, rows8, self.overlay)
        yield self.over("weights", self.field("weights") + size, self.program)
        yield self.parameters(outputs * hw.ROW_BYTES)
        if mode == Epilogue.TABLE:
            end = self.field("lookup") + hw.TABLE_BYTES
            yield self.over("lookup table", end, self.program)

    def layernorm(self) -> Found:
        tokens, inputs = self.field("tokens"), self.field("inputs")
        yield self.res(tokens, "source_pitch", inputs)
        yield self.act("destination", "destination", tokens, inputs)
        yield self.parameters(inputs * 2)

    def attention(self) -> Found:
        tokens, keys = self.field("tokens"), self.field("keys")
        channels = self.field("heads") * hw.HEAD_DIM
        yield self.act("Q", "source", tokens, channels)
        for what, first in (("K", "channel_k"), ("V", "channel_v")):
            end = self.field(first) + channels
            yield self.act(what, "source_kv", keys, end, pitch="kv_pitch")
        yield self.act("destination", "destination", tokens, channels)
        yield self.parameters(self.field("heads") * hw.HEAD_BYTES)

    def store(self) -> Found:
        tokens, inputs, outputs = (self.field(f) for f in ("tokens", "inputs", "outputs"))
        source = Source(self.field("mode"))
        if source == Source.LOGITS:
            yield self.over("logits", outputs, self.overlay.logits)
            size = 4 * outputs
        elif source == Source.ACT:
            yield self.act("source", "source", tokens, inputs)
            size = tokens * inputs
        else:
            yield self.res(tokens, "source_pitch", inputs)
            size = 2 * tokens * inputs
        yield self.over("output", self.field("address") + size, self.output)

    def end(self) -> Found:
        yield None

    def field(self, name: str) -> int:
        return int(self.d[name])

    def wrong(self, message: str) -> Violation:
        return Violation(Cause.BAD_FIELD, self.number, message)

    def over(self, what: str, end: int, size: int) -> Violation | None:
        """A range that ends at `end` in a memory of `size`."""
        if end <= size:
            return None
        return Violation(Cause.BAD_RANGE, self.number, f"{what} ends at {end}, past {size}")

    def parameters(self, size: int) -> Violation | None:
        return self.over("parameters", self.field("parameters") + size, self.program)

    def act(
        self, what: str, base: str, tokens: int, channels: int, pitch: str | None = None
    ) -> Violation | None:
        """A region of ACT whose base and pitch are fields of these names."""
        first, pitch = self.field(base), pitch or f"{base}_pitch"
        words = self.overlay.act_words
        return self.region(f"{what} region", first, tokens, pitch, channels, words)

    def res(self, tokens: int, pitch: str, channels: int) -> Violation | None:
        return self.region("residual", 0, tokens, pitch, channels, self.overlay.res_words)

    def region(
        self, what: str, first: int, tokens: int, pitch: str, channels: int, words: int
    ) -> Violation | None:
        width = self.field(pitch)
        if width * self.overlay.depth < channels:
            message = f"{pitch} is {width} words, too few for {channels} channels"
            return Violation(Cause.BAD_RANGE, self.number, message)
        return self.over(what, first + region_words(tokens, width, self.overlay), words)


def _check_ranges(
    number: int, d: np.void, overlay: Overlay, program: int, image: int, output: int
) -> Violation | None:
    ranges = _Ranges(number, d, overlay, program, image, output)
    checks: Found = getattr(ranges, Opcode(int(d["opcode"])).name.lower())()
    return next(filter(None, checks), None)
