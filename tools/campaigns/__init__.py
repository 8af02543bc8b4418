"""Fault campaigns: long runs that try to break Quasar, as commands. See docs/robustness.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
