"""Modules that carry streams, alone: nothing is lost, doubled or reordered, whoever pauses."""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode
from tests.rtl.rtl_units import THROTTLES, agents, bench, descriptor, integer, random_bytes

BASE = 0x8_0000_0000


def beats_of(memory: np.ndarray, offset: int, count: int) -> list[tuple[int]]:
    return [(integer(memory[offset + 16 * i : offset + 16 * i + 16]),) for i in range(count)]


def passes_in_order(unit: bench.Unit, items: list[tuple[int]], left: float, right: float) -> None:
    """Between throttled neighbours every item comes through, in order; an item a cycle if none."""
    source = bench.Source("valid_i", "ready_o", ["data_i"], items, pause=left)
    sink = bench.Sink("valid_o", "ready_i", ["data_o"], pause=right)
    cycles = unit.run([source, sink], lambda: len(sink.items) == len(items), more=20)
    assert sink.items == items
    if not left and not right:
        assert cycles < len(items) + 4, "an item a cycle"


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize(
    ("top", "depth"), [("fifo", 2), ("fifo", 8), ("fifo_block", 4), ("fifo_block", 16)]
)
def test_a_fifo_keeps_every_item_in_order(top, depth, left, right):
    items = [(int(x),) for x in random_bytes(600, depth)]
    with bench.Unit(top, WIDTH=8, DEPTH=depth) as unit:
        passes_in_order(unit, items, left, right)


@pytest.mark.parametrize(("top", "depth", "room"), [("fifo", 8, 8), ("fifo_block", 8, 10)])
def test_a_fifo_is_full_at_its_depth_and_empty_after_a_reset(top, depth, room):
    """The one in block memory also holds an item in its latch and one in its output register."""
    with bench.Unit(top, WIDTH=8, DEPTH=depth) as unit:
        source = bench.Source("valid_i", "ready_o", ["data_i"], [(i,) for i in range(50)])
        sink = bench.Sink("valid_o", "ready_i", ["data_o"], pause=1.0)
        unit.run([source, sink], lambda: unit.cycle > 60)
        assert source.taken == room
        unit.put("valid_i", 0)
        unit.reset()
        assert (unit.get("valid_o"), unit.get("ready_o")) == (0, 1)


@pytest.mark.parametrize(("left", "right"), THROTTLES)
def test_a_slice_keeps_every_item_in_order(left, right):
    items = [(int(x),) for x in random_bytes(600, 3)]
    with bench.Unit("slice", WIDTH=8) as unit:
        passes_in_order(unit, items, left, right)
        source = bench.Source("valid_i", "ready_o", ["data_i"], [(i,) for i in range(9)])
        stopped = bench.Sink("valid_o", "ready_i", ["data_o"], pause=1.0)
        unit.run([source, stopped], lambda: source.taken == 2, more=20)
        assert source.taken == 2, "one in the register, one beside it"


