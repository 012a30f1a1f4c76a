"""Looks at an experiment or a dataset without training: dry runs, size and work, what a data folder holds.

It may know the core, never the command line.
"""
