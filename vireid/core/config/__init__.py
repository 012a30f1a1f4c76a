"""Configs: files with bases and overrides, and the experiment that a config describes, checked.

It may not know images, models or runs: it builds them by name.
"""
