"""The order of a model's operations, their on-chip regions, and the sections of the program.

`plan` lays a model out without its weights' bytes, which take nearly all of the time; `emit` makes
them too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quasar_runtime.compiler.on_chip import OnChip, Region
from quasar_runtime.compiler.packing import pack_rows, pack_weights
from quasar_runtime.errors import CompileError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, Trace, region_words
from quasar_runtime.model.network import Block, Linear, Model, Norm


@dataclass
class Builder:
    """Descriptors, and the sections that follow their table, in the making.

    planned: the layout only, without a section's bytes, which take nearly all of the time.
    """

    overlay: Overlay
    trace: bool
    memory: OnChip
    planned: bool = False
    descriptors: list[dict[str, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    macs: list[int] = field(default_factory=list)
    sections: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    section_bytes: int = 0
    output_bytes: int = 0
    traces: dict[str, Trace] = field(default_factory=dict)

    def section(self, data: Callable[[], npt.NDArray[np.generic]]) -> int:
        """Append the bytes that `data` makes; returns their offset from the end of the descriptor
        table.
        """
        if self.planned:
            return 0
        raw = np.ascontiguousarray(data()).reshape(-1).view(np.uint8)
        offset = self.section_bytes
        padded = np.zeros(align(raw.size), np.uint8)
        padded[: raw.size] = raw
        self.sections.append(padded)
        self.section_bytes += padded.size
        return offset

    def output(self, size: int) -> int:
        """Reserve bytes of the output area; returns their offset."""
        offset = self.output_bytes
        self.output_bytes += align(size)
        return offset

    def emit(self, name: str, opcode: Opcode, macs: int = 0, **fields: int) -> None:
        """Append a descriptor. `layer` becomes its number in the table."""
        self.descriptors.append({"opcode": opcode, "layer": len(self.descriptors), **fields})
        self.names.append(name)
        self.macs.append(macs)

    def store(self, name: str, source: Source, tokens: int, channels: int, region: Region) -> None:
        """In a traced program, store what operation `name` left in `region` to the output area."""
        if not self.trace:
            return
        width, dtype = (1, "<i1") if source == Source.ACT else (2, "<i2")
        offset = self.output(tokens * channels * width)
        self.traces[name] = Trace(offset, (tokens, channels), dtype)
        self.emit(
            f"{name}.store",
            Opcode.STORE,
            mode=source,
            tokens=tokens,
            inputs=-(-channels // hw.CHANNEL_MULTIPLE) * hw.CHANNEL_MULTIPLE,
            source=region.base,
            source_pitch=region.pitch,
            address=offset,
        )

    def residual(self, channels: int) -> Region:
        """The residual memory's region."""
        return Region(0, -(-channels // self.overlay.depth), 0, channels)

    def linear(
        self,
        name: str,
        matrix: Linear,
        source: Region,
        tokens: int,
        *,
        mode: Epilogue,
        destination: Region | None = None,
        clamp: int = hw.CONSTANTS["ACTIVATION_MAX"],
        table: npt.NDArray[np.int8] | None = None,
    ) -> None:
        """A weight matrix on `tokens` tokens of `source`; `destination` is its ACT region."""
        weights = self.section(lambda: pack_weights(matrix, self.overlay))
        parameters = self.section(lambda: pack_rows(matrix))
        target = destination or self.residual(matrix.rows)
        self.emit(
            name,
            Opcode.LINEAR,
            macs=tokens * matrix.inputs * (matrix.rows + matrix.rows8),
            mode=mode,
            tokens=tokens,
            inputs=matrix.inputs,
            outputs=matrix.rows,
            rows8=matrix.rows8,
            source=source.base,
            source_pitch=source.pitch,
            destination=target.base if destination else 0,
            destination_pitch=0 if mode == Epilogue.LOGITS else target.pitch,
            clamp=clamp,
            weights=weights,
            parameters=parameters,
            lookup=0 if table is None else self.section(lambda: table),
        )
        if destination:
            self.store(name, Source.ACT, tokens, matrix.rows, destination)
        elif mode == Epilogue.RESIDUAL:
            self.store(name, Source.RESIDUAL, tokens, matrix.rows, target)

    def layernorm(self, name: str, norm: Norm, tokens: int) -> Region:
        """LayerNorm of the residual's first `tokens` tokens into a new region."""
        width = norm.gain.size
        region = self.memory.allocate(name, tokens, width)
        self.emit(
            name,
            Opcode.LAYERNORM,
            tokens=tokens,
            inputs=width,
            source_pitch=self.residual(width).pitch,
            destination=region.base,
            destination_pitch=region.pitch,
            shift=norm.shift,
            parameters=self.section(lambda: norm.gain.astype("<u2")),
            epsilon=norm.epsilon,
        )
        self.store(name, Source.ACT, tokens, width, region)
        return region

    def program(self, model: Model, logits_bytes: int) -> Program:
        """The table and its sections as one block of bytes."""
        table_bytes = align(len(self.descriptors) * hw.DESCRIPTOR_BYTES)
        table = np.zeros(len(self.descriptors), hw.DESCRIPTOR_DTYPE)
        for row, values in zip(table, self.descriptors, strict=True):
            for name, value in values.items():
                row[name] = value + (table_bytes if _is_section(values, name) else 0)
        data = np.zeros(table_bytes + self.section_bytes, np.uint8)
        data[: table.nbytes] = table.view(np.uint8)
        np.concatenate(self.sections, out=data[table_bytes:])
        if data.size >= 2**32:
            raise CompileError(f"the program has {data.size} bytes, addresses reach 2^32")
        return Program(
            overlay=self.overlay,
            data=data,
            names=tuple(self.names),
            macs=tuple(self.macs),
            image_size=model.image_size,
            classes=model.classes,
            scale=model.head_scale.astype(np.float32),
            output_bytes=max(self.output_bytes, align(logits_bytes)),
            traces=self.traces,
        )


def _is_section(descriptor: dict[str, int], name: str) -> bool:
    """Whether the field holds an offset within the program."""
    if name == "address":
        return descriptor["opcode"] == Opcode.LOAD_RESIDUAL
    if name == "lookup":
        return descriptor["mode"] == Epilogue.TABLE
    return name in ("weights", "parameters")


def align(size: int) -> int:
    """Size rounded up to the interface's alignment."""
    return -(-size // hw.ALIGNMENT) * hw.ALIGNMENT


def rows_of(matrix: Linear, rows: slice) -> Linear:
    """Some rows of a matrix as a matrix of its own."""
    return Linear(
        matrix.weights[rows],
        matrix.bits[rows],
        matrix.bias[rows],
        matrix.multiplier[rows],
        matrix.shift[rows],
    )


def plan(model: Model, overlay: Overlay, *, trace: bool = False) -> bool:
    """Lay a model out without its weights' bytes: whether regions can keep apart (`OnChip.apart`).

    CompileError when it does not fit, with what is needed and what the overlay has.
    """
    residual_words = region_words(model.tokens, -(-model.width // overlay.depth), overlay)
    if residual_words > overlay.res_words:
        raise CompileError(
            f"the residual ({model.tokens} tokens x {model.width} channels) needs {residual_words} "
            f"words, overlay '{overlay.name}' has {overlay.res_words}"
        )
    if model.classes > overlay.logits:
        raise CompileError(
            f"{model.classes} classes, overlay '{overlay.name}' holds {overlay.logits} logits"
        )
    apart = True
    try:
        b = emit(model, overlay, trace, apart=True, planned=True)
    except CompileError:  # gaps may be what is missing; without them it is slower
        apart = False
        b = emit(model, overlay, trace, apart=False, planned=True)
    if len(b.descriptors) > hw.MAX_DESCRIPTORS:
        raise CompileError(
            f"the program has {len(b.descriptors)} descriptors, allowed are {hw.MAX_DESCRIPTORS}"
        )
    return apart


def emit(
    model: Model, overlay: Overlay, trace: bool, *, apart: bool, planned: bool = False
) -> Builder:
    """All operations of a model; CompileError when its regions do not fit."""
    b = Builder(overlay, trace, OnChip(overlay, apart), planned)
    b.output(model.classes * 4)
    _embed(b, model)
    for number, block in enumerate(model.blocks):
        _block(b, f"blocks.{number}", block, model.tokens, number == model.depth - 1)
    normed = b.layernorm("norm", model.norm, 1)
    b.linear("head", model.head, normed, 1, mode=Epilogue.LOGITS)
    b.emit("store", Opcode.STORE, mode=Source.LOGITS, outputs=model.classes)
    b.emit("end", Opcode.END)
    return b


def _embed(b: Builder, model: Model) -> None:
    """Position values into the residual, raw image into patches, patch embedding added."""
    b.emit(
        "position",
        Opcode.LOAD_RESIDUAL,
        tokens=model.tokens,
        inputs=model.width,
        destination_pitch=b.residual(model.width).pitch,
        address=b.section(lambda: model.position.astype("<i2")),
    )
    patches = b.memory.allocate("image", model.tokens, hw.PATCH_CHANNELS)
    b.emit(
        "image",
        Opcode.LOAD_IMAGE,
        destination=patches.base,
        destination_pitch=patches.pitch,
        image_size=model.image_size,
    )
    b.store("image", Source.ACT, model.tokens, hw.PATCH_CHANNELS, patches)
    b.linear("patch", model.patch, patches, model.tokens, mode=Epilogue.RESIDUAL)
    b.memory.free(patches)


def _block(b: Builder, name: str, block: Block, tokens: int, last: bool) -> None:
    """One transformer block. In the last one only CLS asks: one query, one token after it."""
    normed = b.layernorm(f"{name}.norm1", block.norm1, tokens)
    queries = 1 if last else tokens
    q, kv = _qkv(b, name, block, normed, tokens, last)
    b.memory.free(normed)
    channels = block.heads * hw.HEAD_DIM
    first_k = 0 if last else channels
    mixed = b.memory.allocate(f"{name}.attention", queries, channels)
    b.emit(
        f"{name}.attention",
        Opcode.ATTENTION,
        macs=2 * 2 * queries * tokens * channels,
        tokens=queries,
        keys=tokens,
        heads=block.heads,
        source=q.base,
        source_pitch=q.pitch,
        source_kv=kv.base,
        channel_k=first_k,
        channel_v=first_k + channels,
        kv_pitch=kv.pitch,
        destination=mixed.base,
        destination_pitch=mixed.pitch,
        parameters=b.section(lambda: _head_parameters(block)),
    )
    b.store(f"{name}.attention", Source.ACT, queries, channels, mixed)
    b.memory.free(kv)
    if last:
        b.memory.free(q)
    b.linear(f"{name}.proj", block.proj, mixed, queries, mode=Epilogue.RESIDUAL)
    b.memory.free(mixed)
    normed = b.layernorm(f"{name}.norm2", block.norm2, queries)
    hidden = b.memory.allocate(f"{name}.fc1", queries, block.mlp)
    b.linear(
        f"{name}.fc1",
        block.fc1,
        normed,
        queries,
        mode=Epilogue.TABLE,
        destination=hidden,
        table=block.gelu,
    )
    b.memory.free(normed)
    b.linear(f"{name}.fc2", block.fc2, hidden, queries, mode=Epilogue.RESIDUAL)
    b.memory.free(hidden)


def _qkv(
    b: Builder, name: str, block: Block, normed: Region, tokens: int, last: bool
) -> tuple[Region, Region]:
    """Q, K and V into one region, or in the last block Q of CLS apart; (q's, k and v's)."""
    channels, limit = block.heads * hw.HEAD_DIM, hw.CONSTANTS["WEIGHT8_MAX"]
    mode = Epilogue.REQUANTISE

    def project(part: str, rows: slice, count: int) -> Region:
        matrix = rows_of(block.qkv, rows)
        region = b.memory.allocate(f"{name}.{part}", count, matrix.rows)
        b.linear(
            f"{name}.{part}", matrix, normed, count, mode=mode, destination=region, clamp=limit
        )
        return region

    if last:
        kv = project("kv", slice(channels, None), tokens)
        return project("q", slice(channels), 1), kv
    qkv = project("qkv", slice(None), tokens)
    return qkv, qkv


def _head_parameters(block: Block) -> npt.NDArray[np.uint8]:
    heads = np.zeros(block.heads, hw.HEAD_DTYPE)
    for name in hw.HEAD_DTYPE.names or ():
        heads[name] = getattr(block.attention, name)
    return heads.view(np.uint8)
