"""Descriptors at every edge of every range that the interface states, for all who check them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Opcode
from quasar_runtime.isa.program import Violation
from tests.runtime.isa.test_program import LEGAL


def edge_cases() -> Iterator[dict[str, int]]:
    """Each legal descriptor with each field at, just inside and just outside each of its bounds."""
    for legal in LEGAL.values():
        rules = hw.RULES[Opcode(legal["opcode"])]
        for field in hw.FIELDS:
            most = 2 ** (8 * field.size) - 1
            rule = rules.get(field.name, hw.Rule(0, 0))
            near = {rule.low, rule.low + rule.multiple, rule.high - rule.multiple, rule.high}
            near |= {
                v + d for v in (rule.low, rule.high, legal.get(field.name, 0)) for d in (-1, 1)
            }
            for value in sorted({0, 1, most, *near}):
                if 0 <= value <= most:
                    yield {**legal, field.name: value}


def table_of(fields: dict[str, int]) -> npt.NDArray[np.void]:
    """A descriptor of these fields, and END."""
    table = np.zeros(2, hw.DESCRIPTOR_DTYPE)
    for name, value in fields.items():
        table[0][name] = value
    table[1]["opcode"] = Opcode.END
    return table


def blamed(violation: Violation | None) -> int | None:
    """Offset of the field that a message about a field begins with."""
    if violation is None or violation.cause not in (Cause.BAD_FIELD, Cause.MISALIGNED):
        return None
    return hw.FIELD[violation.message.split()[0]].offset
