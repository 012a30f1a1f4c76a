"""Inspects an experiment or a dataset without training: dry runs, model size and compute, dataset checks.

It may import the core, but never the command line.
"""
