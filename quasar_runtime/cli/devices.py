"""`quasar devices`"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from quasar_runtime.cli.options import output_options, overlay_option
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb

if TYPE_CHECKING:
    from quasar_runtime.devices.catalogue import DeviceInfo


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@overlay_option
@click.option("--no-build", is_flag=True, help="Do not build the rtl device's simulation.")
@output_options
def devices(overlay: str | None, no_build: bool, out: Output) -> None:
    """List the devices, and say why one cannot be used here.

    Builds the simulation for the rtl device unless it exists. That takes a minute or two.
    """
    from quasar_runtime.devices.catalogue import available_devices, build_simulation
    from quasar_runtime.errors import DeviceError
    from quasar_runtime.isa.overlay import DEFAULT_OVERLAY, load_overlay

    name = DEFAULT_OVERLAY if overlay is None else overlay
    if overlay is not None:
        load_overlay(name)  # a wrong name is known before a build of minutes
    found = available_devices()
    failure = None
    if not no_build and any(d.name == "rtl" and d.available for d in found):
        try:
            build_simulation(name, out.step)
        except DeviceError as e:  # no reason to keep the other devices back
            failure = str(e)
        found = [
            replace(d, reason=failure, facts={}) if failure and d.name == "rtl" else d
            for d in available_devices()
        ]
    if out.json:
        out.value([device.as_dict() for device in found])
    elif out.quiet:
        for device in found:
            if device.available:
                out.line(device.name)
    else:
        out.table(
            ["device", "usable", "what it is"],
            [(d.name, "yes" if d.available else "no", d.description) for d in found],
        )
        out.line()
        out.pairs((device.name, _state(device)) for device in found if _state(device))
    if failure:
        click.get_current_context().exit(BAD_INPUT)


def _state(device: DeviceInfo) -> str:
    """Why a device cannot be used, else what it says of itself."""
    return device.reason or "; ".join(f"{key} {value}" for key, value in device.facts.items())
