"""Options that several verbs take, with the completion of their values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import click

from quasar_runtime.cli.output import Output

DEFAULT_MODEL = "q-vit-160fps"

MOST_THREADS = 256
MOST_SECONDS = 1_000_000
"""Eleven days: beyond it some systems' clocks and waits overflow."""
MOST_CYCLES = 10**15
"""A simulation of 38 years at a million cycles per second."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _starting(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the zoo's models."""
    from quasar_runtime.model.zoo import list_models

    return _starting([entry.name for entry in list_models()], incomplete)


def complete_device(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the devices."""
    from quasar_runtime.devices.catalogue import KINDS

    return _starting(["auto", *KINDS], incomplete)


def complete_overlay(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the overlays."""
    from quasar_runtime.isa.overlay import overlay_names

    return _starting(overlay_names(), incomplete)


def model_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--model"""
    return click.option(
        "--model",
        "-m",
        default=DEFAULT_MODEL,
        show_default=True,
        metavar="NAME|FILE",
        shell_complete=complete_model,
        help="Model of the zoo (see `quasar models list`), or a model file.",
    )(command)


def overlay_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--overlay"""
    return click.option(
        "--overlay",
        metavar="NAME",
        shell_complete=complete_overlay,
        help="Accelerator build to compile for: b64, b1024 or b8192.  [default: b1024]",
    )(command)


def each_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--each"""
    return click.option("--each", is_flag=True, help="Show every operation, not only their kinds.")(
        command
    )


@dataclass(frozen=True)
class DeviceOptions:
    """Which device, and how it is used: what `device_options` passes on."""

    device: str
    threads: int | None
    overlay: str | None
    timeout: float | None
    max_cycles: int | None
    vcd: str | None
    fst: str | None
    window: tuple[int, int] | None

    def require_sense(self) -> None:
        """click.UsageError for options that do not go together."""
        if self.device != "rtl":
            for name in ("max_cycles", "vcd", "fst", "window"):
                if getattr(self, name) is not None:
                    option = "--" + name.replace("_", "-")
                    raise click.UsageError(f"{option} is for the simulation; add --device rtl")
        if self.vcd and self.fst:
            raise click.UsageError("--vcd and --fst are one recording; give one of them")
        if self.window and not (self.vcd or self.fst):
            raise click.UsageError("--window says what to record; add --vcd FILE or --fst FILE")


def _window(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """START:END in cycles, where START may be missing."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{0,16}):([0-9]{1,16})", value)
    begin, end = (int(found[1] or 0), int(found[2])) if found else (0, 0)
    if not begin < end <= MOST_CYCLES:
        shown = value if len(value) <= 40 else value[:40] + "..."
        raise click.BadParameter(
            f"'{shown}' is no window of cycles; give START:END with START below END and END at "
            f"most {MOST_CYCLES}, as 0:20000"
        )
    return begin, end


class Count(click.IntRange):
    """A number of things, from `least` to `most`, which help and errors state as '1 to 1,000'."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__(min=least, max=most)

    def _describe_range(self) -> str:
        return f"{self.min:,} to {self.max:,}"


class Seconds(click.FloatRange):
    """A number of seconds: positive, and finite."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=MOST_SECONDS)

    def _describe_range(self) -> str:
        return f"above 0, to {self.max:,}"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The value in seconds; click.BadParameter for NaN."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):  # compares with no bound
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


_DEVICE_OPTIONS = (
    click.option(
        "--device",
        "-d",
        default="auto",
        show_default=True,
        metavar="NAME",
        shell_complete=complete_device,
        help="auto, board, native, rtl or reference; see `quasar devices`.",
    ),
    click.option(
        "--threads",
        "-t",
        type=Count(1, MOST_THREADS),
        metavar="N",
        help="Threads of the native device.  [default: all cores]",
    ),
    overlay_option,
    click.option(
        "--timeout",
        type=Seconds(),
        metavar="SECONDS",
        help="Time that one picture may take on the device.  [default: 30; rtl: none]",
    ),
    click.option(
        "--max-cycles",
        type=Count(1, MOST_CYCLES),
        metavar="CYCLES",
        help="rtl: cycles that one picture may take.  [default: ten times the prediction]",
    ),
    click.option(
        "--vcd",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="rtl: record all signals to a VCD file.",
    ),
    click.option(
        "--fst",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="rtl: record all signals to an FST file, which is smaller.",
    ),
    click.option(
        "--window",
        callback=_window,
        metavar="START:END",
        help="rtl: cycles to record, counted from the first picture's start.  [default: 0:2000]",
    ),
)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--device and what it takes, passed on as `on`"""

    def with_device(*args: Any, **kwargs: Any) -> Any:
        on = DeviceOptions(
            **{field.name: kwargs.pop(field.name) for field in fields(DeviceOptions)}
        )
        on.require_sense()
        return command(*args, on=on, **kwargs)

    wrapped = _like(command, with_device)
    for option in reversed(_DEVICE_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json and --quiet, passed on as `out`"""

    def with_output(*args: Any, json: bool, quiet: bool, **kwargs: Any) -> Any:
        return command(*args, out=Output(json, quiet), **kwargs)

    quiet = click.option("--quiet", "-q", is_flag=True, help="Print only the answer.")
    return click.option("--json", is_flag=True, help="Print JSON, for programs.")(
        quiet(_like(command, with_output))
    )


def _like(command: Callable[..., Any], wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """`wrapped` with the name, the help and the parameters that `command` has so far."""
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    return wrapped
