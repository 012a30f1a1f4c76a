"""Plugins: found by entry point or file, validated against the hooks, listed with a status; and the callbacks of runs.

It depends on the registry of the core and on nothing else of the core.
"""
