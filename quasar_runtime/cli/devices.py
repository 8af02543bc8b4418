"""`quasar devices`"""

from __future__ import annotations

import click

from quasar_runtime.cli.options import output_options, overlay_option
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import HELP_OPTIONS, Verb


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@overlay_option
@click.option("--no-build", is_flag=True, help="Do not build the rtl device's simulation.")
@output_options
def devices(overlay: str | None, no_build: bool, out: Output) -> None:
    """List the devices of this machine, and why one cannot be used.

    Builds the simulation of the overlay for the rtl device where that is still to be done, which
    takes a minute or two.
    """
    from quasar_runtime.device import DEFAULT_OVERLAY, available_devices, build_simulation

    found = available_devices()
    if not no_build and any(d.name == "rtl" and d.available for d in found):
        build_simulation(overlay or DEFAULT_OVERLAY, out.step)
        found = available_devices()
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
        for device in found:
            if device.reason:
                out.line(f"{device.name}: {device.reason}")
            for key, value in device.facts.items():
                out.line(f"{device.name}: {key} {value}")
