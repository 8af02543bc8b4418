"""The arithmetic pipelines and the memories alone, against the normative functions."""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.isa import arithmetic as ar
from tests.rtl.rtl_units import bench, random_bytes


def signed(values: np.ndarray, bits: int) -> np.ndarray:
    return np.where(values >> (bits - 1) & 1, values - (1 << bits), values)


def delayed(values: np.ndarray, cycles: int) -> np.ndarray:
    """What a pipeline sees so many cycles after the value it belongs to."""
    return np.concatenate([np.zeros(cycles, np.int64), values])[: len(values)]


def drained(values: np.ndarray, cycles: int) -> np.ndarray:
    """With as many cycles more as the pipeline is long."""
    return np.concatenate([values, np.full(cycles, values[-1])])


def test_reciprocal_is_the_normative_one_for_every_sum():
    s = np.arange(1, 2**16)
    latency = 4
    with bench.Unit("reciprocal") as unit:
        out = unit.pipeline({"s_i": drained(s, latency)})
    y, k = ar.reciprocal(s)
    assert np.array_equal(out["y_o"][latency:], y)
    assert np.array_equal(out["length_o"][latency:], k - 15)


def test_reciprocal_square_root_is_the_normative_one_over_its_whole_range():
    """Every normalised value, powers of two and their neighbours, random ones of any size."""
    rng = np.random.default_rng(0)
    powers = (1 << np.arange(1, 52)).astype(np.int64)
    sizes = rng.integers(1, 53, 60_000)
    wide = rng.integers(0, 2**52, 60_000) >> (52 - sizes)
    v = np.concatenate([np.arange(2**16, 2**18), powers, powers - 1, powers + 1, [2**52 - 1], wide])
    v = np.maximum(v, 1)
    latency = 7
    with bench.Unit("rsqrt") as unit:
        out = unit.pipeline({"v_i": drained(v, latency)})
    y, k = ar.reciprocal_sqrt(v)
    assert np.array_equal(out["y_o"][latency:], y)
    assert np.array_equal(signed(out["k_o"][latency:], 6), k)


LIMITS = [(-127, 127), (-119, 119), (-1, 1), (ar.RESIDUAL_MIN, ar.RESIDUAL_MAX)]
LATENCY = 10
"""Cycles of requantise.sv, and below those after which it takes each parameter."""
TAKEN = {
    "shift_a_coarse_i": 2,
    "shift_a_fine_i": 3,
    "two_i": 4,
    "multiplier_i": 5,
    "shift_coarse_i": 7,
    "shift_fine_i": 8,
}


def requantise(columns: dict[str, np.ndarray], low: int, high: int) -> np.ndarray:
    """Results of the pipeline, parameters delayed to the cycle in which it takes them."""
    shifts = {}
    for name in ("shift_a", "shift"):
        shifts[f"{name}_coarse_i"] = columns[name] >> 2
        shifts[f"{name}_fine_i"] = columns[name] & 3
    # Without the first multiplication its multiplier forms the upper part of the second product.
    one = {"a": columns["acc"] >> 17, "b": columns["multiplier"], "c": 0}
    inputs = {f"{n}_i": np.where(columns["two"], columns[n], one[n]) for n in one}
    inputs["acc_i"] = columns["acc"] & (2**17 - 1)
    parameters = {"two_i": columns["two"], "multiplier_i": columns["multiplier"], **shifts}
    for name, values in parameters.items():
        inputs[name] = delayed(drained(values, LATENCY), TAKEN[name])
    inputs = {n: v if n in parameters else drained(v, LATENCY) for n, v in inputs.items()}
    with bench.Unit("requantise", inputs={"low_i": low, "high_i": high}) as unit:
        out = unit.pipeline(inputs)
    return signed(out["result_o"][LATENCY:], 16)


def normative(columns: dict[str, np.ndarray], low: int, high: int) -> np.ndarray:
    """clamp(rs(v * m, n)) with v = acc, or v = sat18(rs(a * b + c, shift_a))."""
    first = ar.rounding_shift(columns["a"] * columns["b"] + columns["c"], columns["shift_a"])
    first = np.clip(first, -(2**17), 2**17 - 1)
    v = np.where(columns["two"], first, columns["acc"])
    return np.clip(ar.rounding_shift(v * columns["multiplier"], columns["shift"]), low, high)


def around(
    values: np.ndarray, rng: np.random.Generator, count: int, low: int, high: int
) -> np.ndarray:
    """Random picks: corners, and numbers of any magnitude."""
    bits = rng.integers(1, int(high).bit_length() + 1, count)
    wide = rng.integers(-(2**62), 2**62, count) >> (62 - bits)
    return np.clip(
        np.where(rng.uniform(size=count) < 0.3, rng.choice(values, count), wide), low, high
    )


