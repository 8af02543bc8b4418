"""The units that walk LINEAR and ATTENTION, alone: every step once, in order, never too early."""

from __future__ import annotations

import random
from collections import deque

import pytest

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Opcode
from tests.rtl.rtl_units import (
    KIND_LINEAR,
    KIND_SCORE,
    KIND_VALUE,
    META,
    ORDER,
    PROGRESS_BITS,
    bench,
    descriptor,
    packed,
    unpacked,
)

TOKENS, ROWS, DEPTH, LANES = 2, 4, 8, 2
MAX_TOKENS = hw.CONSTANTS["MAX_TOKENS"]
KV_BEATS = 2 * MAX_TOKENS * hw.HEAD_DIM // (ROWS * DEPTH)
ISSUE = ["x_address_o", "w_address_o", "first_o", "last_o", "meta_o"]


ROW_GROUPS, BLOCK_GROUPS = 16, 8


class Rows(bench.Agent):
    """Row parameters: there after a while, released in turn when a group's tiles are out."""

    def __init__(self, costs: list[int], pause: float) -> None:
        self.costs, self.pause, self.random = costs, pause, random.Random(3)
        self.filed = self.released = self.finished = 0
        self.since = [0] * len(costs)  # cycle from which a group's parameters are there

    def drive(self, unit) -> None:
        free = self.filed < min(len(self.costs), self.released + ROW_GROUPS)
        if free and self.random.random() >= self.pause:
            self.since[self.filed] = unit.cycle
            self.filed += 1
        unit.put("filed_i", self.filed % (2 * ROW_GROUPS))
        for g in range(self.released, self.filed):
            unit.put(bench.lane("cost_i", g % ROW_GROUPS, 3), self.costs[g])
        out = self.finished > self.released and self.random.random() >= self.pause
        self.released += out

    def sample(self, unit) -> None:
        if unit.get("issue_o") and unit.get("last_o"):
            self.finished += unpacked(META, unit.get("meta_o"))["group_last"]


class Producer(bench.Agent):
    """The operation before, whose tiles get there one by one."""

    def __init__(self, tiles: int, pause: float) -> None:
        self.tiles, self.pause, self.random = tiles, pause, random.Random(5)
        self.since: list[int] = []  # cycle from which a tile is there

    def drive(self, unit) -> None:
        if len(self.since) < self.tiles and self.random.random() >= self.pause:
            self.since.append(unit.cycle)
        unit.put(bench.lane("progress_i", 2, PROGRESS_BITS), len(self.since))


