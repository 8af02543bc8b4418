"""Proofs about the RTL with SymbiYosys: rules of AXI, scoreboards."""
