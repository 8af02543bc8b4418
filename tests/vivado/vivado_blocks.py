"""The stand-in's block design commands."""

import re
from pathlib import Path

from tests.vivado.vivado_design import Design, Shaper
from tests.vivado.vivado_packaging import Packaging
from tests.vivado.vivado_words import Machine, VivadoError, match, options, split_list


class BlockDesign(Packaging):
    """Commands on the block design; handles are `kind:path`."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.catalogue: set[str] = set()
        self.design: Design | None = None
        self.saved = False

    def _design(self) -> Design:
        if self.design is None:
            raise VivadoError("no block design is open")
        return self.design

    def do_create_bd_design(self, words: list[str]) -> None:
        _, (name,) = options(words, positional=(1, 1))
        board = self.properties.get(f"project:{self.project}", {}).get("board_part")
        if board not in self.machine.boards:
            raise VivadoError("the project has no board, so there is no preset")
        custom: dict[str, tuple[dict[str, str], Shaper]] = {}
        if self.core is not None:
            source = Path(self.core.objects["core"]["source"]).read_text()
            defaults: dict[str, str] = dict(re.findall(r"parameter (\w+) = (\d+)", source))
            custom = dict.fromkeys(self.catalogue, (defaults, self._accelerator))
        self.design = Design(name, custom)

    def do_create_bd_cell(self, words: list[str]) -> str:
        found, (name,) = options(words, "type vlnv", positional=(1, 1))
        if found.get("type") != "ip":
            raise VivadoError("-type ip is missing")
        self._design().create_cell(name, found["vlnv"])
        return f"cell:{name}"

    def do_apply_bd_automation(self, words: list[str]) -> None:
        found, (cell,) = options(words, "rule config", positional=(1, 1))
        if found.get("rule") != "xilinx.com:bd_rule:zynq_ultra_ps_e":
            raise VivadoError(f"no rule {found.get('rule')}")
        if split_list(found.get("config", "")) != ["apply_board_preset", "1"]:
            raise VivadoError(f"config is {found.get('config')!r}")
        self._design().apply_preset(cell.removeprefix("cell:"))

    def do_get_bd_pins(self, words: list[str]) -> str:
        _, (path,) = options(words, positional=(1, 1))
        self._design().pin(path)
        return f"pin:{path}"

    def do_get_bd_intf_pins(self, words: list[str]) -> str:
        _, (path,) = options(words, positional=(1, 1))
        self._design().interface(path)
        return f"interface:{path}"

    def do_get_bd_addr_spaces(self, words: list[str]) -> str:
        _, (path,) = options(words, positional=(1, 1))
        if path not in self._design().spaces():
            raise VivadoError(f"no address space {path}")
        return f"space:{path}"

    def do_get_bd_addr_segs(self, words: list[str]) -> str:
        _, (pattern,) = options(words, positional=(1, 1))
        found = match(pattern, list(self._design().segments()))
        if not found:
            raise VivadoError(f"no address segment {pattern}")
        return " ".join(f"segment:{s}" for s in found)

    def do_connect_bd_net(self, words: list[str]) -> None:
        _, ends = options(words, positional=(2, 2))
        self._design().connect(*(self._path(e, "pin") for e in ends))

    def do_connect_bd_intf_net(self, words: list[str]) -> None:
        _, ends = options(words, positional=(2, 2))
        self._design().link(*(self._path(e, "interface") for e in ends))

    def do_assign_bd_address(self, words: list[str]) -> None:
        found, (segment,) = options(words, "offset range target_address_space", positional=(1, 1))
        self._design().assign(
            self._path(found.get("target_address_space", ""), "space"),
            self._path(segment, "segment"),
            int(found["offset"], 0),
            int(found["range"], 0),
        )

    def do_exclude_bd_addr_seg(self, words: list[str]) -> None:
        found, (segment,) = options(words, "target_address_space", positional=(1, 1))
        space = self._path(found.get("target_address_space", ""), "space")
        self._design().exclude(space, self._path(segment, "segment"))

    def _path(self, handle: str, kind: str) -> str:
        found, _, path = handle.partition(":")
        if found != kind:
            raise VivadoError(f"{handle!r} is no {kind}")
        return path

    def do_validate_bd_design(self, words: list[str]) -> None:
        options(words)
        self._design().validate()

    def do_save_bd_design(self, words: list[str]) -> None:
        options(words)
        if not self._design().valid:
            raise VivadoError("the design is not validated")
        self.saved = True
