"""Prepares and launches a run: resolves the config, dry-builds it, selects precision and devices.

This package may use the core, but no components.
"""
