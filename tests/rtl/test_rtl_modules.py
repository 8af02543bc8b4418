"""Every module of the RTL has a bench, and docs/hardware-verification.md names it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (`.*) \| (`test_rtl_.*) \|$", re.MULTILINE)


def benches() -> dict[str, list[str]]:
    """Module to the tests that the table of modules names."""
    text = (ROOT / "docs" / "hardware-verification.md").read_text()
    table = text[text.index("| modules | bench |") :].split("\n\n")[0]
    return {
        module: re.findall(r"`(\w+\.py)`", tests)
        for modules, tests in ROW.findall(table)
        for module in re.findall(r"`(\w+)`", modules)
    }


def test_every_module_of_the_rtl_is_in_the_table_of_benches() -> None:
    modules = {p.stem for p in (ROOT / "hw_src" / "rtl").rglob("*.sv")}
    assert {m for m in modules if not m.endswith("_pkg")} == set(benches())


def test_every_bench_exists() -> None:
    for module, tests in benches().items():
        assert tests, module
        for test in tests:
            assert (ROOT / "tests" / "rtl" / test).is_file(), f"{module}: {test}"
