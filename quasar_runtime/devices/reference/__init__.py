"""The normative NumPy executor."""
