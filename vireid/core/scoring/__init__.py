"""Evaluation: embed every image once, rank galleries, compute CMC, mAP and mINP, and format results.

This package must not depend on checkpoints, optimizers or runs.
"""
