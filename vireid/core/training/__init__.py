"""A run: the trainer, its checkpoints, and the choice of the weights that it ends with.

It may know all other rooms. Nothing in the core imports it.
"""
