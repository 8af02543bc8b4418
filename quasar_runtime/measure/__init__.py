"""Benchmarks, accuracy, power, traces and inspection."""
