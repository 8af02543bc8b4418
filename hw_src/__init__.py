"""The accelerator: RTL, its simulation, and what synthesis and Vivado make of it."""
