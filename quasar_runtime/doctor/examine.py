"""`quasar doctor`: is everything there that a board, or a laptop, needs, and does it compute right?

Findings come one by one, from the machine up to an answer: what the system has, then whether the
accelerator opens, carries bytes unchanged, and gives an image's bytes. Each says what was found,
and what to do where that is not enough.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from quasar_runtime.doctor.finding import Finding, Machine, Status, failed
from quasar_runtime.errors import QuasarError

LEAST_CONTIGUOUS = 32
"""MB of contiguous memory that must be free: a program, its ring of pictures, and some room."""


def examine(
    machine: Machine, device: str = "auto", overlay: str | None = None, model: str | None = None
) -> Iterator[Finding]:
    """All findings, as they come; the last ones take seconds.

    device   the accelerator to check: 'auto' (the board where there is one, else the native
             engine), 'board', 'rtl' or 'native'
    overlay  its build, by default b1024, or the one that the board's bitstream is of
    model    of the zoo, for the answer that is compared; by default q-vit-160fps
    """
    from quasar_runtime.doctor import environment as doctor_environment

    for check in (_machine, _python, *doctor_environment.CHECKS, _engine, _simulation):
        yield _checked(check, machine)
    for check in (_root, _pynq, _xrt, _fabric, _contiguous, _interrupts, _sensors):
        if machine.is_board:
            yield _checked(check, machine)
        else:
            yield Finding(check.__name__.strip("_"), Status.SKIPPED, "this machine is no board")
    yield _checked(lambda m: _bitstream(m, overlay), machine, "bitstream")
    try:
        from quasar_runtime.doctor.accelerator import examine_accelerator

        yield from examine_accelerator(device, overlay, model)
    except Exception as e:  # a diagnosis that ends in a traceback is none
        yield _unforeseen("accelerator", e)


def _checked(
    check: Callable[[Machine], Finding], machine: Machine, name: str | None = None
) -> Finding:
    """What a check finds; on a machine that it was not made for, that it could not look."""
    try:
        return check(machine)
    except Exception as e:
        return _unforeseen(name or check.__name__.strip("_"), e)


def _unforeseen(name: str, e: Exception) -> Finding:
    if isinstance(e, QuasarError):
        return failed(name, e)
    first = next(iter(str(e).strip().splitlines()), "")
    if isinstance(e, ImportError):
        remedy = "pip install quasar-vit (in a checkout: pip install -e .) brings what is needed"
    else:
        remedy = "see whether another finding explains it; else report it with quasar doctor --json"
    return Finding(
        name, Status.FAILED, f"could not be examined: {type(e).__name__}: {first}", remedy
    )


def _machine(machine: Machine) -> Finding:
    model = machine.text("proc/device-tree/model") or platform.machine()
    return Finding("machine", Status.OK, f"{model}, {os.cpu_count()} cores, {platform.system()}")


def _python(machine: Machine) -> Finding:
    numpy = _version("numpy") or "?"
    versions = f"{platform.python_version()}, numpy {numpy}, pillow {_version('pillow')}"
    found = f"{versions} ({sys.executable})"
    if _version("pynq") and not numpy.startswith("1."):
        remedy = 'pynq needs numpy below 2: pip install "numpy<2"'
        return Finding("python", Status.FAILED, found, remedy)
    return Finding("python", Status.OK, found)


def _engine(machine: Machine) -> Finding:
    from quasar_runtime.devices.catalogue import BUILD_ENGINE, device_info
    from quasar_runtime.doctor.environment import stale_engine

    native = device_info("native")
    if native.reason:
        found, _, remedy = native.reason.partition("; ")
        return Finding("engine", Status.FAILED, found, remedy or BUILD_ENGINE)
    if source := stale_engine():
        found = f"kernels {native.facts['kernels']}, built before {source} was changed"
        return Finding("engine", Status.WARNING, found, BUILD_ENGINE)
    return Finding("engine", Status.OK, f"kernels {native.facts['kernels']}")


def _simulation(machine: Machine) -> Finding:
    from quasar_runtime.devices.catalogue import device_info

    rtl = device_info("rtl")
    if rtl.reason:
        found, _, remedy = rtl.reason.partition("; ")
        return Finding("simulation", Status.SKIPPED, found, remedy or None)
    return Finding("simulation", Status.OK, ", ".join(f"{k} {v}" for k, v in rtl.facts.items()))


def _root(machine: Machine) -> Finding:
    if machine.user == 0:
        return Finding("root", Status.OK, "yes")
    return Finding(
        "root",
        Status.FAILED,
        f"user {machine.user}",
        "the board's registers and bitstream need root: sudo -E env PATH=$PATH quasar ...",
    )


def _pynq(machine: Machine) -> Finding:
    version = _version("pynq")
    if version is None:
        return Finding(
            "pynq",
            Status.FAILED,
            "not installed in this environment",
            "activate PYNQ's: source /etc/profile.d/pynq_venv.sh, and install Quasar there",
        )
    if tuple(int(part) for part in version.split(".")[:2]) < (3, 0):
        return Finding("pynq", Status.FAILED, version, "install 3.0.1 or later")
    return Finding("pynq", Status.OK, version)


def _xrt(machine: Machine) -> Finding:
    folder = machine.environment.get("XILINX_XRT")
    loaded = (machine.root / "sys/module/zocl").is_dir()
    if not folder:
        if machine.text("etc/profile.d/xrt_setup.sh") is None:
            found = "XILINX_XRT is not set, and there is no /etc/profile.d/xrt_setup.sh"
            remedy = "install XRT and its kernel module zocl, as PYNQ's images have them"
        else:
            found = "XILINX_XRT is not set"
            remedy = "source /etc/profile.d/xrt_setup.sh, and keep it with sudo -E"
        return Finding("xrt", Status.FAILED, found, remedy)
    if not (machine.root / folder.lstrip("/")).is_dir():
        remedy = "install XRT, or source /etc/profile.d/xrt_setup.sh"
        return Finding("xrt", Status.FAILED, f"XILINX_XRT is {folder}: no such folder", remedy)
    if not loaded:
        return Finding(
            "xrt",
            Status.FAILED,
            f"{folder}, but the kernel module zocl is not loaded",
            "modprobe zocl; the image's device tree must have a zyxclmm_drm node",
        )
    return Finding("xrt", Status.OK, f"{folder}, zocl loaded")


def _fabric(machine: Machine) -> Finding:
    state = machine.text("sys/class/fpga_manager/fpga0/state")
    if state is None:
        return Finding(
            "fabric",
            Status.FAILED,
            "Linux has no FPGA manager",
            "use a kernel with CONFIG_FPGA_MGR_ZYNQMP_FPGA, as PYNQ's images have",
        )
    return Finding("fabric", Status.OK, f"FPGA manager: {state}")


def _contiguous(machine: Machine) -> Finding:
    lines = (machine.text("proc/meminfo") or "").splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if "kB" in line}
    if "CmaFree" not in kilobytes:
        remedy = "boot with cma=512M on the kernel's command line"
        return Finding("contiguous", Status.FAILED, "no contiguous memory is set aside", remedy)
    free, total = kilobytes["CmaFree"] >> 10, kilobytes.get("CmaTotal", 0) >> 10
    found = f"{free} of {total} MB free"
    if free < LEAST_CONTIGUOUS:
        return Finding(
            "contiguous",
            Status.FAILED,
            f"{found}, needed are {LEAST_CONTIGUOUS}",
            "close other sessions and notebooks, or boot with a larger cma=",
        )
    return Finding("contiguous", Status.OK, found)


def _interrupts(machine: Machine) -> Finding:
    """UIO devices, or why there are none: no node in the device tree, or nothing that takes it."""
    uio = {
        p.parent.name: machine.text(str(p.relative_to(machine.root)))
        for p in sorted(machine.root.glob("sys/class/uio/uio*/name"))
    }
    if uio:
        return Finding("interrupts", Status.OK, ", ".join(f"{k} ({v})" for k, v in uio.items()))
    nodes = [
        p.parent.name
        for p in sorted((machine.root / "proc/device-tree").rglob("compatible"))
        if b"generic-uio" in p.read_bytes()
    ]
    if nodes:
        found = f"{', '.join(nodes)} of the device tree has no driver"
        remedy = (
            "boot with uio_pdrv_genirq.of_id=generic-uio on the kernel's command line, and a "
            "kernel that has CONFIG_UIO_PDRV_GENIRQ"
        )
    else:
        found = "the device tree has no generic-uio node"
        remedy = "add the node of docs/board.md to the device tree"
    return Finding("interrupts", Status.WARNING, f"{found}: the end of a run is polled for", remedy)


def _sensors(machine: Machine) -> Finding:
    from quasar_runtime.measure.power import read_power

    power = read_power(machine.root / "sys/class/hwmon")
    if power.board is not None:
        found = f"{len(power.rails)} rails, board {power.board:.2f} W, logic {power.logic:.2f} W"
        return Finding("sensors", Status.OK, found)
    unread = [rail for rail, watts in power.rails.items() if watts is None]
    what = f"unreadable: {', '.join(unread)}" if unread else "not all of the ZCU102's rails"
    return Finding(
        "sensors",
        Status.WARNING,
        f"{len(power.rails)} rails, {what}; bench gives no frames per watt",
        "use a kernel with CONFIG_SENSORS_INA2XX and a device tree for the ZCU102",
    )


def _bitstream(machine: Machine, overlay: str | None) -> Finding:
    """Whether the overlay's package is whole; on a laptop it need not be there."""
    from quasar_runtime.bitstream.package import how_to_get, load_package, verify_package

    try:
        name = _carried() if overlay is None else overlay
        package = load_package(name)
        if package.bitstream is None:
            status = Status.FAILED if machine.is_board else Status.SKIPPED
            return Finding("bitstream", status, f"'{name}' has none", how_to_get(name))
        verify_package(package)
    except QuasarError as e:
        return failed("bitstream", e)
    return Finding("bitstream", Status.OK, f"{package.bitstream}, checksums right")


def _carried() -> str:
    """The overlay that the board takes when none is named: b1024 unless only others are built."""
    from quasar_runtime.bitstream.package import load_package
    from quasar_runtime.isa.overlay import DEFAULT_OVERLAY, overlay_names

    built = [name for name in overlay_names() if load_package(name).bitstream]
    return DEFAULT_OVERLAY if DEFAULT_OVERLAY in built or not built else built[-1]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
