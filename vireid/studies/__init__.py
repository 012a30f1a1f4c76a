"""Runs made of runs: tables of ablations, a model for each split of a dataset.

It may know the core, never the command line: what there is to say goes to a function that is given.
"""
