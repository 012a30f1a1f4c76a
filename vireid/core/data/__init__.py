"""From files to batches: reading images, seeded augmentation, loaders.

This package must not depend on models, scores or runs.
"""
