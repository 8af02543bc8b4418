"""The verbs of `quasar-train`: they parse, call what is below and print."""
