"""Studies of several runs: ablation tables, comparisons, learning curves, and one model per split of a dataset.

They depend on the core but not on the command line, and report through callbacks.
"""
