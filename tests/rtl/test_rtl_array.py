"""The array and what takes its sums out, alone: array, row parameters, drain."""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Epilogue, Opcode
from tests.rtl.rtl_units import (
    KIND_LINEAR,
    KIND_SCORE,
    KIND_VALUE,
    LANE_ROW,
    META,
    bench,
    descriptor,
    integer,
    packed,
    unpacked,
)

ACC = 23
"""Bits of an accumulator."""
ROW_GROUPS, LOGIT_BANKS = 16, 4


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_array_sums_each_tile_over_its_steps(pause):
    tokens, rows, depth = 2, 4, 8
    rng = np.random.default_rng(7)
    steps, expected = [], []
    for number in range(40):
        count, kind = int(rng.integers(1, 9)), int(rng.integers(3))
        x = rng.choice([-127, 127, 0, 5, -3], (count, tokens, depth))
        w = rng.integers(-8, 8, (count, rows, depth))
        w[:, 1::2] = np.maximum(w[:, 1::2], -7)  # -8 is the lower digit of an 8-bit row
        tag = packed(META, kind=kind, group=number, tokens=2)
        for s in range(count):
            ends = s == 0, s == count - 1
            data = bench.pack(x[s].reshape(-1), 8), bench.pack(w[s].reshape(-1), 4)
            steps.append((*ends, tag, *data))
        expected.append((tag, np.einsum("stk,srk->tr", x, w).reshape(-1).tolist(), kind))
    with bench.Unit("array", TOKENS=tokens, ROWS=rows, DEPTH=depth) as unit:
        names = ["first_i", "last_i", "meta_i", "x_i", "w_i"]
        source = bench.Source("valid_i", None, names, steps, pause=pause)
        captured: dict[int, int] = {}
        final = bench.Sink("final_o", None, ["meta_o", "acc_o"])
        watch = bench.Scripted(sample=lambda u: captured.update({u.cycle: u.get("captured_o")}))
        unit.run([source, final, watch], final.has(len(expected)), more=2)
    for (tag, sums, kind), found, cycle in zip(expected, final.items, final.cycles, strict=True):
        assert (found[0], bench.unpack(found[1], ACC, 8, signed=True)) == (tag, sums)
        # What is not a score moves on to the second register.
        assert captured[cycle + 1] == found[1] or kind == KIND_SCORE


# --- Row parameters


def groups_of(rows: np.ndarray, rows8: int, size: int) -> list[list[tuple[int, int]]]:
    """(digit row, row's number) of each row, group by group."""
    found: list[list[tuple[int, int]]] = [[]]
    digit = 0
    for number in range(len(rows)):
        if digit == size:
            found.append([])
            digit = 0
        found[-1].append((digit, number))
        digit += 2 if number < rows8 else 1
    return found


