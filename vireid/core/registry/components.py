"""The component registry: names, lazy `module:attr` targets, and building from a config.

Built on `mmengine.registry.Registry`, but stricter: no child scopes, no default scope, and an unknown name is an error
that suggests the closest match, never an import path to try.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vireid.boundary.mmengine_import import import_mmengine
from vireid.boundary.tracebacks import raised_at
from vireid.console.wording import singular
from vireid.core.registry.contracts import require_interface
from vireid.core.registry.schema import check, join
from vireid.core.registry.signature import signature_of
from vireid.errors import (
    Conflict,
    MissingKey,
    Unavailable,
    UnknownComponent,
    UnknownName,
    VireidError,
    WrongValue,
    did_you_mean,
    raise_all,
)
from vireid.interfaces import KINDS

if TYPE_CHECKING:
    from mmengine.registry import Registry


class NameTaken(Conflict):
    """The name is already registered by another plugin."""


@dataclass(frozen=True)
class Registration:
    """One registered name.

    Attributes:
        kind: one of `KINDS`.
        name: what configs write as `type`.
        target: the class or function, or `module:attr` to import on first use.
        plugin: the plugin that registered it.
    """

    kind: str
    name: str
    target: str | Callable[..., Any]
    plugin: str


class Components:
    """All components of one plugin manager. Targets are imported when they are first built, not when registered."""

    def __init__(self) -> None:
        self._table: dict[str, dict[str, Registration]] = {kind: {} for kind in KINDS}
        self._registries: dict[str, Registry] = {}

    def add(self, kind: str, name: str, target: str | Callable[..., Any], *, plugin: str = 'unnamed') -> None:
        """Registers `target` as `name`.

        Args:
            kind: one of `KINDS`.
            name: what configs write as `type`.
            target: a class or function, or `module:attr`.
            plugin: name of the plugin, for listings and conflicts.

        Raises:
            VireidError: for an unknown kind, an invalid name or target, or a name that is already registered.
        """
        if not isinstance(kind, str) or kind not in self._table:
            raise UnknownName(
                f'plugin {plugin!r} registers {name!r} as {kind!r}, which is not a component kind'
                f'{did_you_mean(str(kind), KINDS)}',
                allowed=', '.join(KINDS),
            )
        if not isinstance(name, str) or not name:
            raise WrongValue(f'plugin {plugin!r} registers {kind} {name!r}', allowed='a non-empty string')
        if not callable(target) and not (isinstance(target, str) and re.fullmatch(r'[\w.]+:\w+', target)):
            raise WrongValue(
                f'plugin {plugin!r} registers {name!r} with the target {target!r}',
                allowed="a class, a function, or the string 'package.module:attribute'",
            )
        taken = self._table[kind].get(name)
        if taken is not None:
            raise NameTaken(
                f'{kind} {name!r} is registered by plugin {taken.plugin!r} and again by {plugin!r}',
                todo='rename one of them, or disable one of the plugins',
            )
        self._table[kind][name] = Registration(kind, name, target, plugin)

    def add_all(self, entries: Sequence[tuple[str, str, str | Callable[..., Any]]], *, plugin: str) -> None:
        """Registers several (kind, name, target) entries; if one fails, none is registered.

        Raises:
            VireidError: as `add` does.
        """
        before = {kind: dict(table) for kind, table in self._table.items()}
        try:
            for kind, name, target in entries:
                self.add(kind, name, target, plugin=plugin)
        except VireidError:
            self._table = before
            raise

    def names(self, kind: str) -> list[str]:
        """Returns the names of a kind, sorted."""
        return sorted(self._table[kind])

    def listing(self) -> list[Registration]:
        """Returns every component, by kind and name."""
        return [self._table[kind][name] for kind in KINDS for name in self.names(kind)]

    def get(self, kind: str, name: str, *, where: str = '') -> Callable[..., Any]:
        """Returns the class or function registered as `name`, importing it on first use.

        Args:
            kind: one of `KINDS`.
            name: the registered name.
            where: config path, for messages.

        Raises:
            VireidError: if the name is unknown or its target cannot be imported.
        """
        prefix = f'{where}: ' if where else ''
        component = self._table[kind].get(name) if isinstance(name, str) else None
        if component is None:
            elsewhere = [k for k in KINDS if isinstance(name, str) and name in self._table[k]]
            hint = (
                f' (it is registered under {elsewhere[0]})' if elsewhere else did_you_mean(str(name), self._table[kind])
            )
            raise UnknownComponent(
                f'{prefix}no {singular(kind)} called {name!r}{hint}',
                allowed=', '.join(self.names(kind)) or f'no {kind} are registered',
                todo='check the name, load its plugin file (`plugins` in the config, or --plugin FILE), or '
                'install the plugin that registers it (see `vireid plugins`)',
                path=where,
            )
        registry = self._registry(kind)
        if name not in registry.module_dict:
            registry.register_module(name=name, module=_resolve(component, prefix))
        return registry.module_dict[name]

    def build(
        self,
        kind: str,
        config: Mapping[str, Any],
        *,
        where: str,
        defaults: Mapping[str, Any] | None = None,
        **context: Any,
    ) -> Any:
        """Builds `config['type']` with the rest of `config` as arguments.

        Args:
            kind: one of `KINDS`.
            config: the component's config, with a `type`.
            where: its path in the whole config, for messages.
            defaults: like `context`, but the config can override the values, such as the `size` of a transform.
            **context: values from the framework, such as the number of identities. Each is passed if the component's
                signature names it; a config cannot set it. A component that builds others names `build_part`, see
                `BuildPart`.

        Raises:
            VireidError: if the name is unknown, an argument is unknown, mistyped, missing or rejected, or the component
                does not implement its interface.
        """
        self.get(kind, component_type(config, where), where=where)  # registers it
        return self._registry(kind).build(config, where=where, defaults=defaults or {}, context=context)

    def _build(
        self,
        config: Mapping[str, Any],
        registry: Registry,
        where: str,
        defaults: Mapping[str, Any],
        context: Mapping[str, Any],
    ) -> Any:
        """Builds a registered component; called by mmengine's registry."""
        target = registry.module_dict[config['type']]
        arguments = {key: value for key, value in config.items() if key != 'type'}
        context = {**context, 'build_part': BuildPart(self, where, context)}
        parameters = signature_of(target).parameters
        raise_all(check(target, arguments, supplied=context, optional=defaults, where=where))
        arguments.update({k: v for k, v in {**defaults, **arguments, **context}.items() if k in parameters})
        try:
            built = target(**arguments)
            require_interface(registry.name, built, config['type'], where)
        except VireidError as error:
            if (located := error.at(where)) is error:
                raise
            raise located from error
        except OSError:
            raise
        except Exception as error:  # a component may raise anything; the author needs the location
            sort = '' if isinstance(error, (TypeError, ValueError)) else f'{type(error).__name__} '
            place = f' ({raised_at(error)})' if sort else ''
            raise WrongValue(
                f'{where}: {config["type"]} could not be constructed: {sort}{error}{place}', path=where
            ) from error
        return built

    def _registry(self, kind: str) -> Registry:
        if kind not in self._registries:
            mmengine = import_mmengine('registry')  # imported here to keep listing names fast
            self._registries[kind] = mmengine.Registry(kind, build_func=self._build, scope='vireid')
        return self._registries[kind]


