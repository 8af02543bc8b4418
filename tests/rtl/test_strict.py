"""The strict reading of the RTL, which `make lint` wants clean: what it finds, what it waives."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyslang", reason="pyslang has no build for this Python")

from hw_src import strict
from hw_src.synth import yosys

TWO_PROCESSES = """module top(input logic clk, input logic [3:0] a, d, output logic q);
  logic [15:0] memory;
  always_ff @(posedge clk) memory[a] <= d[0];
  always_ff @(posedge clk) memory[d] <= a[0];
  assign q = memory[0];
endmodule
"""
TRUNCATED = """module top(input logic [3:0] a, output logic [1:0] q);
  assign q = a;
endmodule
"""
UNDRIVEN = """module top(output logic q);
  logic never;
  assign q = never;
endmodule
"""
CLEAN = """module top #(parameter int unsigned N = 2) (input logic clk, input logic [N-1:0] a,
                                             output logic [N-1:0] q);
  always_ff @(posedge clk) q <= a + N'(1);
  logic unused_any;
  assign unused_any = ^a;
endmodule
"""


def said(tmp_path: Path, text: str, *options: str) -> str:
    file = tmp_path / "top.sv"
    file.write_text(text)
    return "\n".join(strict.findings([file], "top", {}, options))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TWO_PROCESSES, "always_ff"),
        (TRUNCATED, "implicit conversion truncates"),
        (UNDRIVEN, "never"),
        ("module top(input logic a); child u(.a); endmodule", "unknown module"),
        ("module top; endmodule module", "expected"),
    ],
)
def test_what_the_standard_forbids_or_a_designer_would_not_mean_is_found(tmp_path, text, wanted):
    assert wanted in said(tmp_path, text)


def test_waivers_cover_casts_and_the_names_of_unused_bits_and_no_more(tmp_path):
    assert said(tmp_path, CLEAN) == ""
    assert "value is never used" in said(tmp_path, CLEAN.replace("unused_any", "other"))
    assert all(len(reason) > 20 for reason in strict.WAIVED.values())


def test_files_come_packages_first(tmp_path):
    for name in ("b/unit.sv", "a/other_pkg.sv", "c/quasar_pkg.sv", "a/top.sv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    names = [path.name for path in yosys.sources(tmp_path)]
    assert names == ["quasar_pkg.sv", "other_pkg.sv", "top.sv", "unit.sv"]
