"""LayerNorm and attention's parts, alone: statistics, softmax, K and V as weights."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest

from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Opcode
from tests.rtl.rtl_units import (
    KIND_SCORE,
    META,
    ORDER,
    PROGRESS_BITS,
    WRITTEN,
    agents,
    bench,
    descriptor,
    integer,
    packed,
    unpacked,
)

TOKENS, ROWS, DEPTH, LANES = 2, 4, 8, 2
KEYS_A_TILE = ROWS // 2
MAX_TOKENS = hw.CONSTANTS["MAX_TOKENS"]
KV_BEATS = 2 * MAX_TOKENS * hw.HEAD_DIM // (ROWS * DEPTH)
"""Beats of K, and of V, of a head in the weight memory."""


# --- LayerNorm


class Neighbours(bench.Agent):
    """A LINEAR that adds to the residual before, whose tiles get there one by one, and whose reads
    of RES and drained results go first."""

    def __init__(self, tiles: int, pause: float) -> None:
        self.tiles, self.pause, self.random = tiles, pause, random.Random(9)
        self.written = 0
        self.taken = [False, False]  # RES, the lanes: in the cycle before
        self.lasts: list[dict[str, int]] = []

    def drive(self, unit) -> None:
        self.written += self.written < self.tiles and self.random.random() >= 0.9 * self.pause
        unit.put(bench.lane("progress_i", 1, PROGRESS_BITS), self.written)
        for name in ("residual_valid_i", "lanes_taken_i"):
            unit.put(name, self.random.random() < self.pause)

    def sample(self, unit) -> None:
        assert not (unit.get("re_o") and self.taken[0]), "the epilogue reads RES"
        assert not (unit.get("valid_o") and self.taken[1]), "the drain has the lanes"
        self.taken = [bool(unit.get(name)) for name in ("residual_valid_i", "lanes_taken_i")]
        written = unpacked(WRITTEN, unit.get("written_o"))
        if written["tile_final"] or written["op_last"]:
            self.lasts.append(written)


@pytest.mark.parametrize("fabric", [0, 1])
@pytest.mark.parametrize("pause", [0.0, 0.7])
@pytest.mark.parametrize("chained", [0, 1])
@pytest.mark.parametrize(
    ("tokens", "channels", "limit"),
    [(1, 32, 2**15), (5, 96, 300), (7, 1024, 2**15), (4, 64, 1), (20, 32, 300)],
)
def test_layernorm_unit_gives_the_lanes_what_they_need(
    tokens, channels, limit, pause, chained, fabric
):
    rng = np.random.default_rng(channels)
    x = rng.integers(-limit, limit, (tokens, channels))
    gain, shift, epsilon = rng.integers(0, 2**15, channels), 20, 77
    pitch, base = channels // DEPTH + 1, 40
    result: dict[tuple[int, int], list[int]] = {}
    around = Neighbours(0, 0.0)

    def read(unit) -> int | None:
        if not unit.get("re_o"):
            return None
        tile, word = divmod(unit.get("address_o"), pitch)
        assert tile < around.written or not chained, "the tile is not there"
        at = slice(word * DEPTH, (word + 1) * DEPTH)
        values = [
            x[t, at] if t < tokens else np.full(DEPTH, 9) for t in range(2 * tile, 2 * tile + 2)
        ]
        return bench.pack(np.concatenate(values).tolist(), 16)

    def lanes(unit) -> None:
        if not unit.get("valid_o"):
            return
        assert unit.get("valid_o") == 2 ** (TOKENS + 1) - 1
        values = np.array(bench.unpack(unit.get("x_o"), 16, TOKENS * LANES, signed=True))
        values = values.reshape(TOKENS, LANES)
        scale = np.array(bench.unpack(unit.get("scale_o"), 27, TOKENS, signed=True))[:, None]
        offset = np.array(bench.unpack(unit.get("offset_o"), 44, TOKENS, signed=True))[:, None]
        right = np.array(bench.unpack(unit.get("shift_o"), 6, TOKENS))[:, None]
        t = np.clip(ar.rounding_shift(values * scale + offset, right), -(2**17), 2**17 - 1)
        y = ar.requantise(t, bench.unpack(unit.get("gain_o"), 15, LANES), shift, 127)
        key = unit.get("base_o"), unit.get("channel_o")
        assert key not in result, f"{key} came twice"
        result[key] = y[: unit.get("tokens_o")].tolist()

    sizes = {"TOKENS": TOKENS, "DEPTH": DEPTH, "LANES": LANES, "FABRIC": fabric}
    with bench.Unit("layernorm_unit", **sizes) as unit:
        fields = {
            "opcode": Opcode.LAYERNORM,
            "tokens": tokens,
            "inputs": channels,
            "source_pitch": pitch,
            "destination": base,
            "destination_pitch": pitch,
            "epsilon": epsilon,
        }
        unit.put("descriptor_i", descriptor(**fields))
        unit.put("order_i", packed(ORDER, tag=2, chained=chained, producer=1))
        tiles = -(-tokens // 2)
        for _ in range(2):
            result.clear()
            unit.pulse("start_i")
            beats = gain.astype("<u2").view(np.uint8).reshape(-1, 16)
            source = bench.Source(
                "p_valid_i", "p_ready_o", ["p_data_i"], [(integer(b),) for b in beats], pause=pause
            )
            memory = agents.OnChip("rdata_i", read)
            around = Neighbours(tiles, pause)
            agents_ = [source, memory, bench.Scripted(None, lanes), around]
            unit.run(agents_, lambda a=around: len(a.lasts) == tiles, more=5)
            assert not source.items
            assert [x["op_last"] for x in around.lasts] == [0] * (tiles - 1) + [1]
            assert {(x["tile_final"], x["tag"]) for x in around.lasts} == {(1, 2)}
            assert not unit.get("busy_o")
            wanted = ar.layernorm(x, gain, shift, epsilon)
            assert result == {
                (base + tile * pitch, c): wanted[2 * tile : 2 * tile + 2, c : c + LANES].tolist()
                for tile in range(tiles)
                for c in range(0, channels, LANES)
            }


def test_layernorm_unit_names_the_beat_of_a_gain_outside_its_range():
    gains = np.ones(32, "<u2")
    gains[19] = 2**15
    with bench.Unit("layernorm_unit", TOKENS=TOKENS, DEPTH=DEPTH, LANES=LANES) as unit:
        fields = {"opcode": Opcode.LAYERNORM, "tokens": 1, "inputs": 32, "parameters": 640}
        unit.put("descriptor_i", descriptor(**fields))
        unit.pulse("start_i")
        items = [(integer(b),) for b in gains.view(np.uint8).reshape(-1, 16)]
        source = bench.Source("p_valid_i", "p_ready_o", ["p_data_i"], items)
        fault = bench.Sink("fault_o", None, ["fault_address_o"])
        unit.run([source, fault], lambda: not source.items, more=3)
        assert fault.items == [(640 + 32,)]


# --- Softmax


class Scores(bench.Agent):
    """The array: a tile's scores once the buffer of its parity is free, in pieces with gaps of the
    cycles that the array takes for one, or more."""

    def __init__(self, scores: list[np.ndarray], tiles: int, pause: float) -> None:
        self.pieces = deque()
        for number, tile in enumerate(scores):
            groups = -(-tile.shape[1] // KEYS_A_TILE)
            padded = np.full((TOKENS, groups * KEYS_A_TILE), 2**20 - 1)  # beyond the keys: noise
            padded[:, : tile.shape[1]] = tile
            for g in range(groups):
                part = padded[:, g * KEYS_A_TILE : (g + 1) * KEYS_A_TILE]
                digits = np.stack([part & 15, part >> 4], axis=2).reshape(-1)
                tag = packed(
                    META,
                    kind=KIND_SCORE,
                    parity=number % 2,
                    head=number // tiles,
                    group=g,
                    group_last=g == groups - 1,
                )
                self.pieces.append((number, tag, bench.pack(digits.tolist(), 23), g == groups - 1))
        self.pause, self.random, self.released = pause, random.Random(1), 0
        self.gap = 0

    def drive(self, unit) -> None:
        unit.put("score_i", 0)
        self.gap -= 1
        if (
            self.pieces
            and self.gap <= 0
            and self.pieces[0][0] < self.released + 2
            and self.random.random() >= self.pause
        ):
            _, tag, digits, _ = self.pieces.popleft()
            self.gap = hw.HEAD_DIM // DEPTH
            unit.put("score_i", 1)
            unit.put("meta_i", tag)
            unit.put("acc_i", digits)

    def sample(self, unit) -> None:
        self.released += unit.get("score_release_o")


@pytest.mark.parametrize("fabric", [0, 1])
@pytest.mark.parametrize("exp_rows", [1, 2])
@pytest.mark.parametrize("pause", [0.0, 0.6])
@pytest.mark.parametrize("keys", [1, 2, 7, 8, 17, 50])
def test_softmax_gives_numerators_and_reciprocals_of_their_sums(keys, pause, exp_rows, fabric):
    rng, heads, queries = np.random.default_rng(keys), 2, 5
    tiles = -(-queries // TOKENS)
    scores = [
        rng.integers(-(2**20) + 1, 2**20, (TOKENS, keys)) >> int(rng.integers(0, 16))
        for _ in range(heads * tiles)
    ]
    heads_ = [(2**15 - 1, 19), (12345, 6)]
    sizes = {"TOKENS": TOKENS, "ROWS": ROWS, "DEPTH": DEPTH}
    with bench.Unit("softmax", **sizes, EXP_ROWS=exp_rows, FABRIC=fabric) as unit:
        fields = {"opcode": Opcode.ATTENTION, "tokens": queries, "keys": keys, "heads": heads}
        unit.put("descriptor_i", descriptor(**fields))
        unit.pulse("start_i")

        def parameters(u) -> None:
            multiplier, shift = heads_[min(u.get("head_o"), heads - 1)]
            u.put("multiplier_i", multiplier)
            u.put("shift_i", shift)

        feed = Scores(scores, tiles, pause)
        around = [feed, bench.Scripted(parameters)]
        ready = bench.Sink("ready_o", None, ["parity_o"])
        waiting = random.Random(keys)
        for number, tile in enumerate(scores):
            unit.run([*around, ready], ready.has(number + 1))
            assert ready.items[number] == (number % 2,)
            unit.run([*around, ready], lambda: True, more=TOKENS + 8)  # the reciprocals, later
            e = ar.softmax_numerators(tile, *heads_[number // tiles])
            y, k = ar.reciprocal(e.sum(axis=1))
            at = number % 2
            assert bench.unpack(unit.get("y_o"), 16, 4)[2 * at : 2 * at + 2] == y.tolist()
            shifts = bench.unpack(unit.get("shift_o"), 6, 4)[2 * at : 2 * at + 2]
            assert shifts == (k - ar.MEAN_FRACTION).tolist()
            padded = np.zeros((TOKENS, -(-keys // DEPTH) * DEPTH), int)
            padded[:, :keys] = e
            for step in range(padded.shape[1] // DEPTH):
                unit.put("e_address_i", at * (MAX_TOKENS // DEPTH) + step)
                unit.run([*around, ready], lambda: True, more=2)
                found = bench.unpack(unit.get("e_o"), 8, TOKENS * DEPTH)
                wanted = padded[:, step * DEPTH : (step + 1) * DEPTH]
                assert found == wanted.reshape(-1).tolist()
            unit.run([*around, ready], lambda: True, more=waiting.randrange(30))
            unit.put("drained_i", 1)
            unit.put("drained_parity_i", at)
            unit.run([*around, ready], lambda: True)
            unit.put("drained_i", 0)
        assert not feed.pieces
        assert len(ready.items) == len(scores)


# --- K and V


def digits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """low and high with value = 16 * high + low, low in [-8, 7], as nibbles."""
    low = (values + 8) % 16 - 8
    return low & 15, (values - low) // 16 & 15


@pytest.mark.parametrize("pause", [0.0, 0.7])
@pytest.mark.parametrize(("keys", "heads"), [(1, 1), (5, 3), (17, 2)])
def test_kv_fill_lays_keys_and_values_out_as_weights_beside_the_stream(keys, heads, pause):
    rng = np.random.default_rng(keys)
    pitch = 3 * heads * hw.HEAD_DIM // DEPTH
    act = rng.integers(-119, 120, (2 * (-(-keys // 2)), pitch * DEPTH))
    first_k, first_v, base = heads * hw.HEAD_DIM, 2 * heads * hw.HEAD_DIM, 11
    memory = np.zeros((4 * KV_BEATS + 40, ROWS, DEPTH), np.int64)
    random_ = random.Random(keys)
    beats = rng.integers(0, 16, (40, ROWS, DEPTH))  # of the stream, behind both heads' halves
    stream = deque(enumerate(beats))
    reads = [False, False]

    def read(unit) -> int | None:
        if not (unit.get("read_o") and unit.get("grant_i")):
            return None
        tile, word = divmod(unit.get("address_o") - base, pitch)
        values = act[TOKENS * tile : TOKENS * (tile + 1), word * DEPTH : (word + 1) * DEPTH]
        return bench.pack(values.reshape(-1).tolist(), 8)

    def write(unit) -> None:
        reads.append(bool(unit.get("read_o") and unit.get("grant_i")))
        enable = unit.get("we_o")
        if enable:
            chunks = np.array(bench.unpack(enable, 1, ROWS * DEPTH // TOKENS), bool)
            mask = np.repeat(chunks, TOKENS).reshape(ROWS, DEPTH)
            data = np.array(bench.unpack(unit.get("wdata_o"), 4, ROWS * DEPTH)).reshape(ROWS, DEPTH)
            memory[unit.get("waddress_o")][mask] = data[mask]

    def grant(unit) -> None:
        unit.put("grant_i", random_.random() >= pause)
        unit.put("fill_we_i", 0)
        if stream and random_.random() < 0.3 and not reads[-2]:  # write_next_o is low
            number, beat = stream.popleft()
            unit.put("fill_we_i", 1)
            unit.put("fill_address_i", 4 * KV_BEATS + number)
            unit.put("fill_data_i", bench.pack(beat.reshape(-1), 4))

    with bench.Unit("kv_fill", TOKENS=TOKENS, ROWS=ROWS, DEPTH=DEPTH, WADDRESS=13) as unit:
        fields = {
            "opcode": Opcode.ATTENTION,
            "keys": keys,
            "heads": heads,
            "source_kv": base,
            "kv_pitch": pitch,
            "channel_k": first_k,
            "channel_v": first_v,
        }
        unit.put("descriptor_i", descriptor(**fields))
        unit.pulse("start_i")
        around = [bench.Scripted(grant, write), agents.OnChip("rdata_i", read)]
        for head in range(heads):
            parity, at = head % 2, hw.HEAD_DIM * head
            first = parity * 2 * KV_BEATS
            for flag, check in (("k_full_o", keys_there), ("v_full_o", values_there)):
                unit.run(around, lambda f=flag, p=parity: bool(unit.get(f) >> p & 1))
                channel = at + (first_k if flag == "k_full_o" else first_v)
                check(memory[first:], act[:keys, channel : channel + hw.HEAD_DIM])
            unit.run(around, lambda: True, more=random_.randrange(400))
            check_both = (keys_there, first_k), (values_there, first_v)
            for check, channel in check_both:  # still there, though the next head may be as well
                check(memory[first:], act[:keys, at + channel : at + channel + hw.HEAD_DIM])
            unit.put("release_i", 1)
            unit.run(around, lambda: True)
            unit.put("release_i", 0)
        unit.run(around, lambda: not stream, more=3)
        assert np.array_equal(memory[4 * KV_BEATS :], beats)


def keys_there(memory: np.ndarray, k: np.ndarray) -> None:
    """Digit rows 2 i and 2 i + 1 of a group are the low and high digits of its key i."""
    low, high = digits(k)
    for key in range(len(k)):
        group, row = divmod(key, KEYS_A_TILE)
        steps = memory[group * hw.HEAD_DIM // DEPTH :][: hw.HEAD_DIM // DEPTH]
        assert np.array_equal(steps[:, 2 * row].reshape(-1), low[key])
        assert np.array_equal(steps[:, 2 * row + 1].reshape(-1), high[key])


def values_there(memory: np.ndarray, v: np.ndarray) -> None:
    """The same of channels, with keys along the depth."""
    low, high = digits(v)
    for channel in range(hw.HEAD_DIM):
        group, row = divmod(channel, KEYS_A_TILE)
        steps = memory[KV_BEATS + group * MAX_TOKENS // DEPTH :][: -(-len(v) // DEPTH)]
        assert np.array_equal(steps[:, 2 * row].reshape(-1)[: len(v)], low[:, channel])
        assert np.array_equal(steps[:, 2 * row + 1].reshape(-1)[: len(v)], high[:, channel])
