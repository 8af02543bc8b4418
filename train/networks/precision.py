"""PyTorch's threads and the precision of its float matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

THREADS = 2
"""CPU threads of quantisation. The number decides the order of sums, so the last bits of a file."""


def configure_torch(threads: int | None = None, *, gpu_tf32: bool = False) -> None:
    """Set the CPU threads, and bfloat16 products in float32 matrix products where the CPU has them.

    Integer products stay exact. The float network's logits change by about 0.01; its accuracy is
    measured under `full_precision`. threads: None for THREADS; gpu_tf32: allow TF32 on GPUs.
    """
    torch.set_num_threads(threads or THREADS)
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    if gpu_tf32:
        torch.set_float32_matmul_precision("high")


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute float32 matrix products in float32, whatever `configure_torch` has chosen."""
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before
