"""Programs at the ends of descriptor fields and memories, for b64: what random ones seldom are.

2 tokens x 8 channels a word, 4,096 words of ACT, 2,048 of RES. Every operation's result is stored.
Nothing is read that was not written before, since the memories start with noise, and a region is
read with the base and pitch with which it was written: what else would come is not the interface's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quasar_runtime.compiler.packing import pack_rows, pack_weights
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.network import Linear
from tests.runtime.devices.native_cases import Table, random_linear

LAST_LAYER = 2**16 - 1


class Extremes:
    """A table of operations, and shorthands for them."""

    def __init__(self, overlay: Overlay, seed: int) -> None:
        self.table = Table(overlay)
        self.rng = np.random.default_rng(seed)
        self.overlay = overlay

    def program(self, image_size: int = 16, layer: int = 0) -> Program:
        program = self.table.program(image_size)
        program.descriptors["layer"][-1] = layer
        return program

    def residual(
        self, tokens: int, channels: int, pitch: int, layer: int = 0, limit: int = 2**15
    ) -> None:
        values = self.rng.integers(-limit, max(limit, 1), (tokens, channels)).astype("<i2")
        self.table.add(
            Opcode.LOAD_RESIDUAL,
            layer=layer,
            tokens=tokens,
            inputs=channels,
            destination_pitch=pitch,
            address=self.table.section(values),
        )

    def zeros(self) -> None:
        """RES' first 1,024 words, whatever pitch they are then read with."""
        self.residual(256, 64, 8, limit=0)

    def act(self, tokens: int, channels: int, base: int, pitch: int, layer: int = 0) -> None:
        self.table.store(Source.ACT, tokens, channels, pitch, base)
        self.table.descriptors[-1]["layer"] = layer

    def res(self, tokens: int, channels: int, pitch: int, layer: int = 0) -> None:
        self.table.store(Source.RESIDUAL, tokens, channels, pitch)
        self.table.descriptors[-1]["layer"] = layer

    def logits(self, count: int, layer: int = 0) -> None:
        at = self.table.output_bytes
        self.table.add(Opcode.STORE, mode=Source.LOGITS, outputs=count, address=at, layer=layer)
        self.table.output_bytes += -(-count * 4 // 64) * 64

    def layernorm(
        self,
        tokens: int,
        channels: int,
        source_pitch: int,
        base: int,
        pitch: int,
        shift: int = 20,
        epsilon: int = 1,
        layer: int = 0,
    ) -> None:
        gain = self.rng.integers(0, 2**15, channels)
        gain[:2] = 0, 2**15 - 1
        self.table.add(
            Opcode.LAYERNORM,
            layer=layer,
            tokens=tokens,
            inputs=channels,
            source_pitch=source_pitch,
            destination=base,
            destination_pitch=pitch,
            shift=shift,
            epsilon=epsilon,
            parameters=self.table.section(gain.astype("<u2")),
        )

    def matrix(self, outputs: int, inputs: int, share8: float) -> Linear:
        """Rows of every kind, multipliers and shifts at their ends among them."""
        matrix = random_linear(self.rng, outputs, inputs, share8)
        matrix.shift[:] = self.rng.integers(14, 28, outputs)
        for row, (multiplier, shift) in enumerate([(0, 20), (2**15 - 1, 40), (3, 0)]):
            matrix.multiplier[row : row + 1] = multiplier
            matrix.shift[row : row + 1] = shift
        return matrix

    def linear(
        self,
        mode: Epilogue,
        tokens: int,
        inputs: int,
        outputs: int,
        source,
        target,
        share8: float = 0.5,
        **fields: int,
    ) -> None:
        """source, target: (base, pitch)."""
        fields = {"clamp": 127} | fields
        if mode == Epilogue.TABLE:
            fields["lookup"] = self.table.section(self.rng.integers(-127, 128, 256).astype("i1"))
        if mode in (Epilogue.REQUANTISE, Epilogue.TABLE):
            fields["destination"] = target[0]
        if mode != Epilogue.LOGITS:
            fields["destination_pitch"] = target[1]
        matrix = self.matrix(outputs, inputs, share8)
        channels = self.rng.permutation(outputs)
        place = {"source": source[0], "source_pitch": source[1], "tokens": tokens}
        self.table.linear(matrix, mode, channels, **place, **fields)

    def attention(
        self, tokens: int, keys: int, heads: int, source, kv, target, channels, layer: int = 0
    ) -> None:
        """source, kv, target: (base, pitch); channels: of K and of V."""
        p = np.zeros(heads, hw.HEAD_DTYPE)
        p["score_multiplier"] = self.rng.choice([1, 2**14, 2**15 - 1], heads)
        p["score_shift"] = self.rng.choice([15, 19, 21], heads)
        p["out_multiplier"] = self.rng.integers(2**13, 2**15, heads)
        p["out_shift"] = self.rng.choice([20, 21, 22], heads)
        self.table.add(
            Opcode.ATTENTION,
            layer=layer,
            tokens=tokens,
            keys=keys,
            heads=heads,
            source=source[0],
            source_pitch=source[1],
            source_kv=kv[0],
            kv_pitch=kv[1],
            destination=target[0],
            destination_pitch=target[1],
            channel_k=channels[0],
            channel_v=channels[1],
            parameters=self.table.section(p),
        )


def images(overlay: Overlay) -> Program:
    """The largest image, and small ones from anywhere in it; stores of nothing."""
    x = Extremes(overlay, 1)
    side, most = 144, overlay.act_words

    def load(size: int, base: int, pitch: int, address: int, layer: int) -> None:
        x.table.add(
            Opcode.LOAD_IMAGE,
            image_size=size,
            destination=base,
            destination_pitch=pitch,
            address=address,
            layer=layer,
        )

    load(side, most - 41 * 96, 96, 0, LAST_LAYER)
    x.act(82, 768, most - 41 * 96, 96, LAST_LAYER)
    load(16, 0, most, 64, 0)
    x.act(2, 768, 0, most)
    load(16, 7, 100, side * side * 3 - 768, 5)
    x.act(2, 768, 7, 100)
    x.act(0, 32, 0, 4)
    x.act(1, 0, 0, 1)
    return x.program(side, LAST_LAYER)


def residuals(overlay: Overlay) -> Program:
    """RES in every shape, and LAYERNORM of it."""
    x = Extremes(overlay, 2)
    x.residual(256, 32, 16, LAST_LAYER)
    x.res(256, 32, 16, LAST_LAYER)
    x.layernorm(256, 32, 16, overlay.act_words - 512, 4, layer=LAST_LAYER)
    x.act(256, 32, overlay.act_words - 512, 4)
    x.layernorm(256, 32, 16, 0, 32, shift=1, epsilon=2**32 - 1)
    x.act(256, 32, 0, 32)
    x.residual(8, 1024, 128, 7)
    x.res(2, 1024, 128)
    x.layernorm(2, 1024, 128, 5, 130, shift=40)
    x.act(2, 1024, 5, 130)
    x.layernorm(1, 1024, 128, 5, 130, shift=21, epsilon=12345)
    x.act(1, 1024, 5, 130)
    x.res(0, 32, 4)
    x.res(1, 0, 1)
    x.residual(1, 64, overlay.res_words)  # the last bytes of the program
    x.res(1, 64, 8)
    return x.program()


def linears(overlay: Overlay, mode: Epilogue) -> Program:
    """The largest and smallest matrices, tokens from one to all, regions at the memories' ends."""
    x = Extremes(overlay, 3 + mode)
    end, most = overlay.act_words, hw.CONSTANTS["MAX_CHANNELS"]
    outputs = overlay.logits if mode == Epilogue.LOGITS else most
    tokens = (1, 1) if mode == Epilogue.LOGITS else (2, 256)

    def store(count: int, channels: int, region: tuple[int, int]) -> None:
        if mode == Epilogue.LOGITS:
            x.logits(channels, LAST_LAYER if channels == outputs else 0)
        elif mode == Epilogue.RESIDUAL:
            x.res(count, max(32, channels), region[1])
        else:
            x.act(count, max(32, channels), *region)

    x.residual(256, 32, 4)
    x.layernorm(256, 32, 4, 0, 4)
    x.layernorm(256, 32, 4, end - 512, 4)
    x.zeros()
    many = (0, 4) if mode == Epilogue.RESIDUAL else (end - 1024, 4)
    x.linear(mode, tokens[1], 32, 32, (0, 4), many, 1.0, layer=LAST_LAYER, clamp=119)
    store(tokens[1], 32, many)
    x.residual(2, 32, 4)
    x.layernorm(2, 32, 4, 0, end)
    x.zeros()
    x.linear(mode, tokens[0], 32, outputs, (0, end), (600, 512), 1.0, clamp=121)
    store(tokens[0], outputs, (600, 512))
    # 4,096 inputs: of the row just written, or of one made for it.
    if mode in (Epilogue.RESIDUAL, Epilogue.LOGITS):
        x.linear(Epilogue.REQUANTISE, 2, 32, most, (0, end), (600, 512))
    whole = (0, overlay.res_words if mode == Epilogue.RESIDUAL else end)
    x.residual(2, 32, overlay.res_words)
    x.linear(mode, tokens[0], most, 1, (600, 512), whole)
    store(tokens[0], 1, whole)
    x.zeros()
    x.linear(mode, tokens[0], 32, 64, (end - 4, 4), (1300, 8), 0.0)
    store(tokens[0], 0 if mode == Epilogue.LOGITS else 64, (1300, 8))
    if mode in (Epilogue.REQUANTISE, Epilogue.TABLE):  # the result ends with the memory
        x.linear(mode, 256, 32, 32, (end - 512, 4), (1536, 4))
        store(256, 32, (1536, 4))
        x.linear(mode, 256, 32, 32, (1536, 4), (end - 512, 4))
        store(256, 32, (end - 512, 4))
    return x.program()


def attentions(overlay: Overlay) -> Program:
    """All tokens and keys, all heads, K and V as far as channels go, one query on one key."""
    x = Extremes(overlay, 8)
    end = overlay.act_words
    x.residual(256, 32, 4)
    x.layernorm(256, 32, 4, end - 512, 4)
    keep = {"clamp": 119}
    x.linear(Epilogue.REQUANTISE, 256, 32, 192, (end - 512, 4), (0, 24), **keep)
    x.attention(256, 256, 1, (0, 24), (0, 24), (end - 1024, 8), (64, 128), LAST_LAYER)
    x.act(256, 64, end - 1024, 8)
    x.linear(Epilogue.REQUANTISE, 2, 32, 4096, (end - 1024, 8), (end - 512, 512), **keep)
    last = (end - 512, 512)
    x.attention(2, 2, 16, last, last, (0, end), (3072, 0))
    x.act(2, 1024, 0, end)
    x.attention(1, 1, 1, last, last, (5, 9), (0, 3072))
    x.act(1, 64, 5, 9)
    x.linear(Epilogue.REQUANTISE, 2, 32, 192, last, (0, end), **keep)
    x.attention(2, 2, 1, (0, end), (0, end), (2000, 8), (64, 128))
    x.act(2, 64, 2000, 8)
    return x.program()


def last_sections(overlay: Overlay) -> Iterator[Program]:
    """Weights, and a table, as the last bytes of the program."""
    for mode in Epilogue:
        for last in ("weights", "lookup") if mode == Epilogue.TABLE else ("weights",):
            x = Extremes(overlay, 20 + mode)
            x.residual(3, 64, 8)
            x.layernorm(3, 64, 8, 0, 8)
            matrix = x.matrix(33, 64, 0.5)
            rows = pack_rows(matrix).view(hw.ROW_DTYPE)
            rows["channel"] = x.rng.permutation(33)
            sections = {
                "parameters": rows,
                "weights": pack_weights(matrix, overlay),
                "lookup": x.rng.integers(-127, 128, 256).astype("i1"),
            }
            if mode != Epilogue.TABLE:
                del sections["lookup"]
            order = sorted(sections, key=lambda name: name == last)
            fields = {name: x.table.section(sections[name]) for name in order}
            if mode != Epilogue.LOGITS:
                fields["destination_pitch"] = 8
            if mode in (Epilogue.REQUANTISE, Epilogue.TABLE):
                fields["destination"] = 100
            x.table.add(
                Opcode.LINEAR,
                mode=mode,
                tokens=1 if mode == Epilogue.LOGITS else 3,
                inputs=64,
                outputs=33,
                rows8=matrix.rows8,
                source_pitch=8,
                clamp=127,
                **fields,
            )
            if mode == Epilogue.LOGITS:
                x.logits(33)
            elif mode == Epilogue.RESIDUAL:
                x.res(3, 64, 8)
            else:
                x.act(3, 32, 100, 8)
            yield x.program()


def programs(overlay: Overlay) -> dict[str, Program]:
    """Every directed program by name."""
    found = {"images": images(overlay), "residuals": residuals(overlay)}
    found |= {f"linear, {mode.name}": linears(overlay, mode) for mode in Epilogue}
    found["attentions"] = attentions(overlay)
    found |= {f"last section {i}": p for i, p in enumerate(last_sections(overlay))}
    return found
