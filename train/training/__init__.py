"""Training: steps, run folders, the beginning of a fine-tuning."""
