"""Pictures, labels and recipes."""

LABELS_FILE = "imagenet_classes.json"
"""The labels' file name beside the pictures."""
