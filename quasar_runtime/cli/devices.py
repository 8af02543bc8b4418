"""`quasar devices`"""

from __future__ import annotations

import click

from quasar_runtime.cli.options import output_options
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import HELP_OPTIONS, Verb


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@output_options
def devices(out: Output) -> None:
    """List the devices of this machine, and why one cannot be used."""
    from quasar_runtime.device import available_devices

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
