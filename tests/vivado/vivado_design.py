"""The block design of the tests' stand-in for Vivado: cells, connections, addresses, validation."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.vivado import vivado_ips as ips
from tests.vivado.vivado_words import VivadoError


@dataclass
class Cell:
    vlnv: str
    config: dict[str, str]
    shape: ips.Shape
    preset: bool = False


@dataclass(frozen=True)
class Assignment:
    """`bytes` at `base` of `space` (cell/name) are the segment `segment` (cell/path)."""

    space: str
    segment: str
    base: int
    bytes: int


Shaper = Callable[[dict[str, str]], ips.Shape]


@dataclass
class Design:
    """`custom` gives the shape and the segments of packaged IPs by their VLNV."""

    name: str
    custom: dict[str, tuple[dict[str, str], Shaper]] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    drivers: dict[str, str] = field(default_factory=dict)
    """load pin -> driver pin"""
    links: set[tuple[str, str]] = field(default_factory=set)
    """(master, slave) interfaces"""
    assignments: list[Assignment] = field(default_factory=list)
    excluded: set[tuple[str, str]] = field(default_factory=set)
    valid: bool = False

    # --- Cells

    def create_cell(self, name: str, vlnv: str) -> None:
        if name in self.cells:
            raise VivadoError(f"cell {name} exists")
        if vlnv in self.custom:
            config = dict(self.custom[vlnv][0])
        elif vlnv in ips.DEFAULTS:
            config = {} if vlnv == ips.PS else dict(ips.DEFAULTS[vlnv])
        else:
            raise VivadoError(f"no IP {vlnv} in the catalogue")
        self.cells[name] = Cell(vlnv, config, ips.Shape())
        self._reshape(name)

    def apply_preset(self, name: str) -> None:
        """As board automation does: settings made before are lost."""
        self.cells[name].config = dict(ips.DEFAULTS[self.cells[name].vlnv])
        self.cells[name].preset = True
        self._reshape(name)

    def configure(self, name: str, setting: str, value: str) -> None:
        cell = self.cells[name]
        try:
            if cell.vlnv in self.custom:
                if setting not in cell.config:
                    raise ValueError(f"{cell.vlnv} has no CONFIG.{setting}")
            else:
                ips.check_setting(cell.vlnv, setting, value)
        except ValueError as e:
            raise VivadoError(str(e)) from None
        cell.config[setting] = value

    def reshape(self, name: str) -> None:
        """After settings: pins that disappeared must not have been connected."""
        self._reshape(name)
        ends = [*self.drivers, *self.drivers.values(), *(e for link in self.links for e in link)]
        for end in ends:
            if end.startswith(name + "/") and not self._known(end):
                raise VivadoError(f"{end} was connected and does not exist any more")

    def _reshape(self, name: str) -> None:
        cell = self.cells[name]
        try:
            if cell.vlnv in self.custom:
                cell.shape = self.custom[cell.vlnv][1](cell.config)
            else:
                cell.shape = ips.shape(cell.vlnv, cell.config)
        except ValueError as e:
            raise VivadoError(str(e)) from None
        self.valid = False

    def _known(self, path: str) -> bool:
        cell, name = path.split("/")
        return name in self.cells[cell].shape.pins or name in self.cells[cell].shape.interfaces

    def pin(self, path: str) -> ips.Pin:
        cell, _, name = path.partition("/")
        if cell not in self.cells or name not in self.cells[cell].shape.pins:
            raise VivadoError(f"no pin {path}")
        return self.cells[cell].shape.pins[name]

    def interface(self, path: str) -> ips.Interface:
        cell, _, name = path.partition("/")
        if cell not in self.cells or name not in self.cells[cell].shape.interfaces:
            raise VivadoError(f"no interface pin {path}")
        return self.cells[cell].shape.interfaces[name]

    # --- Connections

    def connect(self, driver: str, load: str) -> None:
        source, sink = self.pin(driver), self.pin(load)
        if not source.output or sink.output:
            raise VivadoError(f"{driver} does not drive {load}")
        if source.kind != sink.kind:
            raise VivadoError(f"{driver} is a {source.kind}, {load} a {sink.kind}")
        if load in self.drivers:
            raise VivadoError(f"{load} is already driven by {self.drivers[load]}")
        self.drivers[load] = driver
        self.valid = False

    def link(self, master: str, slave: str) -> None:
        if not self.interface(master).master or self.interface(slave).master:
            raise VivadoError(f"{master} and {slave} are no master and slave")
        for path in (master, slave):
            if any(path in pair for pair in self.links):
                raise VivadoError(f"{path} is already connected")
        self.links.add((master, slave))
        self.valid = False

    # --- Addresses

    def spaces(self) -> dict[str, str]:
        """Address space -> the master interface behind it, both cell/name."""
        return {
            f"{cell}/{ips.space(c.vlnv, name)}": f"{cell}/{name}"
            for cell, c in self.cells.items()
            if c.vlnv != ips.SMARTCONNECT
            for name, interface in c.shape.interfaces.items()
            if interface.master
        }

    def segments(self) -> dict[str, str]:
        """Segment -> the slave interface before it."""
        found = {}
        for cell, c in self.cells.items():
            for name, interface in c.shape.interfaces.items():
                if interface.master:
                    continue
                below = {f"{name}/reg0": name} if c.vlnv in self.custom else {}
                for segment, port in (below or ips.segments(c.vlnv, name)).items():
                    found[f"{cell}/{segment}"] = f"{cell}/{port}"
        return found

    def reachable(self, space: str) -> set[str]:
        """The segments that a space's master reaches through interconnects."""
        by_master = dict(self.links)
        waiting, slaves = [self.spaces()[space]], set()
        while waiting:
            slave = by_master.get(waiting.pop())
            if slave is None:
                continue
            cell = slave.split("/")[0]
            if self.cells[cell].vlnv == ips.SMARTCONNECT:
                interfaces = self.cells[cell].shape.interfaces
                waiting += [f"{cell}/{n}" for n, i in interfaces.items() if i.master]
            else:
                slaves.add(slave)
        return {segment for segment, slave in self.segments().items() if slave in slaves}

    def assign(self, space: str, segment: str, base: int, size: int) -> None:
        self._check_reach(space, segment)
        if size & (size - 1) or base % size:
            raise VivadoError(f"{segment}: {size:#x} bytes at {base:#x} are not aligned")
        if self.cells[space.split("/")[0]].vlnv == ips.PS and not (
            base >= 0xA000_0000 and base + size <= 0xB000_0000
        ):
            raise VivadoError(f"{segment}: {base:#x} is outside M_AXI_HPM0_FPD's window")
        for other in self.assignments:
            if (
                other.space == space
                and base < other.base + other.bytes
                and other.base < base + size
            ):
                raise VivadoError(f"{segment} overlaps {other.segment} in {space}")
        self.assignments.append(Assignment(space, segment, base, size))
        self.valid = False

    def exclude(self, space: str, segment: str) -> None:
        self._check_reach(space, segment)
        self.excluded.add((space, segment))

    def _check_reach(self, space: str, segment: str) -> None:
        if segment not in self.reachable(space):
            raise VivadoError(f"{space} does not reach {segment}: are they connected?")
        if (space, segment) in self.excluded or any(
            (a.space, a.segment) == (space, segment) for a in self.assignments
        ):
            raise VivadoError(f"{segment} has its place in {space} already")

    # --- Validation

    def validate(self) -> None:
        """Everything connected, in one clock domain where it must be, every address decided."""
        for name, cell in self.cells.items():
            if cell.vlnv == ips.PS and not cell.preset:
                raise VivadoError(f"{name} has no memory: the board's preset was not applied")
            for pin, p in cell.shape.pins.items():
                if p.required and not p.output and f"{name}/{pin}" not in self.drivers:
                    raise VivadoError(f"{name}/{pin} is not connected")
                if not p.output and f"{name}/{pin}" in self.drivers:
                    self._check_reset(name, pin, p)
            for interface in cell.shape.interfaces:
                if not any(f"{name}/{interface}" in pair for pair in self.links):
                    raise VivadoError(f"interface {name}/{interface} is not connected")
        for master, slave in self.links:
            if not self._clocks(master) & self._clocks(slave):
                raise VivadoError(f"{master} and {slave} have different clocks")
        for space in self.spaces():
            decided = {a.segment for a in self.assignments if a.space == space}
            decided |= {s for sp, s in self.excluded if sp == space}
            for segment in sorted(self.reachable(space) - decided):
                raise VivadoError(f"{segment} is neither assigned nor excluded in {space}")
        self.valid = True

    def _clocks(self, interface: str) -> set[str]:
        cell = interface.split("/")[0]
        return {self.drivers[f"{cell}/{pin}"] for pin in self.interface(interface).clocks}

    def _check_reset(self, cell: str, name: str, pin: ips.Pin) -> None:
        if pin.kind != "rst":
            return
        driver = self.drivers[f"{cell}/{name}"]
        source = self.pin(driver)
        if source.low != pin.low:
            raise VivadoError(f"{driver} and {cell}/{name} have different polarity")
        if not pin.clocks:
            return
        origin = driver.split("/")[0]
        own = {self.drivers.get(f"{cell}/{clock}") for clock in pin.clocks}
        if not {self.drivers.get(f"{origin}/{c}") for c in source.clocks} & own:
            raise VivadoError(f"{driver} is not synchronous to a clock of {cell}")
