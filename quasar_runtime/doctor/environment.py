"""The part of `quasar doctor` that looks at the environment: packages, models, places to write,
letters.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from quasar_runtime.doctor.finding import Finding, Machine, Status, failed
from quasar_runtime.errors import QuasarError, did_you_mean
from quasar_runtime.resources import PACKAGE

VARIABLES = (
    "QUASAR_CACHE",
    "QUASAR_HW_SRC",
    "QUASAR_MODEL_ZOO",
    "QUASAR_OVERLAYS",
    "QUASAR_SIMULATED_BOARD",
)
"""The environment variables that Quasar reads."""
INSTALL = "pip install quasar-vit (in a checkout: pip install -e .)"


def packages(machine: Machine) -> Finding:
    """Whether what Quasar imports is there, and recent enough."""
    needed = dict(_requirements())
    if not needed:
        place = f"Quasar runs from {PACKAGE.parent} and is not installed: versions are not checked"
        return Finding("packages", Status.OK, place)
    found, wrong = [], []
    for name, least in needed.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            wrong.append(f"{name} is {version}, needed is {least} or later")
    if wrong:
        return Finding("packages", Status.FAILED, "; ".join(wrong), INSTALL)
    return Finding("packages", Status.OK, ", ".join(found))


def models(machine: Machine) -> Finding:
    """Whether the zoo is where it is looked for."""
    from quasar_runtime.model.zoo import list_models

    try:
        entries = list_models()
    except QuasarError as e:
        return failed("models", e)
    missing = [entry.file for entry in entries if not os.path.isfile(entry.path)]
    if missing:
        folder = entries[0].path.parent
        remedy = "restore the files, or set QUASAR_MODEL_ZOO to a folder that has them"
        return Finding("models", Status.FAILED, f"{folder} lacks {', '.join(missing)}", remedy)
    return Finding("models", Status.OK, ", ".join(entry.name for entry in entries))


def variables(machine: Machine) -> Finding:
    """Whether a variable is misspelt: nothing else would ever say so."""
    there = [name for name in machine.environment if name.startswith("QUASAR_")]
    unknown = sorted(set(there) - set(VARIABLES))
    if unknown:
        hint = did_you_mean(unknown[0], VARIABLES)
        found = f"{', '.join(unknown)}: not read by Quasar{hint}"
        return Finding("variables", Status.WARNING, found, f"known are {', '.join(VARIABLES)}")
    values = [f"{name}={machine.environment[name]}" for name in sorted(there)]
    return Finding("variables", Status.OK, ", ".join(values) or "none is set")


def cache(machine: Machine) -> Finding:
    """Whether built simulations can be kept."""
    from quasar_runtime.cache import NEEDED, VARIABLE, cache_folder
    from quasar_runtime.files import existing

    try:
        folder = cache_folder()
    except QuasarError as e:
        return Finding("cache", Status.WARNING, *_halves(e))
    remedy = f"set {VARIABLE} to a folder that can be written and has {NEEDED} MB of room"
    if problem := _unwritable(existing(folder)):
        found = f"{folder}: {problem}: no simulation can be built"
        return Finding("cache", Status.WARNING, found, remedy)
    free = shutil.disk_usage(existing(folder)).free >> 20
    if free < NEEDED:
        return Finding("cache", Status.WARNING, f"{folder}: {free} MB free", remedy)
    kept = [p.stat().st_size for p in folder.glob("*/*.so")]
    return Finding(
        "cache",
        Status.OK,
        f"{folder}, {len(kept)} simulations of {sum(kept) >> 20} MB, {free:,} MB free",
    )


def temporary(machine: Machine) -> Finding:
    """Whether temporary files can be written where the user wants them."""
    asked = machine.environment.get("TMPDIR")
    remedy = "set TMPDIR to a folder that can be written"
    try:
        folder = tempfile.gettempdir()
    except OSError as e:
        return Finding("temporary", Status.WARNING, " ".join(str(e).split()), remedy)
    if problem := _unwritable(Path(folder)):
        return Finding("temporary", Status.WARNING, f"{folder}: {problem}", remedy)
    if asked and os.path.realpath(asked) != os.path.realpath(folder):
        found = f"TMPDIR is {asked}, which cannot be written; {folder} is used"
        return Finding("temporary", Status.WARNING, found, remedy)
    free = shutil.disk_usage(folder).free >> 20
    return Finding("temporary", Status.OK, f"{folder}, {free:,} MB free")


def letters(machine: Machine) -> Finding:
    """Whether labels and file names can be written as they are."""
    output, names = getattr(sys.stdout, "encoding", None) or "?", sys.getfilesystemencoding()
    found = f"output {output}, file names {names}"
    if all(re.sub("[-_]", "", e.lower()) == "utf8" for e in (output, names)):
        return Finding("letters", Status.OK, found)
    return Finding(
        "letters",
        Status.WARNING,
        f"{found}: other letters are written as escapes",
        "set LANG=C.UTF-8, and unset LC_ALL and PYTHONIOENCODING",
    )


CHECKS = (packages, models, variables, cache, temporary, letters)


def stale_engine() -> str | None:
    """A source of a checkout that was changed after the C engine was built, or None."""
    if not (PACKAGE.parent / "setup.py").is_file():
        return None
    folder = PACKAGE / "devices" / "native"
    engine = sys.modules.get("quasar_runtime.devices.native._engine")
    built = getattr(engine, "__file__", None)
    if built is None:
        return None
    made = os.stat(built).st_mtime
    sources = [*folder.glob("*/*.[ch]"), folder / "build.py"]
    newer = [p for p in sources if p.stat().st_mtime > made + 1]
    return sorted(newer)[0].name if newer else None


def _requirements() -> Iterator[tuple[str, str]]:
    """What Quasar itself requires, each with its least version ('' for any)."""
    try:
        lines = metadata.requires("quasar-vit") or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        if "extra ==" not in line and (found := re.match(r"[\w.-]+", line)):
            least = re.search(r">=\s*([\w.]+)", line)
            yield found[0], least[1] if least else ""


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version: 1.26.4rc1 is (1, 26, 4)."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def _unwritable(folder: Path) -> str | None:
    """Why no file can be written in a folder, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as e:
        return e.strerror or str(e)
    return None


def _halves(e: QuasarError) -> tuple[str, str | None]:
    """What an error found, and what it says is to be done."""
    finding = failed("", e)
    return finding.found, finding.remedy
