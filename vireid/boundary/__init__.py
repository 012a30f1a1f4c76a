"""Where the program meets what it did not make: files that are read, files that are written, texts that are shown.

SECURITY.md states the rule that these modules keep.
"""
