"""The interface description: consistent in itself, and the generated files are current."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from quasar_runtime.isa import emit as interface_emit
from quasar_runtime.isa import interface as hw

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "text"), list(interface_emit.outputs()), ids=lambda v: str(v)[:40]
)
def test_generated_file_is_current(path: Path, text: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == text


def test_stale_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface_emit, "ROOT", tmp_path)
    assert interface_emit.main(["--check"]) == 1
    assert interface_emit.main([]) == 0
    assert interface_emit.main(["--check"]) == 0


def test_fields_cover_the_descriptor_without_gap_or_overlap() -> None:
    at = 0
    for field in hw.FIELDS:
        assert field.offset == at
        assert field.offset % field.size == 0, f"{field.name} is not naturally aligned"
        at += field.size
    assert at == hw.DESCRIPTOR_BYTES


def test_registers_are_aligned_and_distinct() -> None:
    offsets = [r.offset for r in hw.REGISTERS]
    assert len(set(offsets)) == len(offsets)
    assert all(o % 4 == 0 and o < 256 for o in offsets)
    assert hw.REGISTERS[0].name == "IDENTITY", "a driver reads identity and version first"
    assert hw.REGISTERS[1].name == "VERSION"


def test_bits_of_registers_do_not_overlap_and_agree_with_the_flags() -> None:
    for name, bits in hw.BITS.items():
        masks = [((1 << b.width) - 1) << b.low for b in bits]
        assert sum(masks) == np.bitwise_or.reduce(masks) < 2**32, name
    for name, flags in {"CONTROL": hw.Control, "STATUS": hw.Status}.items():
        assert {b.name: 1 << b.low for b in hw.BITS[name]} == {str(f.name): f.value for f in flags}
    assert set(hw.BITS) <= set(hw.REGISTER)


def test_rules_name_known_fields_that_can_hold_their_range() -> None:
    for rules in hw.RULES.values():
        for name, rule in rules.items():
            field = hw.FIELD[name]
            assert 0 <= rule.low <= rule.high < 2 ** (8 * field.size)


def test_every_opcode_has_rules_and_every_field_a_user() -> None:
    assert set(hw.RULES) == set(hw.Opcode)
    used = set().union(*hw.RULES.values())
    assert {f.name for f in hw.FIELDS} - used == {"opcode", "reserved"}


def test_c_structures_have_the_layout_of_the_dtypes(tmp_path: Path) -> None:
    checks = []
    for struct, dtype in (
        ("q_descriptor", hw.DESCRIPTOR_DTYPE),
        ("q_row", hw.ROW_DTYPE),
        ("q_head", hw.HEAD_DTYPE),
        ("q_profile", hw.PROFILE_DTYPE),
    ):
        checks.append(f'_Static_assert(sizeof({struct}) == {dtype.itemsize}, "{struct}");')
        for name, (_, offset) in dict(dtype.fields or {}).items():
            checks.append(
                f'_Static_assert(offsetof({struct}, {name}) == {offset}, "{struct}.{name}");'
            )
    source = tmp_path / "layout.c"
    source.write_text('#include <stddef.h>\n#include "quasar_interface.h"\n' + "\n".join(checks))
    include = ROOT / interface_emit.C_HEADER.parent
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}", str(source)],
        check=True,
    )


def test_descriptor_dtype_reads_little_endian_bytes() -> None:
    raw = np.arange(64, dtype=np.uint8)
    d = raw.view(hw.DESCRIPTOR_DTYPE)[0]
    assert d["opcode"] == 0
    assert d["layer"] == 0x0302
    assert d["weights"] == 0x2B2A2928
