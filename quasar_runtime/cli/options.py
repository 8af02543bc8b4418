"""Options that several verbs take, with the completion of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from quasar_runtime.cli.output import Output

DEFAULT_MODEL = "q-vit-160fps"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _starting(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the zoo's models."""
    from quasar_runtime.zoo import list_models

    return _starting([entry.name for entry in list_models()], incomplete)


def complete_device(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the devices."""
    from quasar_runtime.device import NAMES

    return _starting(["auto", *NAMES], incomplete)


def complete_overlay(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the overlays."""
    from quasar_runtime.overlay import overlay_names

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


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--device, --threads, --overlay and --timeout"""
    for option in (
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=30.0,
            show_default=True,
            metavar="SECONDS",
            help="Longest that one picture may take on the device.",
        ),
        overlay_option,
        click.option(
            "--threads",
            "-t",
            type=click.IntRange(min=1),
            help="Threads of the native device.  [default: all cores]",
        ),
        click.option(
            "--device",
            "-d",
            default="auto",
            show_default=True,
            metavar="NAME",
            shell_complete=complete_device,
            help="auto, board, native, rtl or reference; see `quasar devices`.",
        ),
    ):
        command = option(command)
    return command


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json and --quiet, passed on as `out`"""

    def with_output(*args: Any, json: bool, quiet: bool, **kwargs: Any) -> Any:
        return command(*args, out=Output(json, quiet), **kwargs)

    with_output.__doc__ = command.__doc__
    with_output.__name__ = command.__name__
    with_output.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    quiet = click.option("--quiet", "-q", is_flag=True, help="Print the bare answer.")
    return click.option("--json", is_flag=True, help="Print JSON, for programs.")(
        quiet(with_output)
    )
