"""The stand-in's `ipx::` commands: an IP with its interfaces, parameters and registers."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.vivado import vivado_ips as ips
from tests.vivado.vivado_words import Machine, VivadoError, match, options

BUS_PARAMETERS = {
    "MAX_BURST_LENGTH",
    "NUM_READ_OUTSTANDING",
    "NUM_WRITE_OUTSTANDING",
    "SUPPORTS_NARROW_BURST",
    "READ_WRITE_MODE",
}


@dataclass
class Core:
    """The IP being packaged: objects by handle, each with its properties."""

    top: str
    ports: dict[str, str]
    objects: dict[str, dict[str, str]] = field(default_factory=dict)
    saved: bool = False


class Packaging:
    """Commands on the core that is being packaged."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.project: str | None = None
        self.core: Core | None = None
        self.files: list[str] = []
        self.properties: dict[str, dict[str, str]] = {}

    def _core(self) -> Core:
        if self.core is None or self.core.saved:
            raise VivadoError("no core is open")
        return self.core

    def do_ipx_package_project(self, words: list[str]) -> None:
        found, _ = options(words, "root_dir vendor library taxonomy", "import_files force")
        top = self.properties.get("fileset:sources_1", {}).get("top")
        source = next((f for f in self.files if Path(f).stem == top), None)
        if source is None:
            raise VivadoError(f"top {top} is not among the files")
        ports = {
            name: direction[:-3] if direction == "output" else "in"
            for direction, name in re.findall(
                r"^ *(input|output) wire (?:\[.*?\] )?(\w+)", Path(source).read_text(), re.M
            )
        }
        self.core = Core(str(top), ports)
        objects = self.core.objects
        objects["core"] = {"root": found["root_dir"], "source": source, **found}
        for port in ports:
            objects[f"port:{port}"] = {}
            prefix = re.match(r"(s_axil|m_axi_\d)_", port)
            if prefix:
                objects.setdefault(f"bus:{prefix[1]}", {})
        objects["block:s_axil/reg0"] = {"range": "256"}

    def do_ipx_current_core(self, words: list[str]) -> str:
        options(words)
        self._core()
        return "core"

    def _find(self, words: list[str], kind: str, parent: str) -> str:
        found, (name,) = options(words, "of_objects", positional=(1, 1))
        if found.get("of_objects") != parent:
            raise VivadoError(f"of_objects is {found.get('of_objects')!r}, expected {parent!r}")
        if f"{kind}:{name}" not in self._core().objects:
            raise VivadoError(f"no {kind} {name}")
        return f"{kind}:{name}"

    def do_ipx_get_bus_interfaces(self, words: list[str]) -> str:
        return self._find(words, "bus", "core")

    def do_ipx_get_ports(self, words: list[str]) -> str:
        found, _ = options(words, "filter of_objects")
        pattern = re.fullmatch(r"NAME =~ (\S+)", found.get("filter", ""))
        if pattern is None or found.get("of_objects") != "core":
            raise VivadoError(f"cannot filter by {found}")
        return " ".join(f"port:{p}" for p in match(pattern[1], list(self._core().ports)))

    def do_ipx_get_memory_maps(self, words: list[str]) -> str:
        found, (name,) = options(words, "of_objects", positional=(1, 1))
        if f"bus:{name}" not in self._core().objects or found.get("of_objects") != "core":
            raise VivadoError(f"no memory map {name}")
        return f"map:{name}"

    def do_ipx_get_address_blocks(self, words: list[str]) -> str:
        found, (name,) = options(words, "of_objects", positional=(1, 1))
        block = f"block:{found.get('of_objects', '').removeprefix('map:')}/{name}"
        if block not in self._core().objects:
            raise VivadoError(f"no address block {name}")
        return block

    def _add(self, kind: str, words: list[str], parent: str) -> str:
        _, (name, owner) = options(words, positional=(2, 2))
        if owner.split(":")[0] != parent or owner not in self._core().objects:
            raise VivadoError(f"{owner!r} is no {parent}")
        handle = f"{kind}:{owner.split(':', 1)[1]}/{name}"
        if handle in self._core().objects:
            raise VivadoError(f"{handle} exists")
        self._core().objects[handle] = {}
        return handle

    def do_ipx_add_bus_parameter(self, words: list[str]) -> str:
        if words[0] not in BUS_PARAMETERS:
            raise VivadoError(f"an AXI interface has no parameter {words[0]}")
        return self._add("parameter", words, "bus")

    def do_ipx_add_register(self, words: list[str]) -> str:
        return self._add("register", words, "block")

    def do_ipx_add_field(self, words: list[str]) -> str:
        return self._add("field", words, "register")

    def do_ipx_associate_bus_interfaces(self, words: list[str]) -> None:
        found, (core,) = options(words, "busif clock", positional=(1, 1))
        if core != "core" or found.get("clock") not in self._core().ports:
            raise VivadoError(f"no clock {found.get('clock')}")
        self._core().objects[f"bus:{found['busif']}"]["clock"] = found["clock"]

    def _core_step(self, words: list[str]) -> None:
        _, (core,) = options(words, positional=(1, 1))
        if core != "core":
            raise VivadoError(f"{core!r} is no core")
        self._core().objects["core"]["checked"] = ""

    do_ipx_create_xgui_files = do_ipx_update_checksums = _core_step

    def do_ipx_check_integrity(self, words: list[str]) -> None:
        self._core_step(words)
        for handle, values in self._core().objects.items():
            if handle.startswith("bus:") and "clock" not in values:
                raise VivadoError(f"{handle} has no clock")
        self._core().objects["core"]["checked"] = "1"

    def do_ipx_save_core(self, words: list[str]) -> None:
        _, (core,) = options(words, positional=(1, 1))
        if core != "core" or not self._core().objects["core"].get("checked"):
            raise VivadoError("save a core after its check")
        self._core().saved = True

    def _accelerator(self, config: dict[str, str]) -> ips.Shape:
        """Pins and interfaces of the packaged core, as its dependencies and settings make them."""
        assert self.core is not None
        found = ips.Shape(
            {
                "aclk": ips.Pin(False, "clk"),
                "aresetn": ips.Pin(False, "rst", clocks=("aclk",)),
                "irq": ips.Pin(True, "intr"),
            }
        )
        for handle, values in self.core.objects.items():
            if not handle.startswith("bus:"):
                continue
            condition = re.fullmatch(r"\$(\w+) > (\d+)", values.get("enablement_dependency", ""))
            if condition is None or int(config[condition[1]]) > int(condition[2]):
                name = handle.removeprefix("bus:")
                found.interfaces[name] = ips.Interface(name.startswith("m_"), (values["clock"],))
        return found
