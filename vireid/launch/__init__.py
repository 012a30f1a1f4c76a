"""What is settled before a run: that all of it can be built, its precision, its devices; then the run is launched.

It may know the core, and no component.
"""
