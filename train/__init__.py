"""From a float checkpoint to a model file. PyTorch is used here and nowhere else."""
