"""The seeds of the C engine's fuzzer are programs that run; the fuzzer itself is a campaign."""

import re

import numpy as np

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import check
from tools.campaigns.engine import HARNESS, HEADER, MOST_BYTES, OVERLAYS, seeds


def test_the_harness_and_the_seeds_mean_the_same_overlays():
    text = HARNESS.read_text().split("OVERLAYS[] = {")[1].split("};")[0]
    rows = re.findall(r"\{([\d, ]+), \d\}", text)
    assert [tuple(map(int, row.split(","))) for row in rows] == list(OVERLAYS)


def test_seeds_are_accepted_on_each_overlay_that_takes_a_small_model():
    inputs = seeds()
    most = 1 << int(re.search(r"MOST_BYTES = 1 << (\d+)", HARNESS.read_text())[1])
    used = set()
    for data in inputs.values():
        assert len(data) <= MOST_BYTES
        number, _, _, above, below, *_, program, image, output, profile = HEADER.unpack_from(data)
        count = above << 8 | below
        assert max(program, image, output, profile) < most
        assert profile == count * hw.PROFILE_BYTES
        table = np.frombuffer(data[HEADER.size :][: count * hw.DESCRIPTOR_BYTES], np.uint8)
        overlay = Overlay("fuzzed", *OVERLAYS[number][:3], 300, *OVERLAYS[number][3:], 1)
        assert not check(table.view(hw.DESCRIPTOR_DTYPE), overlay, program, image, output)
        used.add(number)
    assert len(used) >= 4
    assert any(name.endswith("whole") for name in inputs)