class BuildPart:
    """Builds the parts of a component, such as the pooling of a head.

    Attributes:
        where: config path of the component.
        context: values from the framework, passed on to the parts.
    """

    def __init__(self, components: Components, where: str, context: Mapping[str, Any]) -> None:
        self.components, self.where, self.context = components, where, context

    def __call__(self, kind: str, part: Mapping[str, Any] | str, key: str, **more: Any) -> Any:
        """Builds a part.

        Args:
            kind: one of `KINDS`.
            part: its config, or just its name.
            key: its key in the component's config.
            **more: additional context for the part.

        Raises:
            VireidError: if it cannot be built.
        """
        config = {'type': part} if isinstance(part, str) else part
        return self.components.build(kind, config, where=join(self.where, key), **{**self.context, **more})


def component_type(config: Any, where: str) -> str:
    """Returns the `type` of a component's config.

    Raises:
        MissingKey: if it has none.
    """
    if not isinstance(config, Mapping) or 'type' not in config:
        raise MissingKey(
            f'{where}: expected a component, got {config!r}',
            allowed="dict(type='Name', ...)",
            todo=f'set {where}.type',
            path=where,
        )
    return config['type']


def _resolve(component: Registration, prefix: str) -> Callable[..., Any]:
    if not isinstance(component.target, str):
        return component.target
    try:
        module, _, attribute = component.target.partition(':')
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a third-party module may raise anything
        raise Unavailable(
            f'{prefix}{component.kind} {component.name!r} cannot be loaded from {component.target!r}: '
            f'{type(error).__name__}: {error}',
            todo=f'fix or reinstall the plugin {component.plugin!r}',
            path=prefix.removesuffix(': '),
        ) from error
