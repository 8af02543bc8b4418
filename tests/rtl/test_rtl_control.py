"""The accelerator's control plane: loads, stores, streams, profile, faults, resets.

Simulated with assertions, random first contents and memories from ideal to miserable, around a
stand-in for the datapath (see control_cases).
"""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.devices.base import Device
from quasar_runtime.devices.rtl.device import MemoryModel, RtlDevice
from quasar_runtime.errors import DeviceFault
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Control, Epilogue, Opcode, Source, Status
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import check
from tests.rtl.control_cases import (
    LARGE,
    LEAVE_LAST,
    MIDDLE,
    OUT_OF_TURN,
    OVERLAYS,
    SMALL,
    Table,
    expected,
    memory_model,
    place,
    run,
    sources,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return sources(tmp_path_factory.mktemp("control"))


@pytest.fixture
def opened(folder):
    """A function that opens devices, closed at the end."""
    devices = []

    def open_device(overlay: Overlay, memory: MemoryModel | None = None) -> RtlDevice:
        devices.append(RtlDevice(overlay, memory=memory, checked=True, sources=folder))
        return devices[-1]

    yield open_device
    for device in devices:
        device.close()


def random_table(overlay: Overlay, seed: int) -> Table:
    """Loads and stores of everything, and operations that stream, in random order."""
    t = Table(overlay, seed)
    rng, layer = t.rng, 0
    for _ in range(int(rng.integers(6, 14))):
        kind = int(rng.integers(6))
        if kind == 0:
            side, slack = 16 * int(rng.integers(1, 4)), int(rng.integers(3))
            tokens = (side // 16) ** 2 + 1
            base = int(rng.integers(100))
            t.image(side, base, slack)
            t.store(Source.ACT, hw.PATCH_CHANNELS, tokens, base, slack)
        elif kind == 1:
            tokens, channels = int(rng.integers(1, 9)), 32 * int(rng.integers(1, 9))
            slack = int(rng.integers(3))
            t.residual(tokens, channels, slack)
            if rng.integers(2):
                t.image(16, 7)
            t.store(Source.RESIDUAL, channels, tokens, 0, slack)
        elif kind in (2, 3):
            outputs = int(rng.integers(1, 100))
            flags = int(rng.choice([0, 0, OUT_OF_TURN, LEAVE_LAST]))
            t.linear(
                32 * int(rng.integers(1, 9)),
                outputs,
                int(rng.integers(outputs + 1)),
                layer | flags,
                mode=int(rng.integers(2)),
            )
            layer += 1
        elif kind == 4:
            t.layernorm(32 * int(rng.integers(1, 9)), layer | int(rng.choice([0, LEAVE_LAST])))
            layer += 1
        else:
            t.attention(int(rng.integers(1, 9)), layer)
            layer += 1
    if layer:
        t.store(Source.LOGITS, int(rng.integers(1, 2 * layer + 1)))
    t.store(Source.LOGITS, 0)
    t.end()
    t.add(255)  # never reached
    return t


@pytest.mark.parametrize("name", list(OVERLAYS))
@pytest.mark.parametrize("seed", range(12))
def test_random_tables_leave_the_expected_bytes(opened, name, seed):
    device = opened(OVERLAYS[name], memory_model(seed))
    for table_seed in range(3):
        t = random_table(OVERLAYS[name], 100 * seed + table_seed)
        result = run(device, t)
        np.testing.assert_array_equal(result.output, expected(t, result))
        state = device.state()
        assert state["STATUS"] == Status.IDLE | Status.DONE
        assert state["ERROR_CAUSE"] == Cause.NONE
        used = result.profile[: len(t.descriptors) - 1]
        assert (used["begin"] < used["end"]).all()
        assert (np.diff(used["begin"].astype(np.int64)) > 0).all()
        assert used["end"][-1] <= device.cycles
        assert (result.profile[len(used) :]["begin"] == 2**64 - 1).all()


@pytest.mark.parametrize(("overlay", "rate"), [(MIDDLE, 16), (LARGE, 32)])
def test_image_and_position_values_stream_as_fast_as_the_ports_deliver(opened, overlay, rate):
    device = opened(overlay, MemoryModel(gigabytes=20))
    t = Table(overlay)
    t.image(96)
    t.end()
    result = run(device, t)
    spent = int(result.profile["end"][0] - result.profile["begin"][0])
    assert spent < 96 * 96 * 3 / rate * 1.1 + 220
    t = Table(overlay)
    t.residual(100, 192)
    t.end()
    result = run(device, t)
    spent = int(result.profile["end"][0] - result.profile["begin"][0])
    assert spent < 100 * 192 * 2 / rate * 1.1 + 220


def test_weights_come_as_fast_as_the_ports_deliver(opened):
    """Array beats of 512 bytes in 16 cycles, two ports together."""
    device = opened(LARGE, MemoryModel(gigabytes=40))
    t = Table(LARGE)
    t.linear(4096, 256, 0)
    t.end()
    result = run(device, t)
    np.testing.assert_array_equal(result.output, expected(t, result))
    beats = 8 * 128
    spent = int(result.profile["end"][0] - result.profile["begin"][0])
    assert spent < beats * 16 * 1.1 + 400


def test_weights_are_read_ahead_across_operations(opened):
    """A LINEAR that follows another does not wait for the memory's latency."""
    spent = []
    for latency in (1, 150):
        device = opened(MIDDLE, MemoryModel(latency=latency))
        t = Table(MIDDLE)
        t.linear(32, 16)
        t.linear(512, 256)
        t.linear(64, 16, layer=2, mode=Epilogue.TABLE)
        t.end()
        result = run(device, t)
        spent.append(int(result.profile["end"][2] - result.profile["begin"][2]))
    assert spent[1] < spent[0] + 50


# --- Registers


def test_registers_hold_what_is_written_and_only_where_they_may(opened):
    device = opened(SMALL)
    for r in hw.REGISTERS:
        if r.name in ("CONTROL", "INTERRUPT_STATUS"):
            continue
        before = device._read(r.name)
        device._write(r.name, 0xDEADBEEF)
        wanted = {"r": before, "rw": 3 if r.name == "INTERRUPT_ENABLE" else 0xDEADBEEF}[r.access]
        assert device._read(r.name) == wanted, r.name
    assert device._read("CONTROL") == 0


def test_an_interrupt_stays_until_it_is_cleared(opened):
    device = opened(SMALL)
    t = Table(SMALL)
    t.end()
    job, _ = place(device, t)
    device.submit(job)
    device._write("INTERRUPT_ENABLE", 0)
    device._library.sim_run(device._handle, 2000)
    assert not device._library.sim_irq(device._handle)
    assert device._read("INTERRUPT_STATUS") == 1
    device._write("INTERRUPT_ENABLE", 1)
    device._library.sim_run(device._handle, 3)
    assert device._library.sim_irq(device._handle)
    device._write("INTERRUPT_STATUS", 2)
    assert device._read("INTERRUPT_STATUS") == 1
    device._write("INTERRUPT_STATUS", 1)
    assert device._read("INTERRUPT_STATUS") == 0
    assert not device._library.sim_irq(device._handle)


# --- Faults: cause, descriptor and address; then a reset, and a run that is right


def work(overlay: Overlay, seed: int = 0) -> Table:
    """A table that uses every unit and channel."""
    t = Table(overlay, seed)
    t.residual(5, 64)
    t.image(32)
    t.store(Source.RESIDUAL, 64, 5)
    t.linear(256, 40, 13, mode=Epilogue.TABLE)
    t.layernorm(64, 1)
    t.attention(3, 2)
    t.linear(64, 40, 13, 3)
    t.store(Source.ACT, hw.PATCH_CHANNELS, 5)
    t.store(Source.LOGITS, 7)
    t.end()
    return t


def fault_of(device: RtlDevice, table: Table, **changes: int) -> dict[str, int]:
    """The state in which a run stops, and that a reset leads to idle."""
    job, _ = place(device, table, **changes)
    device.submit(job)
    with pytest.raises(DeviceFault):
        device.wait(60)
    state = device.state()
    assert state["STATUS"] == Status.ERROR
    device.clear_faults()
    device.reset()
    assert device._read("STATUS") == Status.IDLE
    assert device._read("ERROR_CAUSE") == Cause.NONE
    return state


def works_again(device: RtlDevice, seed: int = 9) -> None:
    t = random_table(device.overlay, seed)
    result = run(device, t)
    np.testing.assert_array_equal(result.output, expected(t, result))


def address_of(state: dict[str, int]) -> int:
    return state["ERROR_ADDRESS_HI"] << 32 | state["ERROR_ADDRESS_LO"]


@pytest.mark.parametrize("response", ["SLVERR", "DECERR"])
@pytest.mark.parametrize("overlay", [SMALL, LARGE], ids=lambda o: o.name)
def test_a_read_error_stops_the_run_with_its_address(opened, overlay, response):
    device = opened(overlay)
    for port in range(overlay.read_ports):
        for after in (0, 3, 50, 150, 222):
            device.inject(port, "R", after, response)
            state = fault_of(device, work(overlay))
            assert state["ERROR_CAUSE"] == Cause[f"READ_{response}"]
            inside = (
                m.address <= address_of(state) < m.address + m.array.size for m in device._memories
            )
            assert any(inside)
            works_again(device)


@pytest.mark.parametrize("response", ["SLVERR", "DECERR"])
def test_a_write_error_stops_the_run_with_its_address(opened, response):
    device = opened(MIDDLE)
    for after in (0, 1, 5, 10):
        device.inject(MIDDLE.read_ports, "B", after, response)
        state = fault_of(device, work(MIDDLE))
        assert state["ERROR_CAUSE"] == Cause[f"WRITE_{response}"]
        output, profile = device._memories[-2:]
        assert any(
            m.address <= address_of(state) < m.address + m.array.size for m in (output, profile)
        )
        works_again(device)


def test_memory_that_is_not_there_is_a_decode_error(opened):
    device = opened(SMALL)
    state = fault_of(device, work(SMALL), image=0x40)
    assert (state["ERROR_CAUSE"], address_of(state)) == (Cause.READ_DECERR, 0x40 + 64)
    assert state["ERROR_DESCRIPTOR"] == 1
    state = fault_of(device, work(SMALL), profile=0x1000)
    assert (state["ERROR_CAUSE"], address_of(state)) == (Cause.WRITE_DECERR, 0x1000)
    works_again(device)


@pytest.mark.parametrize("channel", ["AR", "R", "AW", "W", "B"])
@pytest.mark.parametrize("overlay", [SMALL, MIDDLE], ids=lambda o: o.name)
def test_a_port_that_falls_silent_is_reported(opened, overlay, channel, monkeypatch):
    monkeypatch.setattr("quasar_runtime.devices.registers.STALL_CYCLES", 1000)
    device = opened(overlay)
    ports = range(overlay.read_ports) if channel in ("AR", "R") else [overlay.read_ports]
    for port in ports:
        for after in (0, 2, 9):
            device.inject(port, channel, after, "silent")
            state = fault_of(device, work(overlay))
            assert state["ERROR_CAUSE"] == Cause.STALLED
            assert any(
                m.address <= address_of(state) < m.address + m.array.size for m in device._memories
            )
            works_again(device)


def test_a_reset_waits_for_a_silent_port_and_says_so(opened, monkeypatch):
    monkeypatch.setattr("quasar_runtime.devices.registers.STALL_CYCLES", 1000)
    device = opened(SMALL)
    device.inject(0, "R", 5, "silent")
    job, _ = place(device, work(SMALL))
    device.submit(job)
    with pytest.raises(DeviceFault):
        device.wait(60)
    device._write("CONTROL", Control.RESET)
    device._write("INTERRUPT_ENABLE", 0)
    device._library.sim_run(device._handle, 2000)
    assert device._read("STATUS") == Status.BUSY | Status.ERROR
    assert device._read("ERROR_CAUSE") == Cause.STALLED
    device.clear_faults()
    device._library.sim_run(device._handle, 2000)
    assert device._read("STATUS") == Status.IDLE
    works_again(device)


def test_start_while_busy_is_flagged_and_disturbs_nothing(opened):
    device = opened(SMALL)
    t = work(SMALL)
    job, result = place(device, t)
    device.submit(job)
    device._library.sim_run(device._handle, 700)
    device._write("CONTROL", Control.START)
    assert device._read("STATUS") == Status.BUSY | Status.ERROR
    device._write("INTERRUPT_STATUS", 2)
    device._library.sim_run(device._handle, 100_000)
    assert device._read("STATUS") == Status.IDLE | Status.DONE | Status.ERROR
    assert device._read("ERROR_CAUSE") == Cause.START_WHILE_BUSY
    np.testing.assert_array_equal(result.output, expected(t, result))
    device._running = False
    works_again(device)
    assert device._read("STATUS") == Status.IDLE | Status.DONE


def test_the_configuration_may_be_written_while_a_run_is_under_way(opened):
    device = opened(SMALL)
    t = work(SMALL)
    job, result = place(device, t)
    device.submit(job)
    for name in ("PROGRAM_LO", "IMAGE_LO", "OUTPUT_LO", "PROFILE_LO", "DESCRIPTOR_COUNT"):
        device._write(name, 0)
    device.wait(60)
    np.testing.assert_array_equal(result.output, expected(t, result))


def test_a_start_after_a_fault_needs_no_reset(opened):
    device = opened(SMALL)
    device.inject(0, "R", 60, "SLVERR")
    job, _ = place(device, work(SMALL))
    device.submit(job)
    with pytest.raises(DeviceFault):
        device.wait(60)
    t = work(SMALL, 3)
    job, result = place(device, t)
    for name in ("program", "image", "output", "profile"):
        device._write(f"{name.upper()}_LO", getattr(job, name) & 0xFFFFFFFF)
        device._write(f"{name.upper()}_BYTES", getattr(job, f"{name}_bytes"))
    device._write("CONTROL", Control.START)
    device._running = True
    device.wait(60)
    np.testing.assert_array_equal(result.output, expected(t, result))


@pytest.mark.parametrize("name", list(OVERLAYS))
def test_a_reset_in_the_middle_of_anything_is_survived(opened, name):
    """At many moments, with memories that make every moment different."""
    overlay = OVERLAYS[name]
    for seed in range(4):
        device = opened(overlay, memory_model(seed + 20))
        job, _ = place(device, work(overlay))
        device.submit(job)
        device.wait(60)
        for moment in np.random.default_rng(seed).integers(0, device.cycles, 12):
            device.submit(job)
            device._library.sim_run(device._handle, int(moment))
            device.reset()
            assert device._read("STATUS") == Status.IDLE
        works_again(device, seed)


def test_a_fault_of_the_datapath_is_reported(opened):
    device = opened(SMALL)
    t = Table(SMALL)
    t.layernorm(32)
    t.attention(1, 0xFFFF)
    t.end()
    state = fault_of(device, t)
    assert state["ERROR_CAUSE"] == Cause.BAD_FIELD
    assert (state["ERROR_DESCRIPTOR"], address_of(state)) == (1, 0x1234)
    works_again(device)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"program": 0x8_0000_0010}, Cause.MISALIGNED),
        ({"image": 0x8_0000_0010}, Cause.MISALIGNED),
        ({"output": 0x8_0000_0010}, Cause.MISALIGNED),
        ({"profile": 0x8_0000_0010}, Cause.MISALIGNED),
        ({"count": 2**31}, Cause.BAD_RANGE),
        ({"program_bytes": 9 * 64}, Cause.BAD_RANGE),
        ({"profile_bytes": 9 * 16}, Cause.BAD_RANGE),
    ],
)
def test_a_job_that_cannot_be_is_refused_before_anything_is_read(opened, changes, cause):
    device = opened(SMALL)
    before = device.bytes_moved()
    state = fault_of(device, work(SMALL), **changes)
    assert state["ERROR_CAUSE"] == cause
    assert address_of(state) == (0x8_0000_0010 if cause == Cause.MISALIGNED else 0)
    assert device.bytes_moved() == before
    works_again(device)


