"""Several processes as one: their ranks, gathered tensors with gradients, BatchNorm over all of them.

It may not know configs, models or runs. In a single process everything here does nothing.
"""
