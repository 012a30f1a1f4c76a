"""Training: the trainer, checkpoints, and model selection.

This package may use all other packages of the core. Nothing in the core imports it.
"""
