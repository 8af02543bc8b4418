"""Quasar: quantised vision transformers on an FPGA accelerator, or on this machine's CPU.

    from quasar_runtime import Session

    with Session("q-vit-160fps") as session:
        print(session.classify("photo.jpg").top1.label)

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "quasar_runtime.session.session": ("Session",),
    "quasar_runtime.session.results": ("LayerTime", "Prediction", "Profile", "Result", "Times"),
    "quasar_runtime.files": ("Listing", "Skipped"),
    "quasar_runtime.images.prepare": ("list_pictures",),
    "quasar_runtime.model.network": ("Model",),
    "quasar_runtime.model.zoo": ("list_models", "load_model"),
    "quasar_runtime.devices.catalogue": ("available_devices", "open_device"),
    "quasar_runtime.errors": (
        "ArenaError",
        "CompileError",
        "DataError",
        "DeviceClosed",
        "DeviceError",
        "DeviceFault",
        "DeviceNotFound",
        "DeviceTimeout",
        "ImageError",
        "ModelError",
        "ModelFileError",
        "ModelNotFound",
        "ModelValueError",
        "OverlayError",
        "ProgramError",
        "QuasarError",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from quasar_runtime.devices.catalogue import available_devices, open_device
    from quasar_runtime.errors import (
        ArenaError,
        CompileError,
        DataError,
        DeviceClosed,
        DeviceError,
        DeviceFault,
        DeviceNotFound,
        DeviceTimeout,
        ImageError,
        ModelError,
        ModelFileError,
        ModelNotFound,
        ModelValueError,
        OverlayError,
        ProgramError,
        QuasarError,
    )
    from quasar_runtime.files import Listing, Skipped
    from quasar_runtime.images.prepare import list_pictures
    from quasar_runtime.model.network import Model
    from quasar_runtime.model.zoo import list_models, load_model
    from quasar_runtime.session.results import LayerTime, Prediction, Profile, Result, Times
    from quasar_runtime.session.session import Session

__all__ = [
    "ArenaError",
    "CompileError",
    "DataError",
    "DeviceClosed",
    "DeviceError",
    "DeviceFault",
    "DeviceNotFound",
    "DeviceTimeout",
    "ImageError",
    "LayerTime",
    "Listing",
    "Model",
    "ModelError",
    "ModelFileError",
    "ModelNotFound",
    "ModelValueError",
    "OverlayError",
    "Prediction",
    "Profile",
    "ProgramError",
    "QuasarError",
    "Result",
    "Session",
    "Skipped",
    "Times",
    "__version__",
    "available_devices",
    "list_models",
    "list_pictures",
    "load_model",
    "open_device",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
