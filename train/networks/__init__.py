"""Networks: float checkpoints, folded, quantised, and the supernet."""
