"""Mutated pictures: an ImageError, or a program's input; no crash, no hang, bounded memory.

python -m tools.campaigns.pictures
"""

from __future__ import annotations

import io
import warnings

import click
import numpy as np

from quasar_runtime.errors import ImageError
from quasar_runtime.images.prepare import load_image
from quasar_runtime.images.preprocessing import Preprocessing
from tools.campaigns.campaign import Bounds, Campaign, campaign_options
from tools.campaigns.isolated import Trial, Wrong, run_trial
from tools.campaigns.messages import check_message
from tools.campaigns.picture_mutations import mutated_picture

HOW = Preprocessing(resize=48, crop=32)
MEMORY = 3 * 2**29
"""The largest picture that is read takes 0.5 GiB decoded with an alpha channel and 0.4 GiB as RGB,
and its upright copy as much again."""


def judge(raw: bytes) -> str:
    """'accepted' or 'refused'; Wrong for pixels of another shape."""
    try:
        pixels = load_image(raw if raw[-1:] < b"\xc0" else io.BytesIO(raw), HOW).pixels
    except ImageError as e:
        check_message(e)
        if "not enough memory" in str(e):
            raise Wrong("memory", f"more than {MEMORY >> 20} MB: {e}") from None
        return "refused"
    if pixels.shape != (HOW.crop, HOW.crop, 3) or pixels.dtype != np.uint8:
        raise Wrong("pixels", f"{pixels.dtype} {pixels.shape}")
    return "accepted"


@click.command()
@campaign_options(100_000, "pictures")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
def main(bounds: Bounds, jobs: int) -> int:
    """Read mutated pictures: typed errors, or pixels."""
    trial = Trial(
        mutated_picture, judge, lambda: warnings.simplefilter("ignore"), block=500, memory=MEMORY
    )
    return run_trial(Campaign("pictures", "pictures", bounds), trial, jobs)


if __name__ == "__main__":
    main()
