"""Measurements are what they say, and the trace is one that viewers open. Nothing is timed here."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from quasar_runtime.errors import ImageError
from quasar_runtime.isa import interface as hw
from quasar_runtime.measure import bench
from quasar_runtime.measure.bench import Latency, measure, median_profile, steps, synthetic_jpeg
from quasar_runtime.measure.power import LOGIC, PROCESSOR, Power
from quasar_runtime.measure.trace import chrome_trace, write_trace
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.session.results import Profile
from quasar_runtime.session.session import Session


@pytest.fixture(scope="module")
def session():
    with Session(random_model(0), "reference", overlay="b64") as opened:
        yield opened


@pytest.fixture(scope="module")
def found(session):
    return measure(session, runs=3, warmup=1)


def profile(begin, end, tick_hz=1e6):
    entries = np.zeros(len(begin), hw.PROFILE_DTYPE)
    entries["begin"], entries["end"] = begin, end
    names = tuple(f"op{i}" for i in range(len(begin)))
    return Profile(names, (100,) * len(begin), entries, tick_hz)


def test_percentiles_interpolate_between_runs():
    latency = Latency.of([float(x) for x in range(101)])
    assert (latency.min_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms) == (0, 50, 90, 99)
    assert (latency.max_ms, latency.mean_ms, latency.runs) == (100, 50, 101)
    assert Latency.of([2.0]).p99_ms == 2.0


def test_ticks_become_microseconds_by_the_devices_clock():
    layers = profile([100, 130], [130, 190], tick_hz=300e6).layers
    assert [layer.ticks for layer in layers] == [30, 60]
    assert [layer.microseconds for layer in layers] == pytest.approx([0.1, 0.2])
    assert [layer.begin_us for layer in layers] == pytest.approx([0, 0.1])
    assert [layer.share for layer in layers] == pytest.approx([1 / 3, 2 / 3])


def test_profile_of_a_device_that_measured_nothing_has_no_share():
    assert [layer.share for layer in profile([0, 0], [0, 0]).layers] == [0, 0]


def test_median_profile_ignores_one_slow_run_and_the_clocks_start():
    runs = [profile([s, s + 10], [s + 10, s + 30]) for s in (0, 5000)]
    runs.append(profile([7, 900], [900, 9999]))
    median = median_profile(runs)
    assert [layer.ticks for layer in median.layers] == [10, 20]


def test_every_part_is_measured_as_often_as_asked(session):
    calls = []
    found = measure(session, runs=3, warmup=2, each=lambda: calls.append(1))
    assert len(calls) == steps(3, 2)
    assert found.decode.runs == found.preprocess.runs == found.infer.runs == 3
    assert len(found.runs) == 3
    assert found.infer.p50_ms > 0
    assert found.end_to_end_fps > 0
    assert found.infer_fps == pytest.approx(1e3 / found.infer.p50_ms)


def test_pictures_that_are_given_are_used(session):
    image = np.zeros((40, 40, 3), np.uint8)
    assert measure(session, [image], runs=1, warmup=0).decode.runs == 1
    with pytest.raises(ImageError):
        measure(session, [b"nothing"], runs=1, warmup=0)


def test_synthetic_photo_is_a_jpeg_and_always_the_same():
    assert Image.open(io.BytesIO(synthetic_jpeg())).size == (500, 375)
    assert synthetic_jpeg() == synthetic_jpeg()


def test_results_are_json(found):
    data = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    parts = {
        "decode",
        "preprocess",
        "infer",
        "throughput",
        "accelerator",
        "power",
        "layers",
        "failed",
    }
    assert set(data) == {"model", "device", "overlay", "facts"} | parts
    assert data["throughput"]["infer_fps"] > 0
    assert data["accelerator"] == {"cycles": None, "clock_mhz": 300, "fps": None}
    assert set(data["power"]) == {"board_w", "logic_w", "rails_w", "fps_per_w"}
    assert set(data["layers"][0]) == {"name", "ticks", "begin_us", "microseconds", "macs", "share"}


def test_cycles_give_the_accelerators_frames_a_second(session, monkeypatch):
    cycles = iter([2_000_000, 1_000_000, 1_500_000])
    counted = property(lambda device: next(cycles))
    monkeypatch.setattr(type(session.device), "cycles", counted)
    monkeypatch.setattr(session, "stream", lambda images, top: iter([None]))
    accelerator = measure(session, runs=3, warmup=0).as_dict()["accelerator"]
    assert accelerator == {"cycles": 1_500_000, "clock_mhz": 300, "fps": 200.0}


def test_power_is_that_of_the_board_while_it_infers(session, found, monkeypatch):
    rails = dict.fromkeys([*PROCESSOR.values(), *LOGIC.values()], 0.5)
    power = replace(found, power=Power(rails)).as_dict()["power"]
    assert (power["board_w"], power["logic_w"]) == (9.0, 4.0)
    assert power["fps_per_w"] == pytest.approx(found.infer_fps / 9, abs=1e-3)
    unread = replace(found, power=Power({**rails, "VCCINT": None})).as_dict()["power"]
    assert (unread["board_w"], unread["fps_per_w"]) == (None, None)
    runs = []

    class Meter:
        power = Power({})

        def __enter__(self):
            runs.append(0)
            return self

        def __exit__(self, *error):
            runs.append(None)

    original = bench._timed
    monkeypatch.setattr(bench, "PowerMeter", Meter)
    monkeypatch.setattr(bench, "_timed", lambda *a: (runs.append(1), original(*a))[1])
    measure(session, runs=2, warmup=1)
    assert runs == [0, 1, 1, None]


def test_trace_has_host_parts_and_every_operation_of_every_run(session, found, tmp_path):
    write_trace(tmp_path / "out.json", found.runs, found.device)
    trace = json.loads((tmp_path / "out.json").read_text())
    assert trace == json.loads(json.dumps(chrome_trace(found.runs, found.device)))
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert len(spans) == 3 * (3 + session.program.count)
    assert {"decode", "preprocess", "infer", "head"} <= {e["name"] for e in spans}
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in spans)
    processes = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}
    assert processes == {"host", "device: reference"}


def test_host_parts_follow_each_other_and_operations_begin_with_the_run(found):
    spans = [e for e in chrome_trace(found.runs, "x")["traceEvents"] if e["ph"] == "X"]
    decode, preprocess, infer, first = spans[:4]
    assert decode["ts"] == 0
    assert decode["ts"] + decode["dur"] == pytest.approx(preprocess["ts"], abs=0.01)
    assert preprocess["ts"] + preprocess["dur"] == pytest.approx(infer["ts"], abs=0.01)
    assert first["ts"] == infer["ts"]
