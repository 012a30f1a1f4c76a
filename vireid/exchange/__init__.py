"""Files for other machines and programs: embeddings in a file, exported weights.

It may know the core, never the command line.
"""
