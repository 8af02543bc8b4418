"""What is said of a result: provenance, accuracy, curves."""