@pytest.mark.parametrize("pause", [0.0, 0.6])
@pytest.mark.parametrize(
    ("outputs", "rows8", "logits"),
    [(1, 0, 0), (1, 1, 0), (40, 7, 0), (64, 64, 0), (300, 0, 0), (21, 5, 1), (64, 64, 1)],
)
@pytest.mark.parametrize(("size", "depth", "lanes"), [(4, 8, 2), (16, 16, 4)])
def test_row_parameters_files_groups_and_finds_slots_that_share_a_column(
    size, depth, lanes, outputs, rows8, logits, pause
):
    rng = np.random.default_rng(outputs)
    rows = np.zeros(outputs, hw.ROW_DTYPE)
    rows["bias"] = rng.integers(-(2**31), 2**31, outputs)
    rows["multiplier"] = rng.integers(0, 2**15, outputs)
    rows["shift"] = rng.integers(0, 41, outputs)
    rows["channel"] = rng.permutation(outputs)
    with bench.Unit("row_parameters", ROWS=size, DEPTH=depth, LANES=lanes) as unit:
        mode = Epilogue.LOGITS if logits else Epilogue.REQUANTISE
        fields = {"opcode": Opcode.LINEAR, "mode": mode, "outputs": outputs, "rows8": rows8}
        unit.put("descriptor_i", descriptor(**fields))
        unit.pulse("start_i")
        source = bench.Source(
            "p_valid_i", "p_ready_o", ["p_data_i"], [(integer(r),) for r in rows], pause=pause
        )
        for number, group in enumerate(groups_of(rows, rows8, size)):
            place = number % ROW_GROUPS
            unit.run([source], lambda n=number: unit.get("filed_o") != n % (2 * ROW_GROUPS))
            unit.put("place_i", place)
            cost = 0
            last_slot = group[-1][0] // lanes
            for slot in range(last_slot + 1):
                here = {d % lanes: n for d, n in group if d // lanes == slot}
                banks = LOGIT_BANKS if logits else depth
                columns = [int(rows["channel"][n]) % banks for n in here.values()]
                slow = len(set(columns)) < len(columns)
                cost += lanes if slow else 1
                unit.put("slot_i", slot)
                unit.run([source], lambda: True)
                assert unit.get("slow_o") == slow
                assert unit.get("slot_last_o") == (slot == last_slot)
                unit.run([source], lambda: True)
                assert unit.get("valid_o") == sum(1 << lane for lane in here)
                wide = {lane for lane, n in here.items() if n < rows8}
                assert {lane for lane in here if unit.get("wide_o") >> lane & 1} == wide
                for lane, n in here.items():
                    filed = unpacked(LANE_ROW, unit.get(bench.lane("row_o", lane, 65)))
                    wanted = {k: int(rows[k][n]) for k in filed}
                    wanted["bias"] &= 2**32 - 1
                    assert filed == wanted
            bits = size.bit_length()
            assert bench.unpack(unit.get("cost_o"), bits, ROW_GROUPS)[place] == cost
            unit.put("release_i", 1)
            unit.run([source], lambda: True)
            unit.put("release_i", 0)
        assert not source.items
        assert not unit.get("busy_o")


def test_row_parameters_of_the_next_operation_follow_while_there_is_room():
    rows = np.zeros(20, hw.ROW_DTYPE)
    with bench.Unit("row_parameters", ROWS=4, DEPTH=8, LANES=2) as unit:
        for number in range(4):  # five groups each
            unit.put("descriptor_i", descriptor(opcode=Opcode.LINEAR, outputs=20))
            unit.pulse("start_i")
            items = [(integer(r),) for r in rows]
            source = bench.Source("p_valid_i", "p_ready_o", ["p_data_i"], items)
            unit.run([source], lambda: True, more=40)
            assert unit.get("filed_o") == min(5 * number + 5, ROW_GROUPS)
            assert unit.get("busy_o") == (number == 3)
        assert len(source.items) == 4 * 4
        for released in range(4):
            unit.pulse("release_i")
            unit.run([source], lambda: True, more=6)
            assert unit.get("filed_o") == ROW_GROUPS + released + 1
        assert not unit.get("busy_o")


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("channel", 8, Cause.BAD_RANGE),
        ("multiplier", 2**15, Cause.BAD_FIELD),
        ("shift", 41, Cause.BAD_FIELD),
    ],
)
@pytest.mark.parametrize("bad", [0, 7])
def test_row_parameters_names_the_row_outside_its_range(name, value, cause, bad):
    rows = np.zeros(8, hw.ROW_DTYPE)
    rows["channel"] = np.arange(8)
    rows[name][bad] = value
    with bench.Unit("row_parameters", ROWS=16, DEPTH=16, LANES=4) as unit:
        fields = {"opcode": Opcode.LINEAR, "outputs": 8, "parameters": 640}
        unit.put("descriptor_i", descriptor(**fields))
        unit.pulse("start_i")
        items = [(integer(r),) for r in rows]
        source = bench.Source("p_valid_i", "p_ready_o", ["p_data_i"], items, pause=0.3)
        fault = bench.Sink("fault_o", None, ["fault_cause_o", "fault_address_o"])
        unit.run([source, fault], lambda: not source.items, more=3)
        assert fault.items == [(cause, 640 + 16 * bad)]


