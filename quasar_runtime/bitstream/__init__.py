"""Bitstreams: their packages, hardware handoff and block design."""
