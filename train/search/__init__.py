"""NSGA-II over a space of subnets."""
