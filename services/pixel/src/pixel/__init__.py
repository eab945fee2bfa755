"""Serves the invisible pixel and reports opens."""
