"""Pictures and data sets to the bytes that a program reads."""
