"""The names of vireid's commands, by group. Each is a module of this package; plugins cannot use these names."""

GROUPS = {
    'data': ('start', 'data', 'crops', 'label', 'adapt'),
    'run': ('demo', 'train', 'ablate', 'compare', 'reproduce', 'rerun', 'config', 'count', 'bench'),
    'evaluation': ('test', 'score', 'table', 'plot', 'report'),
    'search': ('extract', 'index', 'search', 'serve'),
    'weights and plugins': ('checkpoint', 'convert', 'export', 'publish', 'plugins', 'components'),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)
