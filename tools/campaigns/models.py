"""Mutated model files: refused with a ModelError, or a model that keeps every stated range.

python -m tools.campaigns.models --minutes 10
"""

from __future__ import annotations

from random import Random

import click

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.errors import ModelError
from quasar_runtime.isa.overlay import Overlay, load_overlay
from quasar_runtime.model.file import model_from_bytes, model_to_bytes
from tools.campaigns.campaign import Bounds, Campaign, campaign_options
from tools.campaigns.isolated import Trial, Wrong, run_trial
from tools.campaigns.messages import check_message
from tools.campaigns.model_mutations import KINDS, broken_range, unlike_safetensors

MAKERS = list(KINDS.values())
COMPILED = 50
"""One accepted model of so many is also compiled, written and read again."""


def generator(seed: int, block: int) -> Random:
    """Python's own generator: NumPy's takes several times as long for a number."""
    return Random(f"{seed} {block}")


def mutated(rng: Random) -> bytes:
    """A file with a mutation of any kind."""
    return rng.choice(MAKERS)(rng)


class Judge:
    """Reads files as a user's would be, from bytes in memory."""

    def __init__(self) -> None:
        self.accepted = 0
        self.overlay: Overlay = load_overlay("b64")

    def __call__(self, raw: bytes) -> str:
        """'accepted' or 'refused'; Wrong for a broken range."""
        try:
            model = model_from_bytes(raw)
        except ModelError as e:
            check_message(e)
            return "refused"
        broken = broken_range(model)
        if broken is not None:
            raise Wrong("range", broken)
        unlike = unlike_safetensors(model, raw)
        if unlike is not None:
            raise Wrong("container", unlike)
        self.accepted += 1
        if self.accepted % COMPILED == 0:
            compile_model(model, self.overlay)
            written = model_to_bytes(model)
            if model_to_bytes(model_from_bytes(written)) != written:
                raise Wrong("round trip", "written and read again, the model differs")
        return "accepted"


@click.command()
@campaign_options(10_000_000, "files")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
def main(bounds: Bounds, jobs: int) -> int:
    """Read mutated model files: typed errors, or models within every range."""
    trial = Trial(mutated, Judge(), block=2000, memory=2**28, generator=generator)
    return run_trial(Campaign("models", "files", bounds), trial, jobs)


if __name__ == "__main__":
    main()
