"""Build the engine: cffi compiles the C files of engine/ and kernels/ into the module `_engine`.

setup.py runs `ffibuilder` when the package is installed; `python setup.py build_ext --inplace` puts
the module beside the sources of a checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

FOLDER = Path(os.path.relpath(Path(__file__).resolve().parent))
MODULE = "quasar_runtime.devices.native._engine"
FLAGS = ["-std=gnu11", "-O3", "-fwrapv", "-ffp-contract=off", "-pthread", "-Wall", "-Wextra"]
"""-fwrapv: accumulators wrap, as the array's do. Instruction sets are chosen in each file."""


def sources() -> list[str]:
    """The engine's C files, relative to the working directory; runner.c is a program of its own."""
    return sorted(str(p) for p in FOLDER.glob("*/*.c") if p.name != "runner.c")


def declarations() -> str:
    """engine.h as cffi reads it: without preprocessor lines."""
    lines = (FOLDER / "engine" / "engine.h").read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    MODULE,
    '#include "engine.h"',
    sources=sources(),
    include_dirs=[str(FOLDER / "engine"), str(FOLDER / "kernels")],
    depends=sorted(str(p) for p in FOLDER.glob("*/*.h")),
    extra_compile_args=FLAGS,
    extra_link_args=["-pthread"],
)
