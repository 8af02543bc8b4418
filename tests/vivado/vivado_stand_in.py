"""A stand-in for Vivado: executes the build's Tcl with tclsh, records it, refuses what is wrong.

Every command that the scripts use is a method `do_...` below; an unknown command, option, property,
pin or object, a wrong number of arguments and a wrong order are errors, as in Vivado or stricter.
"""

import base64
import re
import shutil
import subprocess
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from tests.vivado.vivado_blocks import BlockDesign
from tests.vivado.vivado_words import Machine, VivadoError, options, split_list

DRIVER = Path(__file__).with_suffix(".tcl")
TCLSH = shutil.which("tclsh")


PROPERTIES = {
    "project": {"board_part", "ip_repo_paths"},
    "fileset": {"top"},
    "file": {"used_in_synthesis"},
    "run": {"strategy"},
    "design": {"BITSTREAM.GENERAL.COMPRESS"},
    "core": {"name", "version", "display_name", "supported_families"},
    "bus": {"enablement_dependency"},
    "parameter": {"value"},
    "port": {"enablement_dependency", "driver_value"},
    "block": {"range", "usage"},
    "register": {"address_offset", "size", "access", "description"},
    "field": {"bit_offset", "bit_width", "access", "modified_write_value", "description"},
}


CELLS = ("quasar_i/quasar_0/inst/core/i_registers/irq_o_reg",)
"""Registers of the netlist that constraints may name: instances in the wrapper, the RTL's names."""


