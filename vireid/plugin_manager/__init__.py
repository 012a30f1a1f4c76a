"""Plugins: found by entry point or file, validated against the hooks, listed with a status; and the callbacks of runs.

Of the core, it uses only the registry and the types.
"""
