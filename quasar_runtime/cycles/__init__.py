"""The cycle model: cycles of a program without simulating it."""
