"""Devices that execute programs; see `quasar_runtime.device.base`."""
