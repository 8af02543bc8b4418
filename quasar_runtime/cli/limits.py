"""Commands under a limit of processes or memory (`ulimit -u`, `ulimit -v`, a container's)."""

from __future__ import annotations

import os
import resource
import threading

FEW = 1000
"""A limit of processes below this is somebody's wish, not a system's default."""


def respect() -> None:
    """Keep NumPy's BLAS from starting threads where there may be too few; to be called before NumPy
    is imported.

    OpenBLAS sends its own process an interrupt when it cannot start one per core, which reads as
    Ctrl-C. Only the reference device multiplies by it.
    """
    if _tight(resource.RLIMIT_AS, resource.RLIM_INFINITY) or _tight(resource.RLIMIT_NPROC, FEW):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        return
    try:  # a container's limit shows only so
        threading.Thread(target=int).start()
    except RuntimeError:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _tight(kind: int, least: int) -> bool:
    """Whether a limit is set, and below `least` unless that is infinity."""
    soft, _ = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY:
        return False
    return least == resource.RLIM_INFINITY or soft < least
