"""From files to batches: reading images, seeded augmentation, loaders, checks of a dataset's files.

It may not know models, scores or runs.
"""