# --- Drain


@pytest.mark.parametrize("seed", range(6))
def test_drain_joins_digits_and_adds_the_bias_slot_by_slot(seed):
    tokens, size, lanes = 2, 8, 2
    slots, rng = size // lanes, np.random.default_rng(seed)
    with bench.Unit("drain", TOKENS=tokens, ROWS=size, LANES=lanes) as unit:
        for kind in (KIND_LINEAR, KIND_VALUE, KIND_LINEAR, KIND_SCORE, KIND_VALUE):
            captured = rng.integers(-(2**22), 2**22, (tokens, size))
            wide = np.repeat(rng.integers(0, 2, size // 2), 2)
            wide[1::2] = 0
            valid = rng.integers(0, 2, size) | wide
            valid[1::2] &= 1 - wide[::2]
            slow, last_slot = rng.integers(0, 2, slots), int(rng.integers(slots))
            rows = [
                {
                    "bias": int(rng.integers(-(2**28), 2**28)),
                    "channel": i,
                    "multiplier": i + 9,
                    "shift": i % 41,
                }
                for i in range(size)
            ]
            head, group = int(rng.integers(16)), int(rng.integers(16))
            meta = packed(META, kind=kind, head=head, group=group, tokens=2, op_last=1)
            found = drained(unit, captured, meta, rows, valid, wide, slow, last_slot, lanes)
            unit.put("head_multiplier_i", 777)
            unit.put("head_shift_i", 33)
            expected = {}
            if kind == KIND_LINEAR:
                for d in range((last_slot + 1) * lanes):
                    if valid[d]:
                        high = captured[:, d + 1] if wide[d] else 0
                        acc = captured[:, d] + 16 * high + rows[d]["bias"]
                        expected[rows[d]["channel"]] = acc.tolist()
            elif kind == KIND_VALUE:
                for p in range(size // 2):
                    acc = captured[:, 2 * p] + 16 * captured[:, 2 * p + 1]
                    expected[head * 64 + group * size // 2 + p & 4095] = acc.tolist()
            assert found == expected


def drained(unit, captured, meta, rows, valid, wide, slow, last_slot, lanes) -> dict:
    """What leaves the lanes: destination channel to the tokens' sums, each once."""
    tokens = len(captured)
    slot = [0]

    def answer(u) -> None:  # the schedule, in the same cycle
        slot[0] = u.get("slot_o")
        u.put("slow_i", int(slow[slot[0]]))
        u.put("slot_last_i", slot[0] == last_slot)
        u.settle()

    def parameters(u) -> None:  # the rows, the cycle after
        for lane in range(lanes):
            d = slot[0] * lanes + lane
            u.put(bench.lane("row_valid_i", lane), int(valid[d]))
            u.put(bench.lane("row_wide_i", lane), int(wide[d]))
            u.put(bench.lane("row_i", lane, 65), packed(LANE_ROW, **rows[d]))

    found: dict[int, list[int]] = {}
    lasts = []

    def collect(u) -> None:
        for lane in range(lanes):
            if u.get("valid_o") >> lane & 1:
                assert u.get("linear_o") == (2 ** (tokens + 1) - 1) * (kind == KIND_LINEAR)
                row = unpacked(LANE_ROW, u.get(bench.lane("row_o", lane, 65)))
                sums = bench.unpack(u.get("acc_o"), 32, tokens * lanes, signed=True)
                assert row["channel"] not in found, "a row left twice"
                found[row["channel"]] = sums[lane::lanes]
        lasts.append(u.get("last_o"))

    kind = unpacked(META, meta)["kind"]
    unit.put("captured_i", bench.pack(captured.reshape(-1), ACC))
    unit.put("meta_i", meta)
    unit.pulse("final_i")
    script = [bench.Scripted(parameters, answer), bench.Scripted(None, collect)]
    unit.run(script, lambda: True, more=len(rows) + 6)
    assert sum(lasts) == (kind != KIND_SCORE)
    return found
