"""What moves data between memory and chip, alone: loads, stores, shared ports, descriptors."""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import check
from tests.rtl.rtl_units import THROTTLES, agents, bench, descriptor, integer, random_bytes
from tests.runtime.isa.edges import blamed, edge_cases, table_of
from tests.runtime.isa.test_program import LEGAL

BASE = 0x8_0000_0000
SHAPES = [(2, 8), (4, 16), (8, 32)]
"""TOKENS, DEPTH"""


def elements(data: int, bits: int, count: int) -> list[int]:
    return bench.unpack(data, bits, count, signed=True)


def read_ports(memory: np.ndarray, count: int, pauses: tuple[float, float]) -> list:
    """A read port, or one for each of a client's two lanes."""
    return [
        agents.ReadPort(
            memory, base=BASE, names=agents.Names(i if count > 1 else None), pause=p, seed=i
        )
        for i, p in zip(range(count), pauses, strict=False)
    ]


class Writes(bench.Agent):
    """Words written to a memory's banks, each once; and that none follows `done_o`."""

    def __init__(self, bits: int, depth: int) -> None:
        self.bits, self.depth = bits, depth
        self.words: dict[tuple[int, int], list[int]] = {}
        self.done = False

    def sample(self, unit) -> None:
        if unit.get("we_o"):
            assert not self.done, "a write after done"
            key = unit.get("bank_o"), unit.get("word_o")
            assert key not in self.words, f"{key} was written twice"
            self.words[key] = elements(unit.get("data_o"), self.bits, self.depth)
        self.done = self.done or bool(unit.get("done_o"))


