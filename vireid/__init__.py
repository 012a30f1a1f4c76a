"""vireid: visible-infrared person re-identification, assembled from config.

The names below are the public API. Each is imported on first use, so `import vireid` is fast.
"""

from __future__ import annotations

import os
from typing import Any

__version__ = '0.1.0'

_LAZY = {
    'Component': 'vireid.core.registry.schema',
    'Experiment': 'vireid.core.config.experiment',
    'FeatureSpec': 'vireid.core.types',
    'HeadOutput': 'vireid.core.types',
    'Results': 'vireid.core.scoring.results',
    'Run': 'vireid.core.training.run',
    'Sample': 'vireid.core.types',
    'VireidError': 'vireid.errors',
    'compare': 'vireid.api',
    'evaluate': 'vireid.api',
    'hookimpl': 'vireid.plugin_manager.manager',
    'load': 'vireid.search.embedder',
    'load_experiment': 'vireid.api',
    'plot': 'vireid.api',
    'table': 'vireid.api',
    'train': 'vireid.api',
}
__all__ = [*_LAZY, '__version__']

if os.name == 'posix' and not os.environ.get('HOME', os.path.expanduser('~')).startswith('/'):
    # in containers, the user may have no passwd entry; libraries that look up the home folder would fail on import
    os.environ['HOME'] = os.devnull


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module vireid has no attribute {name!r}')
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
