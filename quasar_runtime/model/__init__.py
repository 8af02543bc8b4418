"""A quantised network: in memory, in its file, in the zoo."""
