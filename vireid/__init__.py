"""vireid: visible-infrared person re-identification, assembled from config.

`hookimpl` marks a plugin's hooks; `load` rebuilds a trained model from its checkpoint,
`load_weights` from what `vireid export weights` wrote. All are imported on first
use, so that `import vireid` stays light.
"""

from __future__ import annotations

from typing import Any

__version__ = '0.1.0.dev0'
__all__ = ['FeatureSpec', 'VireidError', '__version__', 'hookimpl', 'load', 'load_weights']

_LAZY = {
    'FeatureSpec': 'vireid.core.types',
    'VireidError': 'vireid.core.errors',
    'hookimpl': 'vireid.core.registry.plugins',
    'load': 'vireid.core.training.restore',
    'load_weights': 'vireid.core.training.restore',
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module vireid has no attribute {name!r}')
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
