"""Plugins: found by entry point or file, compared with the hooks there are, listed with a status; and those who watch.

It may know the core's registry and nothing else of the core.
"""