def walk(
    found: list[tuple[int, int, int]], groups: int, tiles: int, steps: int, ring: int
) -> list[tuple[int, int, int]]:
    """(group, tile, step) block by block, with the sizes of blocks that were found."""
    order: list[tuple[int, int, int]] = []
    group = 0
    while group < groups:
        size, start = 1, len(order)
        while tiles > 1 and found[start + size * steps :][:1] == [(group + size, 0, 0)]:
            size += 1
        assert size == 1 or (size <= BLOCK_GROUPS and size * steps <= ring // 2)
        members = range(group, group + size)
        order += [(g, t, s) for t in range(tiles) for g in members for s in range(steps)]
        group += size
    return order


@pytest.mark.parametrize("weights", [0.0, 0.7])
@pytest.mark.parametrize(("rows", "before"), [(0.0, None), (0.95, None), (0.0, 0.9), (0.5, 0.2)])
@pytest.mark.parametrize(
    ("tokens", "inputs", "outputs", "rows8"),
    [
        (1, 32, 1, 0),
        (5, 64, 9, 4),
        (3, 96, 40, 40),
        (2, 512, 13, 0),
    ],
)
def test_linear_unit_walks_blocks_tiles_groups_and_steps(
    tokens, inputs, outputs, rows8, rows, before, weights
):
    """Two operations, the second handed over early; weights, rows and source when they please."""
    ring, steps = 128, inputs // DEPTH
    groups, tiles = -(-(outputs + rows8) // ROWS), -(-tokens // TOKENS)
    rng = random.Random(tokens)
    costs = [rng.randint(1, 7) for _ in range(2 * groups)]
    source_pitch, destination_pitch, base, target = steps + 3, 11, 100, 2000
    memory: dict[int, int] = {}
    issued: list[tuple[int, ...]] = []
    filled = [0]
    parameters = {"TOKENS": TOKENS, "ROWS": ROWS, "DEPTH": DEPTH, "LANES": LANES, "BEATS": ring}
    with bench.Unit("linear_unit", COST_BITS=3, **parameters) as unit:
        fields = {
            "opcode": Opcode.LINEAR,
            "mode": 1,
            "clamp": 119,
            "tokens": tokens,
            "inputs": inputs,
            "outputs": outputs,
            "rows8": rows8,
            "source": base,
            "source_pitch": source_pitch,
            "destination": target,
            "destination_pitch": destination_pitch,
        }
        unit.put("descriptor_i", descriptor(**fields))
        unit.put("order_i", packed(ORDER, tag=3, chained=before is not None, producer=2))
        unit.pulse("start_i")
        second = [False]
        beside_start = [True]  # where room_o means nothing

        def hand_over(u) -> None:
            u.put("start_i", not beside_start[0] and not second[0] and u.get("room_o"))
            second[0] = second[0] or bool(u.get("start_i"))
            beside_start[0] = False

        def watch(u) -> None:
            if u.get("issue_o"):
                held = memory.get(u.get("w_address_o"), -1)
                issued.append((u.cycle, held, *(u.get(name) for name in ISSUE)))
            if u.get("fill_we_o"):  # written at the end of the cycle
                memory[u.get("fill_address_o")] = filled[0]
                filled[0] += 1

        beats = [()] * (2 * groups * steps)
        stream = bench.Source("w_valid_i", "w_ready_o", [], beats, pause=weights)
        filed, producer = Rows(costs, rows), Producer(tiles, before or 0.0)
        agents = [stream, filed, producer, bench.Scripted(hand_over, watch)]
        unit.run(agents, lambda: filed.released == 2 * groups, more=20)
    assert len(issued) == 2 * groups * tiles * steps
    assert not stream.items
    free = 0
    for number in range(2):
        first_group, mine = number * groups, issued[number * len(issued) // 2 :][: len(issued) // 2]
        places = [
            (beat // steps - first_group, (x - base) // source_pitch, beat % steps)
            for _, beat, x, *_ in mine
        ]
        assert places == walk(places, groups, tiles, steps, ring)
        for (group, tile, step), found in zip(places, mine, strict=True):
            cycle, _, x, _, first, last, meta = found
            assert x == base + tile * source_pitch + step
            assert (first, last) == (step == 0, step == steps - 1)
            wanted = {
                "kind": KIND_LINEAR,
                "parity": 0,
                "head": 0,
                "group": 0,
                "rows": (first_group + group) % ROW_GROUPS,
                "mode": 1,
                "clamp": 119,
                "base": target + tile * destination_pitch,
                "tokens": min(TOKENS, tokens - TOKENS * tile),
                "group_last": tile == tiles - 1,
                "tile_final": group == groups - 1,
                "op_last": (group, tile) == (groups - 1, tiles - 1),
                "tag": 3,
            }
            of_last_steps = {} if last else {"tile_final": 0, "op_last": 0}
            assert {**unpacked(META, meta), **of_last_steps} == {**wanted, **of_last_steps}
            if first and before is not None:
                assert cycle > producer.since[tile], "the source's tile is not there"
            if last:
                assert cycle >= free, "the drain of the tile before is not over"
                assert cycle > filed.since[first_group + group], "the parameters are not there"
                free = cycle + costs[first_group + group]
        if not weights and not rows and before is None and steps > 7 and tiles > 1:
            assert mine[-1][0] - mine[0][0] == len(mine) - 1, "a bubble"


@pytest.mark.parametrize("free", [0, 3, 64])
def test_linear_unit_leaves_array_and_ring_to_attention_but_for_what_is_behind_k_and_v(free):
    ring, rng = 128, random.Random(free)
    fields = {"opcode": Opcode.LINEAR, "tokens": 1, "inputs": 32, "outputs": 20}
    shape = {"TOKENS": 2, "ROWS": 4, "DEPTH": 8, "LANES": 2}
    with bench.Unit("linear_unit", BEATS=ring, KV_BEATS=ring - free, **shape) as unit:
        unit.put("descriptor_i", descriptor(**fields))
        unit.put("attention_i", 1)
        unit.pulse("attention_start_i")
        unit.put("w_valid_i", 1)
        unit.put("filed_i", 5)
        unit.pulse("start_i")
        filled = []
        for _ in range(60):
            write = rng.random() < 0.4
            unit.put("kv_write_i", write)
            unit.step()
            assert not unit.get("issue_o")
            if unit.get("fill_we_o"):
                assert not write
                filled.append(unit.get("fill_address_o"))
        assert filled == [ring - free + n for n in range(min(free, 20))]
        unit.put("attention_i", 0)
        unit.put("kv_write_i", 0)
        issue = bench.Sink("issue_o", None, ["w_address_o"])
        unit.run([issue], issue.has(20), more=5)
        assert issue.items == [((ring - free + n) % ring,) for n in range(20)]


class Neighbours(bench.Agent):
    """Softmax and kv_fill: heads' K and V, released scores and numerators come after a while.

    Softmax takes a tile when its scores are in and the numerator buffer of its parity is free.
    """

    def __init__(self, tiles: int, heads: int, pause: float) -> None:
        self.tiles, self.heads, self.pause = tiles, heads, pause
        self.random = random.Random(tiles)
        self.k = self.v = self.gone = 0  # heads filled, heads released
        self.scored = self.taken = self.ready = self.used = 0  # tiles
        self.moments: dict[str, list[int]] = {"k": [], "v": [], "taken": [], "ready": []}

    def drive(self, unit) -> None:
        def now() -> bool:
            return self.random.random() >= self.pause

        def note(name: str) -> None:
            setattr(self, name, getattr(self, name) + 1)
            self.moments[name].append(unit.cycle)

        if self.k < min(self.heads, self.gone + 2) and self.k == self.v and now():
            note("k")
        elif self.v < self.k and now():
            note("v")
        unit.put("k_full_i", sum(1 << h % 2 for h in range(self.gone, self.k)))
        unit.put("v_full_i", sum(1 << h % 2 for h in range(self.gone, self.v)))
        unit.put("score_release_i", 0)
        unit.put("numerators_i", 0)
        if self.ready < self.taken:
            if now():
                unit.put("softmax_parity_i", self.ready % 2)
                unit.put("numerators_i", 1)
                note("ready")
        elif self.taken < self.scored and self.taken < self.used + 2 and now():
            unit.put("softmax_parity_i", self.taken % 2)
            unit.put("score_release_i", 1)
            note("taken")

    def sample(self, unit) -> None:
        self.gone += unit.get("kv_release_o")
        meta = unpacked(META, unit.get("meta_o"))
        if unit.get("issue_o") and unit.get("last_o") and meta["group_last"]:
            self.scored += meta["kind"] == KIND_SCORE
            self.used += meta["kind"] == KIND_VALUE


def products(count: int) -> list[tuple[int, int]]:
    """(kind, tile) in order: S0 S1 V0 S2 V1 ... V(n-1)."""
    found = [(KIND_SCORE, 0)]
    for tile in range(count):
        found += [(KIND_SCORE, tile + 1)] if tile + 1 < count else []
        found.append((KIND_VALUE, tile))
    return found


@pytest.mark.parametrize("pause", [0.0, 0.5, 0.97])
@pytest.mark.parametrize(
    ("queries", "keys", "heads"), [(1, 1, 1), (1, 9, 3), (5, 7, 2), (8, 20, 3)]
)
def test_attention_unit_alternates_scores_and_values_over_all_heads(queries, keys, heads, pause):
    tiles = -(-queries // TOKENS)
    k_steps, v_steps = hw.HEAD_DIM // DEPTH, -(-keys // DEPTH)
    k_groups, v_groups = -(-keys // (ROWS // 2)), 2 * hw.HEAD_DIM // ROWS
    source, destination, pitch, out_pitch = 50, 900, 77, 33
    parameters = {"TOKENS": TOKENS, "ROWS": ROWS, "DEPTH": DEPTH, "LANES": LANES, "WADDRESS": 12}
    issued: deque[tuple[int, dict[str, int]]] = deque()
    with bench.Unit("attention_unit", **parameters) as unit:
        fields = {
            "opcode": Opcode.ATTENTION,
            "tokens": queries,
            "keys": keys,
            "heads": heads,
            "source": source,
            "source_pitch": pitch,
            "destination": destination,
            "destination_pitch": out_pitch,
        }
        unit.put("descriptor_i", descriptor(**fields))
        unit.put("tag_i", 2)
        unit.pulse("start_i")

        def watch(u) -> None:
            if u.get("issue_o"):
                names = (*ISSUE, "e_address_o", "from_numerators_o")
                issued.append((u.cycle, {name: u.get(name) for name in names}))

        around = Neighbours(tiles, heads, pause)
        unit.run([around, bench.Scripted(None, watch)], lambda: around.gone == heads, more=20)
    last_value = -99
    for kind, number in products(tiles * heads):
        head, tile = divmod(number, tiles)
        value, parity = kind == KIND_VALUE, number % 2
        groups, steps = (v_groups, v_steps) if value else (k_groups, k_steps)
        for group in range(groups):
            for step in range(steps):
                cycle, found = issued.popleft()
                meta = unpacked(META, found["meta_o"])
                ends = group == groups - 1, number == tiles * heads - 1
                wanted = {
                    "kind": kind,
                    "parity": parity,
                    "head": head,
                    "group": group,
                    "tokens": min(TOKENS, queries - TOKENS * tile),
                    "group_last": ends[0],
                    "tile_final": value and ends[0] and head == heads - 1,
                    "op_last": value and all(ends),
                    "tag": 2,
                }
                if value:
                    wanted["base"] = destination + tile * out_pitch
                    assert found["e_address_o"] == parity * MAX_TOKENS // DEPTH + step
                    first = KV_BEATS + group * MAX_TOKENS // DEPTH
                else:
                    first = group * k_steps
                    x = source + tile * pitch + head * k_steps + step
                    assert found["x_address_o"] == x
                assert {name: meta[name] for name in wanted} == wanted
                assert found["from_numerators_o"] == value
                assert found["w_address_o"] == head % 2 * 2 * KV_BEATS + first + step
                assert (found["first_o"], found["last_o"]) == (step == 0, step == steps - 1)
                # Nothing is used before it is there.
                assert cycle > around.moments["v" if value else "k"][head]
                if value:
                    assert cycle > around.moments["ready"][number]
                    if step == steps - 1:
                        assert cycle >= last_value + ROWS // LANES, "the drain is not over"
                        last_value = cycle
                elif number >= 2:
                    assert cycle > around.moments["taken"][number - 2]
    assert not issued