def test_a_table_without_end_is_an_error_after_its_last_descriptor(opened):
    device = opened(SMALL)
    for length in (0, 1, 3, 9):
        t = work(SMALL)
        del t.descriptors[length:]
        state = fault_of(device, t)
        assert (state["ERROR_CAUSE"], state["ERROR_DESCRIPTOR"]) == (Cause.NO_END, length)
    works_again(device)


# --- Every check of program.check


def mutations(overlay: Overlay, rng: np.random.Generator, count: int):
    """Descriptors with one or two fields changed to values at and around every limit."""
    bases = work(overlay).descriptors[:-1]
    interesting = [0, 1, 31, 32, 63, 64, 118, 119, 127, 128, 240, 255, 256, 257, 1024, 4096, 4097]
    interesting += [2**15 - 1, 2**15, 2**16 - 1, 2**24 - 1, 2**24, 2**32 - 64, 2**32 - 1]
    names = [f.name for f in hw.FIELDS if f.name != "layer"]
    for _ in range(count):
        d = dict(bases[rng.integers(len(bases))])
        for _ in range(int(rng.integers(1, 3))):
            name = names[rng.integers(len(names))]
            size = hw.FIELD[name].size
            value = int(interesting[rng.integers(len(interesting))])
            if rng.integers(3) == 0:
                value = d.get(name, 0) + int(rng.choice([-64, -32, -1, 1, 32, 64]))
            d[name] = max(0, value) % 2 ** (8 * size)
        yield d


