"""The accelerator's RTL, simulated by Verilator."""
