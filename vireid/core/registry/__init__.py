"""Component names, signatures, validation of arguments, and building components from a config.

This package must not depend on the sections of a config or on any component; it uses torch only to recognize modules.
"""