def refusal(device: Device, table: Table) -> dict[str, int]:
    """The state in which a device refuses a table."""
    job, _ = place(device, table)

    def attempt() -> None:
        device.submit(job)
        device.wait(60)

    with pytest.raises(DeviceFault):
        attempt()
    state = device.state()
    device.reset()
    return state


@pytest.mark.parametrize("name", list(OVERLAYS))
def test_descriptors_are_refused_as_by_program_check_and_the_c_engine(opened, name):
    overlay = OVERLAYS[name]
    device = opened(overlay, MemoryModel(latency=2, gigabytes=40))
    engine = pytest.importorskip("quasar_runtime.devices.native.device").NativeDevice(
        overlay, threads=1
    )
    rng, seen = np.random.default_rng(1), set()
    for d in mutations(overlay, rng, 250):
        t = work(overlay)
        t.descriptors[:] = [d, {"opcode": Opcode.END}]
        data = t.data()
        table = data[:128].view(hw.DESCRIPTOR_DTYPE)
        found = check(table, overlay, data.size, t.image_bytes, t.output_bytes)
        if found is None:
            continue
        state, other = refusal(device, t), refusal(engine, t)
        assert state["ERROR_CAUSE"] == found.cause, (d, found)
        assert state["ERROR_DESCRIPTOR"] == found.descriptor
        for register in ("ERROR_CAUSE", "ERROR_DESCRIPTOR", "ERROR_ADDRESS_LO"):
            assert state[register] == other[register], (register, d, found)
        seen.add((d["opcode"], found.cause))
    assert len(seen) > 15
    engine.close()
