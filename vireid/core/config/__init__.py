"""Configs: files with bases and overrides, and the validated experiment that a config describes.

This package must not depend on images, models or runs: it builds them by name.
"""
