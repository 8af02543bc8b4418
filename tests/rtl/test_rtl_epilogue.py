"""What the array's and LayerNorm's results go through, alone: epilogue and writeback."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa.interface import Epilogue
from tests.rtl.rtl_units import (
    KIND_LINEAR,
    KIND_VALUE,
    LANE_ROW,
    META,
    WRITTEN,
    agents,
    bench,
    packed,
    unpacked,
)


class Lanes(bench.Agent):
    """A row of lane inputs in some cycles, and what comes out of it, in order."""

    def __init__(self, items: list[dict[str, int]], valid: str, most: int, pause: float) -> None:
        self.items, self.valid, self.most = deque(items), valid, most
        self.random = np.random.default_rng(1)
        self.pause = pause
        self.found: list[dict[str, int]] = []

    def drive(self, unit) -> None:
        unit.put(self.valid, 0)
        if self.items and self.random.uniform() >= self.pause:
            for name, value in self.items.popleft().items():
                unit.put(name, value)

    def sample(self, unit) -> None:
        if unit.get("valid_o"):
            names = (
                "valid_o",
                "written_o",
                "residual_o",
                "tokens_o",
                "base_o",
                "channel_o",
                "result_o",
            )
            self.found.append({name: unit.get(name) for name in names})


def copies(tokens: int) -> int:
    """A choice that each token has a copy of, and one more, all set."""
    return 2 ** (tokens + 1) - 1


LINEAR_MODES = [Epilogue.REQUANTISE, Epilogue.TABLE, Epilogue.RESIDUAL]


@pytest.mark.parametrize("pause", [0.0, 0.5])
@pytest.mark.parametrize("mode", [*LINEAR_MODES, "attention"])
def test_epilogue_requantises_what_the_array_drained(mode, pause):
    tokens, lanes, rng = 2, 4, np.random.default_rng(len(str(mode)))
    table = rng.integers(-127, 128, 256)
    attention, clamp = mode == "attention", 119
    y = rng.integers(2**15, 2**16, (2, tokens))
    shift_a = rng.integers(7, 23, (2, tokens))
    tag = {"kind": KIND_VALUE, "clamp": 99, "mode": 2} if attention else {"kind": KIND_LINEAR}
    tag |= {"tag": 2, "tile_final": 1, "op_last": 1}
    if not attention:
        tag |= {"mode": mode, "clamp": clamp}
    items, expected, bits = [], [], 16
    for number in range(300):
        acc = rng.integers(-(2**22), 2**22, (tokens, lanes)) >> int(rng.integers(0, 20))
        multiplier, shift = rng.integers(0, 2**15, lanes), rng.integers(0, 41, lanes)
        channel, base = rng.integers(0, 4096, lanes), int(rng.integers(2**24))
        valid, parity, last = int(rng.integers(1, 16)), int(rng.integers(2)), number % 7 == 0
        row = [
            packed(LANE_ROW, multiplier=multiplier[i], shift=shift[i], channel=channel[i])
            for i in range(lanes)
        ]
        items.append(
            {
                "drain_valid_i": valid,
                "drain_last_i": last,
                "drain_linear_i": 0 if attention else copies(tokens),
                "drain_meta_i": packed(
                    META, parity=parity, base=base, tokens=1 + number % 2, **tag
                ),
                "drain_row_i": bench.pack(row, 65),
                "drain_acc_i": bench.pack(acc.reshape(-1), 32),
            }
        )
        v = acc
        if attention:
            mean = ar.rounding_shift(acc * y[parity][:, None], shift_a[parity][:, None])
            v = np.clip(mean, -(2**17), 2**17 - 1)
        result = ar.rounding_shift(v * multiplier, shift)
        low, high = (-(2**15), 2**15 - 1) if mode == Epilogue.RESIDUAL else (-clamp, clamp)
        if attention:
            low, high = -127, 127
        result = np.clip(result, low, high)
        if mode == Epilogue.TABLE:
            result, bits = ar.lookup(result, table), 8
        place = {
            "valid_o": valid,
            "written_o": packed(WRITTEN, tile_final=last, op_last=last, tag=2),
            "residual_o": mode == Epilogue.RESIDUAL,
            "tokens_o": 1 + number % 2,
            "base_o": base,
            "channel_o": bench.pack(channel, 12),
        }
        expected.append(place | {"result_o": bench.pack(result.reshape(-1), 16)})
    with bench.Unit("epilogue", TOKENS=tokens, LANES=lanes) as unit:
        unit.put("mean_y_i", bench.pack(y.reshape(-1), 16))
        unit.put("mean_shift_i", bench.pack(shift_a.reshape(-1), 6))
        load_table(unit, table)
        lane = Lanes(items, "drain_valid_i", 300, pause)
        unit.run([lane], lambda: len(lane.found) == 300, more=20)
    for found, wanted in zip(lane.found, expected, strict=True):
        masked(found, tokens, lanes, bits), masked(wanted, tokens, lanes, bits)
        assert found == wanted


def masked(place: dict[str, int], tokens: int, lanes: int, bits: int) -> None:
    """Forget what lanes hold that are not valid, and of results all but their lowest bits."""
    keep = [place["valid_o"] >> i & 1 for i in range(lanes)]
    channel = bench.unpack(place["channel_o"], 12, lanes)
    result = bench.unpack(place["result_o"], 16, tokens * lanes)
    place["channel_o"] = bench.pack([c * k for c, k in zip(channel, keep, strict=True)], 12)
    place["result_o"] = bench.pack(
        [(r & 2**bits - 1) * keep[i % lanes] for i, r in enumerate(result)], 16
    )


def load_table(unit, table: np.ndarray) -> None:
    words = table.astype("i1").view("<u4")
    unit.put("table_we_i", 1)
    for address, word in enumerate(words.tolist()):
        unit.put("table_address_i", address)
        unit.put("table_data_i", word)
        unit.step()
    unit.put("table_we_i", 0)


def test_epilogue_normalises_with_the_lanes_formula():
    tokens, lanes, rng = 2, 4, np.random.default_rng(2)
    items, expected = [], []
    for number in range(300):
        x, gain = rng.integers(-(2**15), 2**15, (tokens, lanes)), rng.integers(0, 2**15, lanes)
        scale, shift_a = rng.integers(0, 2**26, tokens), rng.integers(12, 30, tokens)
        offset = rng.integers(-(2**40), 2**40, tokens)
        channel, base = 4 * int(rng.integers(256)), int(rng.integers(2**24))
        items.append(
            {
                "norm_valid_i": copies(tokens),
                "norm_written_i": packed(WRITTEN, tile_final=number % 2, tag=3),
                "norm_out_shift_i": 21,
                "norm_tokens_i": 2,
                "norm_base_i": base,
                "norm_channel_i": channel,
                "norm_scale_i": bench.pack(scale, 27),
                "norm_offset_i": bench.pack(offset, 44),
                "norm_shift_i": bench.pack(shift_a, 6),
                "norm_x_i": bench.pack(x.reshape(-1), 16),
                "norm_gain_i": bench.pack(gain, 15),
            }
        )
        t = ar.rounding_shift(x * scale[:, None] + offset[:, None], shift_a[:, None])
        result = ar.requantise(np.clip(t, -(2**17), 2**17 - 1), gain, 21, 127)
        expected.append(
            {
                "valid_o": 15,
                "written_o": packed(WRITTEN, tile_final=number % 2, tag=3),
                "residual_o": 0,
                "tokens_o": 2,
                "base_o": base,
                "channel_o": bench.pack([channel + i for i in range(lanes)], 12),
                "result_o": bench.pack(result.reshape(-1), 16),
            }
        )
    with bench.Unit("epilogue", TOKENS=tokens, LANES=lanes) as unit:
        lane = Lanes(items, "norm_valid_i", 300, 0.3)
        unit.run([lane], lambda: len(lane.found) == 300, more=20)
    assert lane.found == expected


def test_epilogue_sends_logits_to_their_banks_alone():
    rng, lanes, banks = np.random.default_rng(3), 4, 4
    expected: list[dict[int, tuple[int, int]]] = []
    items = []
    meta = packed(META, kind=KIND_LINEAR, mode=Epilogue.LOGITS, clamp=127)
    for _ in range(100):
        values = rng.integers(0, 2**32, lanes).tolist()
        channels = [4 * int(rng.integers(250)) + int(b) for b in rng.permutation(banks)]
        valid = int(rng.integers(1, 16))
        row = [packed(LANE_ROW, channel=c) for c in channels]
        items.append(
            {
                "drain_valid_i": valid,
                "drain_meta_i": meta,
                "drain_linear_i": copies(2),
                "drain_acc_i": bench.pack(values, 32),
                "drain_row_i": bench.pack(row, 65),
            }
        )
        sent = [i for i in range(lanes) if valid >> i & 1]
        expected.append({channels[i] % banks: (channels[i], values[i]) for i in sent})
    found = []

    def watch(unit) -> None:
        index = bench.unpack(unit.get("logit_index_o"), 12, banks)
        data = bench.unpack(unit.get("logit_data_o"), 32, banks)
        enabled = [b for b in range(banks) if unit.get("logit_we_o") >> b & 1]
        if enabled:
            found.append({b: (index[b], data[b]) for b in enabled})

    with bench.Unit("epilogue", TOKENS=2, LANES=lanes) as unit:
        feed = Lanes(items, "drain_valid_i", 0, 0.3)
        unit.run([feed, bench.Scripted(None, watch)], lambda: len(found) == 100, more=20)
    assert found == expected
    assert not feed.found


# --- Writeback


@pytest.mark.parametrize("residual", [0, 1])
@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_writeback_puts_each_lane_in_its_column_and_adds_to_the_residual(residual, pause):
    tokens, depth, lanes, words = 2, 8, 4, 64
    rng = np.random.default_rng(residual)
    act = np.zeros((words, tokens, depth), np.int64)
    res = rng.integers(-(2**15), 2**15, (words, tokens, depth))
    expected = {0: act.copy(), 1: res.copy()}
    # Every (word, column) once; lanes of a cycle in different columns.
    places = deque(rng.permutation(words * depth).tolist())
    items = []
    while places:
        taken: dict[int, int] = {}
        while places and len(taken) < lanes and places[0] % depth not in taken:
            place = places.popleft()
            taken[place % depth] = place // depth
        valid = sorted(rng.permutation(lanes)[: len(taken)].tolist())
        count = int(rng.integers(1, tokens + 1))
        base = min(taken.values())
        result = rng.integers(-(2**15), 2**15, (tokens, lanes))
        if not residual:
            result = np.clip(result, -127, 127)
        channel = [0] * lanes
        for lane, (column, word) in zip(valid, taken.items(), strict=True):
            channel[lane] = (word - base) * depth + column
            for t in range(count):
                old = expected[1][word, t, column]
                new = np.clip(old + result[t, lane], -(2**15), 2**15 - 1)
                expected[residual][word, t, column] = new if residual else result[t, lane]
        items.append(
            {
                "valid_i": sum(1 << i for i in valid),
                "residual_i": residual,
                "written_i": packed(WRITTEN, tile_final=not places, op_last=not places, tag=1),
                "tokens_i": count,
                "base_i": base,
                "channel_i": bench.pack(channel, 12),
                "result_i": bench.pack(result.reshape(-1), 16),
            }
        )

    def read(unit) -> int | None:
        if not unit.get("res_re_o"):
            return None
        at = bench.unpack(unit.get("res_raddress_o"), 6, depth)
        return bench.pack(res[at, :, np.arange(depth)].T.reshape(-1), 16)

    def write(unit) -> None:
        for name, memory, bits, port in (
            ("act", act, 8, "act_address_o"),
            ("res", res, 16, "res_waddress_o"),
        ):
            enable = bench.unpack(unit.get(f"{name}_we_o"), 1, tokens * depth)
            data = bench.unpack(unit.get(f"{name}_data_o"), bits, tokens * depth, signed=True)
            at = bench.unpack(unit.get(port), 6, depth)
            for i in np.flatnonzero(enable):
                memory[at[i % depth], i // depth, i % depth] = data[i]

    class Feed(Lanes):
        def drive(self, unit) -> None:
            unit.put("written_i", 0)
            super().drive(unit)

        def sample(self, unit) -> None:
            pass

    parameters = {"TOKENS": tokens, "DEPTH": depth, "LANES": lanes, "ACT_ADDRESS": 6}
    with bench.Unit("writeback", RES_ADDRESS=6, **parameters) as unit:
        feed = Feed(items, "valid_i", 0, pause)
        memory = agents.OnChip("res_rdata_i", read)
        written: list[dict[str, int]] = []

        def note(u) -> None:
            found = unpacked(WRITTEN, u.get("written_o"))
            written.extend([found] if found["tile_final"] else [])

        around = [feed, memory, bench.Scripted(None, write), bench.Scripted(None, note)]
        unit.run(around, lambda: bool(written))
        assert np.array_equal(act, expected[0]), "written_o before the last write"
        assert np.array_equal(res, expected[1])
        unit.run(around, lambda: True, more=10)
        assert written == [{"tile_final": 1, "op_last": 1, "tag": 1}]
        assert np.array_equal(res, expected[1])
