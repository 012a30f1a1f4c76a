"""What a person at a terminal reads and types: output streams, progress, warnings, questions, numbers, wording.

This package must not depend on configs, models or runs.
"""
