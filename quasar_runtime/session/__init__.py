"""A model on a device: pictures in, results out."""
