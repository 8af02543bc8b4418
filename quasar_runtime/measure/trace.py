"""Profiled runs as a Chrome trace, which chrome://tracing and ui.perfetto.dev open."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from quasar_runtime.files import replacing
from quasar_runtime.measure.bench import HostRun

HOST, DEVICE = 1, 2


def chrome_trace(runs: Sequence[HostRun], device: str) -> dict[str, Any]:
    """The trace as an object: times in microseconds from the first run's begin.

    The device's clock is not the host's: a run's operations begin where the host started it.
    """
    origin = runs[0].decode if runs else 0.0
    events: list[dict[str, Any]] = [
        _name("process_name", HOST, "host"),
        _name("process_name", DEVICE, f"device: {device}"),
        _name("thread_name", HOST, "session"),
        _name("thread_name", DEVICE, "program"),
    ]
    for run in runs:
        parts = (
            ("decode", run.decode, run.preprocess),
            ("preprocess", run.preprocess, run.infer),
            ("infer", run.infer, run.end),
        )
        for name, begin, end in parts:
            events.append(_span(name, HOST, (begin - origin) * 1e6, (end - begin) * 1e6))
        start = (run.infer - origin) * 1e6
        for layer in run.profile.layers:
            span = _span(layer.name, DEVICE, start + layer.begin_us, layer.microseconds)
            events.append({**span, "args": {"ticks": layer.ticks, "macs": layer.macs}})
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def write_trace(path: str | os.PathLike[str], runs: Sequence[HostRun], device: str) -> None:
    """Write the trace as JSON, whole or not at all. DataError when the file cannot be written."""
    with replacing(path) as file:
        file.write(json.dumps(chrome_trace(runs, device)).encode())


def _name(kind: str, process: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": 1, "args": {"name": name}}


def _span(name: str, process: int, begin: float, duration: float) -> dict[str, Any]:
    return {
        "name": name,
        "ph": "X",
        "pid": process,
        "tid": 1,
        "ts": round(begin, 3),
        "dur": round(duration, 3),
    }
