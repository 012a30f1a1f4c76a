"""The environment of a running process: other processes, signals, locks, lack of memory, random number generators.

This package must not depend on configs, models or runs. In a single process, `processes`, `gather` and `batch_norm` do
nothing.
"""
