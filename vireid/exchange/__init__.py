"""What follows training: evaluating checkpoints, loading models, reading and writing features and weights.

It depends on the core but not on the command line.
"""
