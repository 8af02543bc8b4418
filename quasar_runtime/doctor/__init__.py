"""Checks of a machine, its software and the accelerator."""