def region(values: np.ndarray, tokens: int, depth: int, base: int, pitch: int):
    """The words of a region: (bank, word) to elements."""
    return {
        (t % tokens, base + t // tokens * pitch + w): row[w * depth : (w + 1) * depth].tolist()
        for t, row in enumerate(values)
        for w in range(values.shape[1] // depth)
    }


@pytest.mark.parametrize(("left", "right"), [(0.0, 0.0), (0.4, 0.4)])
@pytest.mark.parametrize("side", [16, 48, 240])
@pytest.mark.parametrize(("tokens", "depth"), SHAPES)
def test_load_image_writes_patches_and_zeros_for_cls(tokens, depth, side, left, right):
    streams, address = (2 if depth == 32 else 1), 64
    memory = random_bytes(address + side * side * 3 + 64, side)
    memory[address : address + 20] = 0  # 0 becomes -127, as 1 does
    pixels = memory[address : address + side * side * 3].reshape(side, side, 3)
    base, pitch = 5, 768 // depth + 1
    with bench.Unit("load_image", TOKENS=tokens, DEPTH=depth, ACT_WORDS=16384) as unit:
        unit.put("image_i", BASE)
        for _ in range(2):  # nothing of a load reaches the next
            fields = {"image_size": side, "destination": base, "destination_pitch": pitch}
            unit.put("descriptor_i", descriptor(**LEGAL["load_image"] | fields))
            unit.pulse("start_i")
            ports = read_ports(memory, streams, (left, right))
            writes = Writes(8, depth)
            unit.run([*ports, writes], lambda w=writes: w.done, limit=60_000, more=10)
            assert writes.words == region(ar.patches(pixels), tokens, depth, base, pitch)


@pytest.mark.parametrize(("left", "right"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize(("tokens", "depth", "lanes"), [(2, 8, 1), (4, 16, 1), (8, 32, 2)])
def test_load_residual_writes_every_value(tokens, depth, lanes, count, left, right):
    channels, pitch = 96, 96 // depth + 2
    memory = random_bytes(128 + count * channels * 2, count)
    values = memory[128:].view("<i2").reshape(count, channels)
    with bench.Unit("load_residual", TOKENS=tokens, DEPTH=depth, LANES=lanes) as unit:
        unit.put("program_i", BASE)
        fields = {"tokens": count, "inputs": channels, "destination_pitch": pitch}
        unit.put("descriptor_i", descriptor(**LEGAL["load_residual"] | fields))
        unit.pulse("start_i")
        ports = read_ports(memory, lanes, (left, right))
        writes = Writes(16, depth)
        unit.run([*ports, writes], lambda: writes.done, more=10)
    assert writes.words == region(values, tokens, depth, 0, pitch)


@pytest.mark.parametrize("pause", [0.0, 0.8])
@pytest.mark.parametrize(("tokens", "depth"), SHAPES)
def test_store_writes_regions_and_logits_without_gaps(tokens, depth, pause):
    rng = np.random.default_rng(depth)
    act = rng.integers(-127, 128, (tokens, 256, depth))
    res = rng.integers(-(2**15), 2**15, (tokens, 128, depth))
    logits = rng.integers(-(2**31), 2**31, 512)

    def words(memory: np.ndarray, name: str, bits: int):
        def read(unit) -> int | None:
            if not unit.get(f"{name}_re_o"):
                return None
            at = unit.get(f"{name}_bank_o"), unit.get(f"{name}_word_o")
            return bench.pack(memory[at].tolist(), bits)

        return agents.OnChip(f"{name}_data_i", read)

    def logit(unit) -> int | None:
        if not unit.get("logit_re_o"):
            return None
        first = unit.get("logit_index_o")
        assert first % 4 == 0
        return bench.pack(logits[first : first + 4].tolist(), 32)

    memories = [words(act, "act", 8), words(res, "res", 16), agents.OnChip("logit_data_i", logit)]
    jobs = [  # source, tokens, channels or logits, base, pitch, address
        (Source.LOGITS, 0, 1, 0, 0, 64),
        (Source.ACT, 1, 32, 3, 9, 4096 - 64),
        (Source.RESIDUAL, 2 * tokens + 1, 96, 0, 14, 128),
        (Source.LOGITS, 0, 0, 0, 0, 64),
        (Source.ACT, tokens + 1, 160, 17, 23, 64),
        (Source.LOGITS, 0, 301, 0, 0, 8192 - 128),
        (Source.RESIDUAL, 1, 32, 0, 4, 0),
    ]
    parameters = {"TOKENS": tokens, "DEPTH": depth, "ACT_WORDS": 256, "RES_WORDS": 128}
    with bench.Unit("store_unit", LOGITS=512, inputs={"output_i": BASE}, **parameters) as unit:
        for number, (source, rows, count, base, pitch, address) in enumerate(jobs):
            memory = np.full(3 * agents.PAGE, 0xA5, np.uint8)
            fields = {
                "opcode": Opcode.STORE,
                "mode": source,
                "tokens": rows,
                "source": base,
                "source_pitch": pitch,
                "address": address,
            }
            fields["outputs" if source == Source.LOGITS else "inputs"] = count
            unit.put("descriptor_i", descriptor(**fields))
            unit.pulse("start_i")
            port = agents.WritePort(memory, base=BASE, pause=pause, seed=number)
            done = bench.Sink("done_o", None, [])
            unit.run(
                [*memories, port, done], lambda d=done, p=port: bool(d.items) and p.idle, more=20
            )
            assert len(done.items) == 1
            if source == Source.LOGITS:
                data = logits[:count].astype("<i4")
            else:
                held, bias = (act, base) if source == Source.ACT else (res, 0)
                data = np.stack(
                    [
                        held[t % tokens, bias + t // tokens * pitch :][: count // depth].reshape(-1)
                        for t in range(rows)
                    ]
                ).astype("<i1" if source == Source.ACT else "<i2")
            raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
            expected = np.full_like(memory, 0xA5)
            expected[address : address + raw.size] = raw
            assert np.array_equal(memory, expected), jobs[number]


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize("ports", [1, 2])
def test_read_ports_bring_each_client_its_own_data(ports, left, right):
    """Ten clients in all, with two lanes where a client may have two."""
    memory = random_bytes(4 * agents.PAGE)
    lanes = {"descriptor": None, "parameter": 3, "image": 2, "residual": ports, "weight": ports}
    parameters = {"STREAMS": 2, "RESIDUAL_LANES": ports, "WEIGHT_LANES": ports}
    sources, sinks, expected = [], [], []
    for name, count in lanes.items():
        for i in range(count or 1):
            bursts = [
                ((512 * (7 * i + 3 * j + len(name))) % memory.size, 1 + (5 * j + i) % 32)
                for j in range(12)
            ]

            def part(port: str, bits: int = 1, name=name, i=i, count=count):
                whole = f"{name}_{port}"
                return whole if count is None else bench.lane(whole, i, bits)

            sources.append(
                bench.Source(
                    part("valid_i"),
                    part("ready_o"),
                    [part("address_i", 64), part("length_i", 5)],
                    [(BASE + a, n - 1) for a, n in bursts],
                    pause=left,
                    seed=len(sources),
                )
            )
            own = name not in ("descriptor", "parameter")
            data = part("data_o", 128) if own else "first_data_o"
            sinks.append(bench.Sink(part("data_valid_o"), None, [data]))
            expected.append(
                [
                    (integer(memory[a + 16 * k : a + 16 * k + 16]),)
                    for a, n in bursts
                    for k in range(n)
                ]
            )
    slaves = [agents.AxiRead(memory, base=BASE, index=p, pause=right, seed=p) for p in range(ports)]
    with bench.Unit("read_ports", READ_PORTS=ports, **parameters) as unit:
        unit.run(
            [*sources, *sinks, *slaves],
            lambda: not any(s.items for s in sources) and bool(unit.get("quiet_o")),
            more=5,
        )
        assert [s.items for s in sinks] == expected
        if ports == 2:
            assert all(s.beats > 400 for s in slaves), "both ports carry their part"


# --- Descriptors

SMALL = Overlay("unit", 2, 4, 8, 300, 2000, 500, 100, 1)
PARAMETERS = {
    "TOKENS": 2,
    "ROWS": 4,
    "DEPTH": 8,
    "ACT_WORDS": 2000,
    "RES_WORDS": 500,
    "LOGITS": 100,
}
SIZES = {"program_bytes": 70_000, "image_bytes": 4000, "output_bytes": 1000}
CORNERS = [
    0,
    1,
    31,
    32,
    63,
    64,
    100,
    118,
    119,
    127,
    128,
    240,
    256,
    257,
    500,
    1024,
    2000,
    4096,
    4097,
    2**15 - 1,
    2**15,
    2**16 - 1,
    2**24 - 1,
    2**24,
    65536,
    2**32 - 64,
    2**32 - 1,
]


def mutated(rng: np.random.Generator) -> dict[str, int]:
    """A legal descriptor, or one with a field or two somewhere around a limit."""
    d = dict(LEGAL[str(rng.choice(sorted(LEGAL)))])
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        f = hw.FIELDS[int(rng.integers(len(hw.FIELDS)))]
        near = d.get(f.name, 0) + int(rng.choice([-64, -32, -1, 1, 32, 64]))
        value = near if rng.integers(2) else int(rng.choice(CORNERS))
        d[f.name] = max(0, value) % 2 ** (8 * f.size)
    return d


def test_range_check_decides_as_program_check_does():
    rng, seen = np.random.default_rng(0), set()
    with bench.Unit("range_check", **PARAMETERS) as unit:
        for name, size in SIZES.items():
            unit.put(f"{name}_i", size)
        done = bench.Sink("done_o", None, ["violation_o"])
        for number, fields in enumerate([*edge_cases(), *(mutated(rng) for _ in range(3000))]):
            table = table_of(fields)
            violation = check(table, SMALL, *SIZES.values())
            unit.put("descriptor_i", integer(table[0]))
            unit.pulse("start_i")
            unit.run([done], done.has(number + 1), limit=60)
            cause, offset = done.items[-1][0] >> 8, done.items[-1][0] & 255
            assert cause == (violation.cause if violation else Cause.NONE), (fields, violation)
            assert blamed(violation) in (None, offset), (fields, violation)
            seen.add((fields["opcode"] if fields["opcode"] < 8 else 0, cause))
    for opcode in range(1, 8):
        assert (opcode, Cause.NONE) in seen
        assert (opcode, Cause.BAD_FIELD) in seen
    assert sum(cause == Cause.BAD_RANGE for _, cause in seen) >= 6
    assert sum(cause == Cause.MISALIGNED for _, cause in seen) >= 5


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize("last", ["end", "none", "bad"])
def test_descriptor_fetch_queues_the_table_in_order_up_to_its_end(last, left, right):
    names = [n for n in sorted(LEGAL) if n != "end"] * 3
    count = len(names) + 5
    table = np.zeros(count, hw.DESCRIPTOR_DTYPE)
    table["opcode"] = Opcode.END
    for row, name in zip(table, names, strict=False):
        for key, value in LEGAL[name].items():
            row[key] = value
    if last == "bad":
        table[len(names)]["opcode"] = 77
    memory = np.ascontiguousarray(table).view(np.uint8)
    entries = len(names) + 1
    with bench.Unit("descriptor_fetch", **PARAMETERS) as unit:
        for name, size in {
            "program_bytes": 2**20,
            "image_bytes": 2**20,
            "output_bytes": 2**20,
            "program": BASE,
            "count": len(names) if last == "none" else count,
        }.items():
            unit.put(f"{name}_i", size)
        unit.pulse("start_i")
        port = agents.ReadPort(memory, base=BASE, pause=left)
        sink = bench.Sink("valid_o", "ready_i", ["descriptor_o", "violation_o"], pause=right)
        ahead = bench.Sink("ahead_valid_o", None, ["ahead_descriptor_o", "ahead_number_o"])
        unit.run([port, sink, ahead], sink.has(entries), more=200)
    found = sink.items
    assert len(found) == entries
    good = entries if last == "end" else len(names)
    assert found[:good] == [(integer(row), 0) for row in table[:good]]
    assert ahead.items == [(integer(row), i) for i, row in enumerate(table[:good])]
    cause = {"end": Cause.NONE, "none": Cause.NO_END, "bad": Cause.BAD_OPCODE}[last]
    assert found[-1][1] >> 8 == cause