@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_requantisation_is_the_normative_one_at_corners_and_at_random(low, high):
    rng, n = np.random.default_rng(high), 150_000
    ends = np.array([-(2**31), 2**31 - 1, -1, 0, 1, -(2**30), 2**30])
    columns = {
        "acc": around(ends, rng, n, -(2**31), 2**31 - 1),
        "a": around(np.array([-(2**26), 2**26 - 1, 0, 1, -1]), rng, n, -(2**26), 2**26 - 1),
        # A residual value, or a reciprocal of 16 bits; so the sum stays within SUM_BITS, 44.
        "b": around(np.array([-(2**15), 2**16 - 1, 0, 1, -1]), rng, n, -(2**15), 2**16 - 1),
        "c": around(np.array([-(2**41), 2**41, 0]), rng, n, -(2**41), 2**41),
        "shift_a": rng.integers(0, 44, n),
        "two": rng.integers(0, 2, n),
        "multiplier": around(np.array([0, 1, 2**14, 2**15 - 1]), rng, n, 0, 2**15 - 1),
        "shift": rng.integers(0, ar.SHIFT_MAX + 1, n),
    }
    # Products whose rounding is a tie: the sum's low bits are exactly a half.
    tie = rng.uniform(size=n) < 0.1
    columns["multiplier"] = np.where(tie, 1, columns["multiplier"])
    odd = 2 * rng.integers(0, 128, n) + 1
    shift = np.clip(columns["shift"], 1, 20)
    columns["acc"] = np.where(tie, odd << (shift - 1), columns["acc"])
    columns["shift"] = np.where(tie, shift, columns["shift"])
    found, expected = requantise(columns, low, high), normative(columns, low, high)
    wrong = np.flatnonzero(found != expected)
    assert not wrong.size, {k: int(v[wrong[0]]) for k, v in columns.items()}
    assert len(np.unique(expected)) > min(200, high - low), "not all at the limits"


def test_lookup_table_gives_every_entry_the_cycle_after_its_index():
    table = random_bytes(256)
    with bench.Unit("lookup_table") as unit:
        words = table.view("<u4").astype(np.int64)
        unit.pipeline({"we_i": np.ones(64, np.int64), "waddr_i": np.arange(64), "wdata_i": words})
        index = np.random.default_rng(1).permutation(np.repeat(np.arange(256), 3))
        unit.put("we_i", 0)
        out = unit.pipeline({"index_i": drained(index, 1)})
    assert np.array_equal(out["value_o"][1:], table[index])


@pytest.mark.parametrize(
    ("top", "latency", "words"),
    [("small_memory", 1, 4), ("small_memory", 1, 64), ("column_memory", 2, 32)],
)
def test_a_memory_returns_what_was_written_last_and_in_the_same_cycle_the_old(top, latency, words):
    rng, n = np.random.default_rng(words), 4000
    columns = {
        "raddr_i": rng.integers(0, words, n),
        "we_i": rng.integers(0, 2, n),
        "waddr_i": rng.integers(0, words, n),
        "wdata_i": rng.integers(0, 2**20, n),
    }
    columns["we_i"][:words], columns["waddr_i"][:words] = 1, np.arange(words)
    held, expected = np.zeros(words, np.int64), []
    for i in range(n):
        expected.append(held[columns["raddr_i"][i]])
        if columns["we_i"][i]:
            held[columns["waddr_i"][i]] = columns["wdata_i"][i]
    with bench.Unit(top, WIDTH=20, WORDS=words) as unit:
        if top == "column_memory":
            unit.put("re_i", 1)
        out = unit.pipeline(columns)
    assert np.array_equal(out["rdata_o"][words + latency :], expected[words : n - latency])


def test_a_column_keeps_its_output_while_it_is_not_read():
    with bench.Unit("column_memory", WIDTH=8, WORDS=4) as unit:
        ones = np.ones(4, np.int64)
        unit.pipeline({"we_i": ones, "waddr_i": np.arange(4), "wdata_i": np.arange(40, 44)})
        unit.put("we_i", 0)
        out = unit.pipeline(
            {"re_i": np.array([1, 0, 0, 1, 0, 0, 0]), "raddr_i": np.array([2, 1, 0, 3, 0, 1, 2])}
        )
    assert out["rdata_o"].tolist()[2:] == [42, 42, 42, 43, 43]


