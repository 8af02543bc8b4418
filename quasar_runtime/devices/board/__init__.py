"""The accelerator on a ZCU102, through PYNQ."""
