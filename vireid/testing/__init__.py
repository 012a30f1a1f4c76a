"""For the tests of plugins: does every component keep what its kind promises?

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

from vireid.core.errors import VireidError
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
    """Builds every component of a plugin on tiny input, and checks what its kind promises.

    Of networks (backbones, necks, heads, poolings, losses, weighters): shapes as declared, float32, finite, a gradient,
    the same output for the same input in evaluation, no random number read or moved there, pickling, and a state dict
    that another instance takes; losses and weighters keep float64. Of models: losses by task, and embeddings of each
    modality. Of steps: the record, weights that move, and a state dict from which another instance goes on alike. Of
    transforms, samplers, similarities and re-rankers: shapes, and that they are functions of their input and seed; of
    what is fitted, that its state gives the same again. The other kinds need data, and are looked up only.

    Args:
        plugin: the module (or object) whose hooks register the components.
        configs: by component name, its arguments where the defaults are not enough.
        name: what messages call the plugin.
        inputs: by component name, what it reads, where that is neither one vector or map nor several alike: a list of
            `FeatureSpec` for a neck or head, a `HeadOutput` of 16 rows for a loss, the model of a similarity.

    Returns:
        By `kind name`, what was checked: `checked`, or `looked up`.

    Raises:
        VireidError: with everything that is not kept, all at once.
    """
    manager = create_manager(tell=lambda line: None)
    if all(component.plugin != name for component in manager.components.listing()):
        manager = _with_builtin()
        manager.register(plugin, name)
    own = [c for c in manager.components.listing() if c.plugin == name]
    if not own:
        raise VireidError(f'{name} registers no component', todo='add some in register_components')
    for name_of, given in (('configs', configs), ('inputs', inputs)):
        for key in given or {}:
            if all(component.name != key for component in own):
                raise VireidError(
                    f'{name_of} names {key!r}, which {name} does not register', allowed=', '.join(c.name for c in own)
                )
    done: dict[str, str] = {}
    problems: list[str] = []
    for component in own:
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
        except Exception as error:  # whatever the component raises is told
            problems.append(f'{where} raised {type(error).__name__}: {error}')
    if problems:
        raise VireidError('\n'.join(problems), todo='docs/architecture.md says what each kind has to offer')
    return done


def _with_builtin() -> PluginManager:
    import vireid.plugins

    manager = PluginManager()
    manager.register(vireid.plugins, 'builtin')
    return manager
