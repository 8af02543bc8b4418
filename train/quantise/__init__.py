"""Post-training quantisation: calibration, choice of 8-bit rows, rounding, emission."""