class Vivado(BlockDesign):
    """State and commands. `messages` is what the scripts printed; `log` the commands in order."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.messages: list[str] = []
        self.log: list[str] = []
        self.folder = Path()
        self.part = ""
        self.done: set[str] = set()
        self.opened = ""
        self.delays: dict[tuple[str, str], float] = {}

    def execute(self, words: list[str]) -> str:
        name = words[0].replace("::", "_")
        method: Callable[[list[str]], str | None] | None = getattr(self, f"do_{name}", None)
        if method is None:
            raise VivadoError(f'invalid command name "{words[0]}"')
        try:
            answer = method(words[1:]) or ""
        except VivadoError as e:
            raise VivadoError(f"{words[0]}: {e}") from None
        self.log.append(words[0])
        return answer

    # --- Session and project

    def do_puts(self, words: list[str]) -> None:
        self.messages.append(words[-1])

    def do_failed(self, words: list[str]) -> None:
        raise VivadoError(words[0])

    def do_version(self, words: list[str]) -> str:
        options(words, flags="short")
        return self.machine.version

    def do_get_parts(self, words: list[str]) -> str:
        _, (part,) = options(words, flags="quiet", positional=(1, 1))
        return part if part in self.machine.parts else ""

    def do_get_board_parts(self, words: list[str]) -> str:
        _, (board,) = options(words, flags="quiet", positional=(1, 1))
        return board if board in self.machine.boards else ""

    def do_create_project(self, words: list[str]) -> None:
        found, (name, folder) = options(words, "part", "force", (2, 2))
        if self.project is not None:
            raise VivadoError("a project is open")
        if found.get("part") not in self.machine.parts:
            raise VivadoError(f"no part {found.get('part')}")
        self.project, self.folder, self.part = name, Path(folder), found["part"]
        self.files, self.properties = [], {}

    def do_close_project(self, words: list[str]) -> None:
        options(words)
        if self.core and not self.core.saved:
            raise VivadoError("the core was not saved")
        self.project = None

    def do_current_project(self, words: list[str]) -> str:
        return f"project:{self.need_project()}"

    def do_current_fileset(self, words: list[str]) -> str:
        self.need_project()
        return "fileset:sources_1"

    def need_project(self) -> str:
        if self.project is None:
            raise VivadoError("no project is open")
        return self.project

    def do_add_files(self, words: list[str]) -> str:
        _, (names,) = options(words, "fileset", "norecurse", (1, 1))
        self.need_project()
        for name in split_list(names):
            if not Path(name).is_file():
                raise VivadoError(f"no file {name}")
            self.files.append(name)
        return f"file:{split_list(names)[-1]}"

    def do_get_files(self, words: list[str]) -> str:
        _, (name,) = options(words, positional=(1, 1))
        if self.design is None or name != f"{self.design.name}.bd" or not self.saved:
            raise VivadoError(f"no file {name}")
        return f"file:{name}"

    def do_update_compile_order(self, words: list[str]) -> None:
        options(words, "fileset")
        self.need_project()

    def do_update_ip_catalog(self, words: list[str]) -> None:
        options(words)
        repository = self.properties.get(f"project:{self.project}", {}).get("ip_repo_paths")
        if self.core and self.core.saved and repository == self.core.objects["core"]["root"]:
            c = self.core.objects["core"]
            self.catalogue.add(f"{c['vendor']}:{c['library']}:{c['name']}:{c['version']}")

    # --- Properties

    def do_set_property(self, words: list[str]) -> None:
        if words and words[0] == "-dict":
            _, (pairs, target) = options(words[1:], positional=(2, 2))
            flat = split_list(pairs)
            if len(flat) % 2:
                raise VivadoError(f"odd number of words in {pairs}")
            values = dict(zip(flat[::2], flat[1::2], strict=True))
        else:
            _, (name, value, target) = options(words, positional=(3, 3))
            values = {name: value}
        if not target:
            raise VivadoError("no object")
        kind, _, path = target.partition(":")
        if kind == "cell":
            self._configure(path, values)
            return
        for name in values:
            if name not in PROPERTIES.get(kind, ()):
                raise VivadoError(f"a {kind} has no property {name}")
        if kind in ("core", "bus", "parameter", "port", "block", "register", "field"):
            self._core().objects[target if path else kind].update(values)
        else:
            self.properties.setdefault(target, {}).update(values)

    def _configure(self, cell: str, values: dict[str, str]) -> None:
        for name, value in values.items():
            if not name.startswith("CONFIG."):
                raise VivadoError(f"a cell has no property {name}")
            self._design().configure(cell, name[7:], value)
        self._design().reshape(cell)

    def do_get_property(self, words: list[str]) -> str:
        _, (name, target) = options(words, positional=(2, 2))
        kind, _, path = target.partition(":")
        if (kind, name) == ("pin", "CONFIG.FREQ_HZ") and path == "clk_wiz_0/clk_out1":
            if not self._design().valid:
                raise VivadoError("clocks are known after validate_bd_design")
            asked = float(self._design().cells["clk_wiz_0"].config["CLKOUT1_REQUESTED_OUT_FREQ"])
            return str(round(asked * 1e6 * (1 + self.machine.clock_error)))
        if (kind, name) == ("port", "direction"):
            return self._core().ports[path]
        if kind == "run":
            return {
                "PROGRESS": "100%" if path in self.done else "42%",
                "STATUS": "route_design ERROR",
                "DIRECTORY": f"runs/{path}",
                "STATS.WNS": str(self.machine.setup_slack),
                "STATS.WHS": str(self.machine.hold_slack),
            }[name]
        raise VivadoError(f"no property {name} of {target!r}")

    # --- Constraints

    def do_current_design(self, words: list[str]) -> str:
        options(words)
        return "design:"

    def do_get_cells(self, words: list[str]) -> str:
        found, _ = options(words, "filter", "hierarchical")
        pattern = re.fullmatch(r"NAME =~ (\S+)", found.get("filter", ""))
        cells = [c for c in CELLS if pattern and "hierarchical" in found and fnmatch(c, pattern[1])]
        if not cells:
            raise VivadoError(f"no cells {found}")
        return " ".join(f"netlist_cell:{c}" for c in cells)

    def do_get_clocks(self, words: list[str]) -> str:
        _, (name,) = options(words, positional=(1, 1))
        if name != "clk_pl_0":  # what the processing system's own constraints call pl_clk0
            raise VivadoError(f"no clock {name}")
        return f"clock:{name}"

    def do_set_max_delay(self, words: list[str]) -> None:
        found, (bound,) = options(words, "from to", "datapath_only", (1, 1))
        if "datapath_only" not in found:
            raise VivadoError("between two clocks only the data path is bounded")
        self.delays[found.get("from", ""), found.get("to", "")] = float(bound)

    # --- Runs

    def do_make_wrapper(self, words: list[str]) -> str:
        found, _ = options(words, "files", "top")
        if found.get("files") != f"file:{self._design().name}.bd" or "top" not in found:
            raise VivadoError(f"cannot wrap {found}")
        path = self.folder / f"{self._design().name}_wrapper.v"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        return str(path)

    def do_get_runs(self, words: list[str]) -> str:
        _, (name,) = options(words, positional=(1, 1))
        if name not in ("synth_1", "impl_1"):
            raise VivadoError(f"no run {name}")
        return f"run:{name}"

    def do_launch_runs(self, words: list[str]) -> None:
        found, (run,) = options(words, "to_step jobs", positional=(1, 1))
        top = self.properties.get("fileset:sources_1", {}).get("top")
        if not any(Path(f).stem == top for f in self.files):
            raise VivadoError(f"top {top} is not among the files")
        if not any(f.endswith(".xdc") for f in self.files):
            raise VivadoError("there are no constraints")
        if run == "impl_1" and ("synth_1" not in self.done or not found.get("to_step")):
            raise VivadoError("implementation comes after synthesis, up to write_bitstream")
        if run == self.machine.failing_run:
            return
        self.done.add(f"launched {run}")

    def do_wait_on_run(self, words: list[str]) -> None:
        _, (run,) = options(words, positional=(1, 1))
        if f"launched {run}" in self.done:
            self.done.add(run)
        if run == "impl_1" and run in self.done:
            self._write_results()

    def _write_results(self) -> None:
        name = self._design().name
        base = self.folder / f"{name}"
        bit = Path(f"{base}.runs/impl_1/{name}_wrapper.bit")
        handoff = Path(f"{base}.gen/sources_1/bd/{name}/hw_handoff/{name}.hwh")
        for path in (bit, handoff):
            path.parent.mkdir(parents=True)
            path.write_text(f"{path.suffix} of the stand-in")

    def do_open_run(self, words: list[str]) -> None:
        _, (run,) = options(words, positional=(1, 1))
        if run not in self.done:
            raise VivadoError(f"{run} is not complete")
        self.opened = run

    def _report(self, words: list[str], values: str, flags: str = "") -> None:
        found, _ = options(words, values, flags)
        if self.opened != "impl_1":
            raise VivadoError("no implemented design is open")
        Path(found["file"]).write_text("a report of the stand-in\n")

    def do_report_timing_summary(self, words: list[str]) -> None:
        self._report(words, "file max_paths")

    def do_report_utilization(self, words: list[str]) -> None:
        self._report(words, "file hierarchical_depth", "hierarchical")


def run(script: Path, arguments: list[str], machine: Machine | None = None) -> Vivado:
    """Execute a script. Raises VivadoError with its message when it fails."""
    assert TCLSH is not None, "tclsh is needed"
    vivado = Vivado(machine or Machine())
    with subprocess.Popen(
        [TCLSH, str(DRIVER), str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                words = [base64.b64decode(w[1:]).decode() for w in line.split()]
                if words[0] == "failed":
                    raise VivadoError(words[1])
                try:
                    sign, answer = "=", vivado.execute(words)
                except VivadoError as e:
                    sign, answer = "!", str(e)
                process.stdin.write(sign + base64.b64encode(answer.encode()).decode() + "\n")
                process.stdin.flush()
        finally:
            process.kill()
    return vivado
