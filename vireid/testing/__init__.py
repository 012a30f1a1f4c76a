"""Helpers for the tests of plugins: check that every component keeps the contract of its kind.

```python
from vireid.testing import check_plugin
import my_plugin

def test_my_plugin():
    check_plugin(my_plugin)
```
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from vireid.errors import Mismatch, NotReady, UnknownName, VireidError
from vireid.plugin_manager.manager import PluginManager, create_manager
from vireid.testing import data_parts, networks, run_parts
from vireid.testing.promises import Broken, Builder

CHECKS = {**networks.CHECKS, **data_parts.CHECKS, **run_parts.CHECKS}


def check_plugin(
    plugin: ModuleType | object,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    name: str = 'checked',
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Builds every component of a plugin on tiny input and checks the contract of its kind.

    Networks (backbones, necks, heads, poolings, losses, weighters) need outputs as declared, float32 and finite,
    a gradient, deterministic evaluation that neither reads nor changes global random state, pickling, and a state dict
    that loads into another instance; losses and weighters keep float64. Models need losses by task and embeddings of
    each modality. Steps need a record, weights that change, and a state dict from which another instance continues
    identically. Transforms, samplers, similarities and re-rankers need correct shapes and must depend only on their
    input and seed; a fitted similarity must be reproducible from its state. Indexes need cosine similarities, best
    first, of the images that a filter allows, and an update that can be repeated. Detectors need boxes and scores for
    each image. Other kinds need data and are only looked up.

    Args:
        plugin: the module (or object) whose hooks register the components.
        configs: arguments by component name, where the defaults are not enough.
        name: what messages call the plugin.
        inputs: inputs by component name: a list of `FeatureSpec` for a neck or head, a `HeadOutput` of 16 rows for a
            loss, the model of a similarity. By default, a neck or head is tested on a vector, a map, two of either and
            three vectors: on each of these that its constructor does not reject with a `VireidError`.

    Returns:
        `checked` or `looked up`, by `kind name`.

    Raises:
        VireidError: with all broken contracts at once.
    """
    manager = create_manager(warn=lambda line: None)
    if all(component.plugin != name for component in manager.components.listing()):
        manager = _with_builtin()
        manager.register(plugin, name)
    components = [c for c in manager.components.listing() if c.plugin == name]
    if not components:
        raise NotReady(f'{name} registers no component', todo='register some in register_components')
    for name_of, given in (('configs', configs), ('inputs', inputs)):
        for key in given or {}:
            if all(component.name != key for component in components):
                raise UnknownName(
                    f'{name_of} names {key!r}, which {name} does not register',
                    allowed=', '.join(c.name for c in components),
                )
    done: dict[str, str] = {}
    problems: list[str] = []
    for component in components:
        where = f'{component.kind} {component.name!r}'
        arguments, reads = dict((configs or {}).get(component.name, {})), (inputs or {}).get(component.name)
        try:
            target = manager.components.get(component.kind, component.name)
            check = CHECKS.get(component.kind)
            if check is not None:
                check(Builder(manager, component.kind, {'type': component.name, **arguments}, target, reads))
            done[f'{component.kind} {component.name}'] = 'looked up' if check is None else 'checked'
        except (VireidError, Broken) as error:
            problems.append(f'{where}: {error}')
        except Exception as error:  # report whatever the component raises
            problems.append(f'{where} raised {type(error).__name__}: {error}')
    if problems:
        raise Mismatch(
            '\n'.join(problems),
            todo='`python -m pydoc vireid.interfaces` shows the interface of each kind; a neck or head is tested on '
            'vectors and on maps, unless its constructor rejects them with a VireidError or check_plugin is given its '
            '`inputs`',
        )
    return done


def _with_builtin() -> PluginManager:
    import vireid.plugins

    manager = PluginManager()
    manager.register(vireid.plugins, 'builtin')
    return manager
