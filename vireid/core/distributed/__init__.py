"""Distributed training: ranks, gathered tensors with gradients, BatchNorm over all processes.

This package must not depend on configs, models or runs. In a single process, its functions do nothing.
"""
