"""The names of vireid's commands, each a module of this package. Plugins cannot take them."""

GROUPS = {
    'data': ('data', 'adapt'),
    'run': ('train', 'ablate', 'compare', 'rerun', 'config', 'count'),
    'evaluation': ('test', 'score', 'table', 'plot', 'report'),
    'weights and plugins': ('checkpoint', 'convert', 'export', 'plugins', 'components'),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)
