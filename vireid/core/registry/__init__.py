"""Names, and what each takes: components, building from a config, plugins, hooks, observers.

It may not know what a config's sections are, nor any component, nor torch beyond asking whether something is a module.
"""
