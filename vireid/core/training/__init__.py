"""A run: the trainer, the default step, checkpoints, what makes a run robust, and where its model is scored.

It may know all other rooms. Nothing in the core imports it.
"""
