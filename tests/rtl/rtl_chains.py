"""Programs whose operations overlap on the accelerator: nothing is stored in between.

Regions are chosen at random within a small part of the activation memory, so that operations read
what the one before has just written or is writing, overwrite what it reads, or have nothing to do
with it; only an operation's own source and destination are apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.errors import CompileError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, region_words
from quasar_runtime.model.synthetic import random_model
from tests.rtl.rtl_cases import Script


class Chain(Script):
    """Operations one after another; what is left in memory is stored at the end."""

    def __init__(self, seed: int, overlay: Overlay) -> None:
        super().__init__(seed, overlay)
        self.avoid: list[tuple[int, int]] = []
        self.views: list[tuple[tuple[int, int], int, int]] = []  # region, tokens, channels
        self.limit = overlay.act_words

    def span(self, region: tuple[int, int], tokens: int) -> tuple[int, int]:
        return region[0], region[0] + region_words(tokens, region[1], self.overlay)

    def region(self, tokens: int, channels: int) -> tuple[int, int]:
        """Anywhere below the limit, but not where the operation reads. What was there is gone: a
        value's place depends on its region's pitch."""
        pitch = -(-channels // self.overlay.depth) + int(self.rng.choice([0, 0, 3]))
        words = region_words(tokens, pitch, self.overlay)
        while True:
            base = int(self.rng.integers(0, self.limit - words + 1))
            if all(base >= end or base + words <= begin for begin, end in self.avoid):
                break
        region, end = (base, pitch), base + words
        spans = [(v, self.span(v[0], v[1])) for v in self.views]
        self.views = [v for v, (first, last) in spans if last <= base or first >= end]
        self.views.append((region, tokens, channels))
        return region

    def store(self, what: str, source: Source, tokens: int, channels: int, region) -> None:
        """Not now."""

    def view(self) -> tuple[tuple[int, int], int, int]:
        """Something to read: most often what was written last."""
        usable = [v for v in self.views if v[2] >= 32]
        if not usable:
            self.norm()
            usable = self.views[-1:]
        if self.rng.uniform() < 0.7:
            return usable[-1]
        return usable[int(self.rng.integers(len(usable)))]

    def matrix(self, mode: Epilogue) -> None:
        region, tokens, channels = self.view()
        if self.rng.uniform() < 0.3:
            tokens = int(self.rng.integers(1, tokens + 1))
        inputs = 32 * int(self.rng.integers(1, channels // 32 + 1))
        outputs = self.width if mode == Epilogue.RESIDUAL else int(self.rng.integers(1, 130))
        self.avoid = [self.span(region, tokens)]
        self.linear(region, tokens, inputs, outputs, mode)

    def norm(self) -> None:
        self.avoid = []
        self.layernorm(self.tokens if self.rng.uniform() < 0.7 else 1)

    def heads(self) -> None:
        """Q, K and V of one head by a matrix, and ATTENTION right behind."""
        region, tokens, channels = self.view()
        inputs = channels // 32 * 32
        self.avoid = [self.span(region, tokens)]
        qkv = self.linear(region, tokens, inputs, 3 * hw.HEAD_DIM, Epilogue.REQUANTISE)
        self.avoid = [self.span(qkv, tokens)]
        queries = int(self.rng.choice([1, tokens]))
        result = self.region(queries, hw.HEAD_DIM)
        p = np.zeros(1, hw.HEAD_DTYPE)
        p["score_multiplier"], p["score_shift"] = 2**14, 19
        p["out_multiplier"], p["out_shift"] = 2**14 + 77, 21
        self.table.add(
            Opcode.ATTENTION,
            tokens=queries,
            keys=tokens,
            heads=1,
            source=qkv[0],
            source_pitch=qkv[1],
            source_kv=qkv[0],
            kv_pitch=qkv[1],
            channel_k=hw.HEAD_DIM,
            channel_v=2 * hw.HEAD_DIM,
            destination=result[0],
            destination_pitch=result[1],
            parameters=self.table.section(p),
        )

    def program(self) -> Program:
        self.residual()
        self.image()
        self.limit = min(self.overlay.act_words, self.span((0, 100), self.tokens)[1] + 300)
        self.views.clear()
        self.norm()
        for _ in range(12):
            kind = int(self.rng.integers(10))
            if kind < 3:
                self.matrix(Epilogue.RESIDUAL)
                if self.rng.uniform() < 0.8:
                    self.norm()
            elif kind < 8:
                self.matrix(Epilogue.REQUANTISE if kind < 6 else Epilogue.TABLE)
            elif kind < 9:
                self.norm()
            else:
                self.heads()
        for region, tokens, channels in self.views:
            whole = channels // 32 * 32
            if whole:
                super().store("left", Source.ACT, tokens, whole, region)
        super().store("residual", Source.RESIDUAL, self.tokens, self.width, (0, self.res_pitch))
        return replace(self.table.program(self.side), traces=self.traces)


def chain_program(seed: int, overlay: Overlay) -> Program:
    """A hand-made program of operations that overlap."""
    return Chain(seed, overlay).program()


def untraced_program(seed: int, overlay: Overlay) -> Program:
    """A model of a random legal geometry and row mix, as it is run: only the logits are stored."""
    rng = np.random.default_rng(seed)
    while True:
        depth = int(rng.integers(1, 4))
        model = random_model(
            int(rng.integers(2**31)),
            image_size=16 * int(rng.choice([1, 2, 3, 5])),
            width=32 * int(rng.integers(1, 7)),
            heads=[int(h) for h in rng.integers(1, 4, depth)],
            mlp=[32 * int(n) for n in rng.integers(1, 9, depth)],
            share8=[None, 0.0, 1.0][int(rng.integers(3))],
            classes=int(rng.integers(1, 60)),
        )
        try:
            return compile_model(model, overlay)
        except CompileError:
            continue


def overwriting_program(seed: int, overlay: Overlay) -> Program:
    """A long LINEAR that adds to the residual, and a LAYERNORM into what it still reads."""
    c = Chain(seed, overlay)
    c.side, c.tokens, c.width = 112, 50, 96
    c.res_pitch = c.width // overlay.depth
    c.residual()
    pixels = c.image()
    c.linear(pixels, c.tokens, 256, c.width, Epilogue.RESIDUAL)
    inside = pixels[0] + int(c.rng.integers(0, 20)) * pixels[1], c.res_pitch
    c.region = lambda tokens, channels: inside  # type: ignore[method-assign]
    c.layernorm(c.tokens)
    Script.store(c, "layernorm", Source.ACT, c.tokens, c.width, inside)
    Script.store(c, "residual", Source.RESIDUAL, c.tokens, c.width, (0, c.res_pitch))
    return replace(c.table.program(c.side), traces=c.traces)
