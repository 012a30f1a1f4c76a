"""What becomes of finished runs: checkpoints scored, models rebuilt, embeddings and weights in files.

It may know the core, never the command line.
"""