@pytest.mark.parametrize(("top", "bits"), [("act_memory", 8), ("res_memory", 16)])
def test_banks_and_columns_have_their_own_write_addresses_and_load_where_they_read(top, bits):
    tokens, depth, words = 2, 8, 16
    rng = np.random.default_rng(bits)
    held = np.zeros((tokens, depth, words), np.int64)
    pipe: list[int] = []
    with bench.Unit(top, TOKENS=tokens, DEPTH=depth, WORDS=words) as unit:
        for cycle in range(800):
            begin = cycle < words  # all words first
            enable = np.ones((tokens, depth), int) if begin else rng.integers(0, 2, (tokens, depth))
            at = np.full(depth, cycle) if begin else rng.integers(0, words, depth)
            data = rng.integers(0, 2**bits, (tokens, depth))
            read = rng.integers(0, words, depth if top == "res_memory" else 1)
            columns = np.broadcast_to(read, depth)
            load = 0 if begin or rng.integers(3) else int(rng.integers(1, 2**tokens))
            loaded = rng.integers(0, 2**bits, depth)
            if load:
                enable[:, at == columns] = 0
            unit.put("re_i", load == 0)
            unit.put("load_i", load)
            unit.put("load_data_i", bench.pack(loaded, bits))
            unit.put("we_i", bench.pack(enable.reshape(-1), 1))
            unit.put("waddr_i", bench.pack(at, 4))
            unit.put("wdata_i", bench.pack(data.reshape(-1), bits))
            unit.put("raddr_i", bench.pack(read, 4))
            unit.step()
            if cycle > words + 2:
                assert unit.get("rdata_o") == pipe[-2]
            words_read = held[:, np.arange(depth), columns]
            pipe.append(pipe[-1] if load else bench.pack(words_read.reshape(-1), bits))
            for t in range(tokens):
                if load >> t & 1:
                    held[t, np.arange(depth), columns] = loaded
            for t, k in np.argwhere(enable):
                held[t, k, at[k]] = data[t, k]


def test_a_weight_beat_is_written_in_parts_and_read_whole():
    tokens, rows, depth, beats = 2, 4, 8, 16
    chunks, rng = depth // tokens, np.random.default_rng(3)
    held = np.zeros((beats, rows, depth), np.int64)
    pipe: list[int] = []
    with bench.Unit("weight_memory", TOKENS=tokens, ROWS=rows, DEPTH=depth, BEATS=beats) as unit:
        unit.put("re_i", 1)
        for cycle in range(600):
            begin = cycle < beats
            enable = np.ones((rows, chunks), int) if begin else rng.integers(0, 2, (rows, chunks))
            at, read = cycle if begin else int(rng.integers(beats)), int(rng.integers(beats))
            data = rng.integers(0, 16, (rows, depth))
            unit.put("we_i", bench.pack(enable.reshape(-1), 1))
            unit.put("waddr_i", at)
            unit.put("wdata_i", bench.pack(data.reshape(-1), 4))
            unit.put("raddr_i", read)
            unit.step()
            if cycle > beats + 2:
                assert unit.get("rdata_o") == pipe[-2]
            pipe.append(bench.pack(held[read].reshape(-1), 4))
            mask = np.repeat(enable, tokens, axis=1).astype(bool)
            held[at][mask] = data[mask]


@pytest.mark.parametrize(("a_bits", "b_bits"), [(22, 16), (16, 16), (5, 10)])
def test_a_multiplier_in_luts_gives_the_product_three_cycles_later(a_bits, b_bits):
    if a_bits + b_bits < 16:  # all
        a, b = np.meshgrid(*(np.arange(-(2 ** (n - 1)), 2 ** (n - 1)) for n in (a_bits, b_bits)))
    else:
        rng = np.random.default_rng(a_bits)
        a, b = (
            np.concatenate([rng.integers(-top, top, 20_000) >> rng.integers(0, n, 20_000), ends])
            for n, top, ends in (
                (
                    a_bits,
                    2 ** (a_bits - 1),
                    np.repeat([-(2 ** (a_bits - 1)), 2 ** (a_bits - 1) - 1], 2),
                ),
                (
                    b_bits,
                    2 ** (b_bits - 1),
                    np.tile([-(2 ** (b_bits - 1)), 2 ** (b_bits - 1) - 1], 2),
                ),
            )
        )
    a, b = a.reshape(-1), b.reshape(-1)
    with bench.Unit("fabric_multiplier", A_BITS=a_bits, B_BITS=b_bits) as unit:
        out = unit.pipeline({"a_i": a & (2**a_bits - 1), "b_i": b & (2**b_bits - 1)})
    found = out["p_o"].astype(np.int64)[3:]
    assert np.array_equal(found, (a * b)[:-3] & (2 ** (a_bits + b_bits) - 1))