def burst_list(address: int, beats: int, most: int = 32) -> list[tuple[int, int]]:
    """The bursts a job must become: as long as allowed, none over a 4 KB border."""
    found = []
    while beats:
        length = min(beats, most, (agents.PAGE - address % agents.PAGE) // agents.BEAT)
        found.append((address, length))
        address, beats = address + length * agents.BEAT, beats - length
    return found


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize("block", [0, 1])
def test_read_client_turns_jobs_into_bursts_and_a_stream(block, left, right):
    memory = random_bytes(3 * agents.PAGE)
    jobs = [(0, 1), (16, 32), (4080, 2), (4064, 70), (512, 0), (8192, 33), (4096, 256)]
    with bench.Unit("read_client", BEATS=64, BLOCK=block) as unit:
        source = bench.Source(
            "job_valid_i",
            "job_ready_o",
            ["job_address_i", "job_beats_i"],
            [(BASE + a, n) for a, n in jobs],
        )
        port = agents.ReadPort(memory, base=BASE, pause=left)
        sink = bench.Sink("valid_o", "ready_i", ["data_o"], pause=right)
        total = sum(n for _, n in jobs)
        unit.run(
            [source, port, sink], lambda: len(sink.items) >= total and not source.items, more=9
        )
    assert sink.items == [b for a, n in jobs for b in beats_of(memory, a, n)]
    assert port.bursts == [x for a, n in jobs for x in burst_list(BASE + a, n)]


def test_read_client_asks_for_no_more_than_it_has_room_for():
    """Its stream stands still: the port must be able to deliver all that was asked for."""
    memory = random_bytes(2 * agents.PAGE)
    with bench.Unit("read_client", BEATS=64) as unit:
        job = [(BASE, 400)]
        names = ["job_address_i", "job_beats_i"]
        source = bench.Source("job_valid_i", "job_ready_o", names, job)
        port = agents.ReadPort(memory, base=BASE)
        sink = bench.Sink("valid_o", "ready_i", ["data_o"], pause=1.0)
        unit.run([source, port, sink], lambda: unit.cycle > 500)  # its assertion would say so
        assert sum(n for _, n in port.bursts) == 64


@pytest.mark.parametrize(("left", "right"), THROTTLES)
def test_prefetch_serves_the_ranges_in_order_and_skips_what_is_left_of_old_ones(left, right):
    memory = random_bytes(agents.PAGE)
    ranges = [(0, 5, 0), (512, 40, 1), (1024, 3, 3), (2048, 17, 4), (3000 // 16 * 16, 1, 5)]
    read = {0: 5, 1: 8, 3: 3, 4: 0, 5: 1}  # beats that each operation reads
    with bench.Unit("prefetch", BEATS=32, BLOCK=0, inputs={"program_i": BASE}) as unit:
        ahead = bench.Source(
            "ahead_valid_i",
            None,
            ["ahead_offset_i", "ahead_beats_i", "ahead_number_i"],
            ranges,
            pause=0.5,
        )
        port = agents.ReadPort(memory, base=BASE, pause=left)
        sink = bench.Sink("valid_o", "ready_i", ["data_o"], pause=right)
        unit.put("current_i", 0)
        for number, offset in ((0, 0), (1, 512), (3, 1024), (4, 2048), (5, ranges[4][0])):
            sink.items.clear()
            unit.put("current_i", number)
            unit.step()  # an operation asks later than its number comes
            count = read[number]
            sink.most = count
            unit.run([ahead, port, sink], sink.has(count), more=60)
            assert sink.items == beats_of(memory, offset, count)
            if count and count < {n: b for _, b, n in ranges}[number]:
                assert unit.get("head_valid_o")
                assert unit.get("head_offset_o") == offset + 16 * count
                assert unit.get("head_left_o") == ranges[1][1] - count


def requests_of(fields: dict[str, int]) -> list[tuple[int, int]]:
    """(offset, bytes) that the datapath must ask for, in order."""
    if fields["opcode"] == Opcode.LAYERNORM:
        return [(fields["parameters"], 2 * fields["inputs"])]
    if fields["opcode"] == Opcode.ATTENTION:
        return [(fields["parameters"], hw.HEAD_BYTES * fields["heads"])]
    table = [(fields["lookup"], hw.TABLE_BYTES)] if fields["mode"] == Epilogue.TABLE else []
    return [*table, (fields["parameters"], hw.ROW_BYTES * fields["outputs"])]


OPERATIONS = [
    {"opcode": Opcode.LINEAR, "mode": mode, "outputs": outputs, "parameters": 64, "lookup": 2560}
    for mode, outputs in ((Epilogue.REQUANTISE, 3), (Epilogue.TABLE, 40), (Epilogue.LOGITS, 1))
]
OPERATIONS += [
    {"opcode": Opcode.LAYERNORM, "inputs": 96, "parameters": 1024},
    {"opcode": Opcode.ATTENTION, "heads": 3, "parameters": 1280},
]


@pytest.mark.parametrize("pause", [0.0, 0.7])
def test_parameter_request_asks_for_the_table_then_the_parameters_once(pause):
    with bench.Unit("parameter_request") as unit:
        sink = bench.Sink(
            "req_valid_o", "req_ready_i", ["req_offset_o", "req_bytes_o"], pause=pause
        )
        for fields in OPERATIONS:
            sink.items.clear()
            unit.put("descriptor_i", descriptor(**fields))
            unit.pulse("start_i")
            unit.run([sink], sink.has(len(requests_of(fields))), more=10)
            assert sink.items == requests_of(fields)


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize(
    "order", ["asked as expected", "asked otherwise", "left unread", "asked for more"]
)
def test_parameter_unit_answers_requests_whether_or_not_it_read_ahead(order, left, right):
    """A request that does not go on where the prefetched range stands is read in its turn."""
    memory = random_bytes(agents.PAGE)
    with bench.Unit("parameter_unit", inputs={"program_i": BASE}) as unit:
        names = ["ahead_descriptor_i", "ahead_number_i"]
        queued = [(descriptor(**f), i) for i, f in enumerate(OPERATIONS)]
        ahead = bench.Source("ahead_valid_i", None, names, queued, pause=left)
        clients = [
            agents.ReadPort(
                memory,
                base=BASE,
                names=agents.Names(i),
                shared_data=True,
                pause=left,
                seed=i,
            )
            for i in range(3)
        ]
        port = SharedPort(clients)
        for number, fields in enumerate(OPERATIONS):
            wanted = requests_of(fields)
            if order == "asked otherwise":
                wanted = [(wanted[-1][0] + 16, 33), *wanted]
            elif order == "left unread":
                wanted = [(o, max(1, n - 17)) for o, n in wanted]
            elif order == "asked for more":
                wanted = [(o, n + 17) for o, n in wanted]
            unit.put("current_i", number)
            source = bench.Source(
                "p_req_valid_i",
                "p_req_ready_o",
                ["p_req_offset_i", "p_req_bytes_i"],
                wanted,
                pause=left,
            )
            sink = bench.Sink("p_valid_o", "p_ready_i", ["p_data_o"], pause=right)
            expected = [b for o, n in wanted for b in beats_of(memory, o, -(-n // 16))]
            while ahead.items and ahead.taken <= number:  # a descriptor is queued before it runs
                unit.run([ahead, port], lambda n=ahead.taken: ahead.taken > n)
            agents_ = [ahead, port, source, sink]
            unit.run(agents_, sink.has(len(expected)), more=5)
            assert sink.items == expected
        if order == "asked as expected":
            assert not clients[0].bursts, "all was read ahead"


class SharedPort(bench.Agent):
    """Clients of one port: a grant and a beat of data a cycle for all of them together."""

    def __init__(self, clients: list) -> None:
        self.clients, self.turn = clients, 0

    def drive(self, unit) -> None:
        data = 0
        for i in range(len(self.clients)):
            client = self.clients[(self.turn + i) % len(self.clients)]
            if data:  # the data lines are taken
                unit.put(client.names("req_ready_i"), 0)
                unit.put(client.names("data_valid_i"), 0)
                continue
            client.drive(unit)
            data = unit.get(client.names("data_valid_i"))
        self.turn += 1

    def sample(self, unit) -> None:
        for client in self.clients:
            client.sample(unit)


@pytest.mark.parametrize("pause", [0.0, 0.6])
def test_table_load_writes_a_table_word_by_word(pause):
    table = random_bytes(256)
    with bench.Unit("table_load") as unit:
        for _ in range(2):
            unit.pulse("start_i")
            source = bench.Source(
                "p_valid_i", "p_ready_o", ["p_data_i"], beats_of(table, 0, 16), pause=pause
            )
            sink = bench.Sink("we_o", None, ["address_o", "data_o"])
            unit.run([source, sink], lambda: not unit.get("busy_o"), more=2)
            assert sink.items == [(i, integer(table[4 * i : 4 * i + 4])) for i in range(64)]


@pytest.mark.parametrize("pause", [0.0, 0.6])
@pytest.mark.parametrize("heads", [1, 2, 5, 16])
def test_head_parameters_holds_every_head(heads, pause):
    rng = np.random.default_rng(heads)
    table = np.zeros(heads + heads % 2, hw.HEAD_DTYPE)
    for name, most in (
        ("score_multiplier", 2**15),
        ("score_shift", 24),
        ("out_multiplier", 2**15),
        ("out_shift", 41),
    ):
        table[name] = rng.integers(0, most, table.size)
    if heads % 2:  # what pads the last beat is not looked at
        table["score_shift"][-1] = 255
    raw = table.view(np.uint8)
    with bench.Unit("head_parameters") as unit:
        unit.put("descriptor_i", descriptor(opcode=Opcode.ATTENTION, heads=heads, parameters=640))
        unit.pulse("start_i")
        source = bench.Source(
            "p_valid_i", "p_ready_o", ["p_data_i"], beats_of(raw, 0, raw.size // 16), pause=pause
        )
        fault = bench.Sink("fault_o", None, ["fault_address_o"])
        unit.run([source, fault], lambda: bool(unit.get("full_o")), more=3)
        assert not fault.items
        assert source.taken == raw.size // 16
        for i in range(heads):
            unit.put("index_i", i | (heads - 1 - i) << 4)
            unit.settle()
            both = np.frombuffer(unit.get("head_o").to_bytes(16, "little"), hw.HEAD_DTYPE)
            # The first reader gets what belongs to the output, the second the scores' half.
            for reader, (prefix, head) in enumerate((("out", i), ("score", heads - 1 - i))):
                for name in (f"{prefix}_multiplier", f"{prefix}_shift"):
                    assert both[name][reader] == table[name][head]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_multiplier", 2**15),
        ("score_shift", 24),
        ("out_multiplier", 2**15),
        ("out_shift", 41),
    ],
)
@pytest.mark.parametrize("bad", [0, 3, 6])
def test_head_parameters_names_the_head_outside_its_range(bad, name, value):
    table = np.zeros(8, hw.HEAD_DTYPE)
    table[name][bad] = value
    with bench.Unit("head_parameters") as unit:
        unit.put("descriptor_i", descriptor(opcode=Opcode.ATTENTION, heads=7, parameters=640))
        unit.pulse("start_i")
        raw = table.view(np.uint8)
        source = bench.Source("p_valid_i", "p_ready_o", ["p_data_i"], beats_of(raw, 0, 4))
        fault = bench.Sink("fault_o", None, ["fault_address_o"])
        unit.run([source, fault], lambda: not source.items, more=3)
        assert fault.items == [(640 + hw.HEAD_BYTES * bad,)]


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize(
    ("rows", "depth", "lanes", "words"), [(4, 8, 1, 0), (16, 16, 1, 0), (16, 16, 2, 16)]
)
def test_weight_stream_brings_array_beats_of_operations_that_have_begun(
    rows, depth, lanes, words, left, right
):
    memory = random_bytes(16 * agents.PAGE)
    size = rows * depth // 2
    jobs = [(0, 3), (4096, 20), (128 * 64, 1), (12288, 64)]  # offset, array beats
    parameters = {"ROWS": rows, "DEPTH": depth, "LANES": lanes, "BEATS": 64, "WORDS": words}
    with bench.Unit("weight_stream", **parameters) as unit:
        names = ["ahead_address_i", "ahead_words_i"]
        ahead = bench.Source(
            "ahead_valid_i", None, names, [(BASE + a, n) for a, n in jobs], pause=left
        )
        ports = [
            agents.ReadPort(
                memory, base=BASE, names=agents.Names(i if lanes > 1 else None), pause=left, seed=i
            )
            for i in range(lanes)
        ]
        sink = bench.Sink("valid_o", "ready_i", ["data_o"], pause=right)
        for number, (offset, count) in enumerate(jobs):
            unit.run([ahead, *ports, sink], lambda n=number: ahead.taken > n, more=40)
            assert not sink.items, "beats of an operation that has not begun"
            unit.put("start_i", 1)
            unit.run([ahead, *ports, sink], lambda: True)
            unit.put("start_i", 0)
            unit.run([ahead, *ports, sink], sink.has(count), more=10)
            cut = [memory[offset + size * i : offset + size * (i + 1)] for i in range(count)]
            assert sink.items == [(integer(x),) for x in cut]
            sink.items.clear()


@pytest.mark.parametrize("pause", [0.0, 0.8])
def test_profile_writer_puts_each_entry_at_its_number(pause):
    entries = [(i * 7 % 40, 1000 + i, 2**40 + i) for i in range(30)]
    memory = np.full(40 * 16, 0xA5, np.uint8)
    with bench.Unit("profile_writer", inputs={"profile_i": BASE}) as unit:
        names = ["number_i", "begin_i", "end_i"]
        source = bench.Source("valid_i", "ready_o", names, entries, pause=0.3)
        port = agents.WritePort(memory, base=BASE, pause=pause)
        unit.run(
            [source, port],
            lambda: not source.items and port.idle and bool(unit.get("idle_o")),
            more=3,
        )
    expected = np.full(40 * 16, 0xA5, np.uint8)
    for number, begin, end in entries:
        expected.view("<u8").reshape(-1, 2)[number] = begin, end
    assert np.array_equal(memory, expected)
    assert [b for _, b in port.bursts] == [1] * len(entries)
