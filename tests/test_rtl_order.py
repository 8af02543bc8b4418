"""The units that walk LINEAR and ATTENTION, alone: every step once, in order, never too early."""

from __future__ import annotations

import random
from collections import deque

import pytest
from rtl_units import KIND_LINEAR, KIND_SCORE, KIND_VALUE, META, bench, descriptor, unpacked

from quasar_runtime import interface as hw
from quasar_runtime.interface import Opcode

TOKENS, ROWS, DEPTH, LANES = 2, 4, 8, 2
MAX_TOKENS = hw.CONSTANTS["MAX_TOKENS"]
KV_BEATS = 2 * MAX_TOKENS * hw.HEAD_DIM // (ROWS * DEPTH)
ISSUE = ["x_address_o", "w_address_o", "first_o", "last_o", "meta_o"]


class Rows(bench.Agent):
    """Row parameters of two groups: there after a while, released when a group's tiles are out."""

    def __init__(self, costs: list[int], pause: float) -> None:
        self.costs, self.pause, self.random = costs, pause, random.Random(3)
        self.filed = self.released = self.finished = 0
        self.since = [0] * len(costs)  # cycle from which a group's parameters are there

    def drive(self, unit) -> None:
        free = self.filed < min(len(self.costs), self.released + 2)
        if free and self.random.random() >= self.pause:
            self.since[self.filed] = unit.cycle
            self.filed += 1
        full = sum(1 << g % 2 for g in range(self.released, self.filed))
        unit.put("full_i", full)
        for g in range(self.released, self.filed):
            unit.put(bench.lane("cost_i", g % 2, 3), self.costs[g])
        out = self.finished > self.released and self.random.random() >= self.pause
        unit.put("release_i", out)
        unit.put("release_parity_i", self.released % 2)
        self.released += out

    def sample(self, unit) -> None:
        if unit.get("issue_o") and unit.get("last_o"):
            self.finished += unpacked(META, unit.get("meta_o"))["group_last"]


@pytest.mark.parametrize("weights", [0.0, 0.7])
@pytest.mark.parametrize("rows", [0.0, 0.95])
@pytest.mark.parametrize(
    ("tokens", "inputs", "outputs", "rows8"),
    [
        (1, 32, 1, 0),
        (5, 64, 9, 4),
        (3, 96, 40, 40),
        (2, 512, 13, 0),
    ],
)
def test_linear_unit_walks_groups_tiles_and_steps(tokens, inputs, outputs, rows8, rows, weights):
    """A ring of 128 beats holds a group or two; weights and rows come when they please."""
    ring, steps = 128, inputs // DEPTH
    groups, tiles = -(-(outputs + rows8) // ROWS), -(-tokens // TOKENS)
    rng = random.Random(tokens)
    costs = [rng.randint(1, ROWS) for _ in range(groups)]
    source_pitch, destination_pitch, base, target = steps + 3, 11, 100, 2000
    memory: dict[int, int] = {}
    issued: list[tuple[int, ...]] = []
    filled = [0]
    parameters = {"TOKENS": TOKENS, "ROWS": ROWS, "DEPTH": DEPTH, "BEATS": ring, "COST_BITS": 3}
    with bench.Unit("linear_unit", **parameters) as unit:
        fields = {
            "opcode": Opcode.LINEAR,
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
        unit.pulse("start_i")

        def watch(u) -> None:
            if u.get("issue_o"):
                held = memory.get(u.get("w_address_o"), -1)
                issued.append((u.cycle, held, *(u.get(name) for name in ISSUE)))
            if u.get("fill_we_o"):  # written at the end of the cycle
                memory[u.get("fill_address_o")] = filled[0]
                filled[0] += 1

        stream = bench.Source("w_valid_i", "w_ready_o", [], [()] * (groups * steps), pause=weights)
        filed = Rows(costs, rows)
        agents = [stream, filed, bench.Scripted(None, watch)]
        unit.run(agents, lambda: filed.released == groups, more=20)
    expected = [(g, t, s) for g in range(groups) for t in range(tiles) for s in range(steps)]
    assert len(issued) == len(expected)
    assert not stream.items
    free = 0
    for (group, tile, step), found in zip(expected, issued, strict=True):
        cycle, beat, x, _, first, last, meta = found
        assert beat == group * steps + step, "the beat is not there, or overwritten"
        assert x == base + tile * source_pitch + step
        assert (first, last) == (step == 0, step == steps - 1)
        assert unpacked(META, meta) == {
            "kind": KIND_LINEAR,
            "parity": group % 2,
            "head": 0,
            "group": 0,
            "base": target + tile * destination_pitch,
            "tokens": min(TOKENS, tokens - TOKENS * tile),
            "group_last": tile == tiles - 1,
            "op_last": (group, tile) == (groups - 1, tiles - 1),
        }
        if last:
            assert cycle >= free, "the drain of the tile before is not over"
            assert cycle > filed.since[group], "the group's parameters are not there"
            free = cycle + costs[group]
    if not weights and not rows and tiles * steps > 40:
        assert issued[-1][0] - issued[0][0] == len(expected) - 1, "a bubble"


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
                    "op_last": value and all(ends),
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
