"""Benches: single modules and the datapath, stepped from Python under Verilator."""
