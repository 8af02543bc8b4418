"""From a model and an overlay to a program."""
