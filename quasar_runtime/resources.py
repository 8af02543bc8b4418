"""Where the zoo, the overlays and the RTL lie: beside the package in a checkout, inside it
installed.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SIMULATED_BOARD = "QUASAR_SIMULATED_BOARD"
"""Environment variable: 'native' or 'rtl' puts the board device on a simulated board."""


def data_folder(kind: str) -> Path:
    """The folder of `kind`, 'model_zoo', 'overlays' or 'hw_src'.

    The environment variable QUASAR_MODEL_ZOO, QUASAR_OVERLAYS or QUASAR_HW_SRC takes precedence;
    then the copy that the installed package carries; then the source checkout.
    """
    override = os.environ.get(f"QUASAR_{kind.upper()}")
    if override:
        return Path(override)
    installed = PACKAGE / "_data" / kind
    return installed if installed.is_dir() else PACKAGE.parent / kind
