"""A coverage-guided fuzzer on the model file's reader: atheris, which is libFuzzer for Python.

    pip install atheris      # Python 3.11; into an environment of its own, if you like
    python -m tools.campaigns.coverage_guided --python /path/to/that/python

The count is of CPU seconds of fuzzing. Inputs that reached something new are kept in the campaign's
corpus/, from which the next call goes on.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click

from quasar_runtime.errors import DataError
from tools.campaigns import ROOT
from tools.campaigns.campaign import Bounds, Campaign, Finding, campaign_options

PART = 60
"""Seconds between two entries of the state."""
MEMORY_MB, CASE_SECONDS = 2048, 20
TARGET = "tools.campaigns.coverage_target"


def fuzz(campaign: Campaign, python: str, seconds: int) -> None:
    """Fuzz for so long, and keep what ended it. What counts is the processor time that it got."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    corpus, found = campaign.folder / "corpus", campaign.folder / "found"
    for folder in (corpus, found):
        folder.mkdir(exist_ok=True)
    seed = campaign.state.seed * 100_000 + campaign.state.done
    command = [
        python, "-m", TARGET, str(corpus), f"-max_total_time={seconds}", f"-seed={seed}",
        f"-artifact_prefix={found}/", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={CASE_SECONDS}",
        "-max_len=65536", "-print_final_stats=1",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH')}"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
    )
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    campaign.state.facts["edges"] = max([campaign.state.facts.get("edges", 0), *map(int, edges)])
    campaign.state.facts["corpus"] = len(list(corpus.iterdir()))
    inputs = sorted(found.iterdir())
    for path in inputs:
        text = done.stderr[-1500:]
        error = re.search(r"=== Uncaught Python exception: ===\n(.*)", done.stderr)
        signature = error[1][:80] if error else path.name.split("-")[0]
        kind = path.name.split("-")[0]
        campaign.find(Finding(kind, path.name, text, signature, path.read_bytes()))
        path.unlink()
    if done.returncode and not inputs:
        raise DataError(f"the fuzzer ended with {done.returncode}: {done.stderr[-800:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    campaign.add(max(round(took), 1), Counter({"runs": int(runs[1]) if runs else 0}))


@click.command()
@campaign_options(3600, "CPU seconds")
@click.option("--python", default=sys.executable, show_default=True, help="One that has atheris.")
def main(bounds: Bounds, python: str) -> int:
    """Fuzz the model file's reader, guided by coverage."""
    try:
        subprocess.run([python, "-c", "import atheris"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise DataError(
            f"{python} cannot import atheris; install it (pip install atheris, Python 3.11) or "
            "name another interpreter: --python"
        ) from None
    campaign = Campaign("coverage_guided", "cpu_seconds", bounds)
    while not campaign.ended:
        fuzz(campaign, str(Path(python)), min(PART, campaign.left))
    return campaign.finish()


if __name__ == "__main__":
    main()
