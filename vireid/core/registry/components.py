"""Names to components: the kinds, lazy `module:attr` targets, and building from a config.

Built on `mmengine.registry.Registry`, with its weak spots closed here: no child scopes, no default scope, and an
unknown name is an error with the nearest known one, never an import path to try.
"""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vireid.core.errors import VireidError, did_you_mean, raise_all
from vireid.core.interfaces import KINDS
from vireid.core.registry.contracts import require_offers
from vireid.core.registry.schema import check, join
from vireid.core.registry.signature import signature_of
from vireid.core.wording import singular

if TYPE_CHECKING:
    from mmengine.registry import Registry


class NameTaken(VireidError):
    """A name is registered that another plugin holds."""


@dataclass(frozen=True)
class Registration:
    """One registered name.

    Attributes:
        kind: one of `KINDS`.
        name: what configs write as `type`.
        target: the class or function, or `module:attr` to import on first use.
        plugin: who registered it.
    """

    kind: str
    name: str
    target: str | Callable[..., Any]
    plugin: str


class Components:
    """All names one plugin manager knows. Adding imports nothing; building imports what it builds."""

    def __init__(self) -> None:
        self._table: dict[str, dict[str, Registration]] = {kind: {} for kind in KINDS}
        self._registries: dict[str, Registry] = {}

    def add(self, kind: str, name: str, target: str | Callable[..., Any], *, plugin: str = 'unnamed') -> None:
        """Registers `target` as `name`.

        Args:
            kind: one of `KINDS`.
            name: what configs write as `type`.
            target: a class or function, or `module:attr`.
            plugin: who registers it, for listings and conflicts.

        Raises:
            VireidError: for an unknown kind, a malformed target, or a name another plugin holds.
        """
        if not isinstance(kind, str) or kind not in self._table:
            raise VireidError(
                f'plugin {plugin!r} registers {name!r} as {kind!r}, which is not a component kind'
                f'{did_you_mean(str(kind), KINDS)}',
                allowed=', '.join(KINDS),
            )
        if not isinstance(name, str) or not name:
            raise VireidError(f'plugin {plugin!r} registers {kind} {name!r}', allowed='a name that configs can write')
        if not callable(target) and not (isinstance(target, str) and re.fullmatch(r'[\w.]+:\w+', target)):
            raise VireidError(
                f'plugin {plugin!r} registers {name!r} with the target {target!r}',
                allowed="a class, a function, or a string 'package.module:attribute'",
            )
        taken = self._table[kind].get(name)
        if taken is not None:
            raise NameTaken(
                f'{kind} {name!r} is registered by plugin {taken.plugin!r} and again by {plugin!r}',
                todo='rename one of them, or disable one of the plugins',
            )
        self._table[kind][name] = Registration(kind, name, target, plugin)

    def add_all(self, entries: Sequence[tuple[str, str, str | Callable[..., Any]]], *, plugin: str) -> None:
        """Registers several (kind, name, target); all of them or, if one is refused, none."""
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
        """Returns the class or function called `name`, importing it if need be.

        Raises:
            VireidError: if no such name exists or its target cannot be imported.
        """
        prefix = f'{where}: ' if where else ''
        component = self._table[kind].get(name) if isinstance(name, str) else None
        if component is None:
            elsewhere = [k for k in KINDS if isinstance(name, str) and name in self._table[k]]
            hint = f' ({elsewhere[0]} have this name)' if elsewhere else did_you_mean(str(name), self._table[kind])
            raise VireidError(
                f'{prefix}no {singular(kind)} called {name!r}{hint}',
                allowed=', '.join(self.names(kind)) or f'no {kind} are registered',
                todo='check the name, or install the plugin that registers it (`vireid plugins` lists them)',
                path=where,
                code='unknown-component',
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
            defaults: as `context`, but the config may set another value (the size of a transform).
            **context: what the framework knows (specs of the inputs, number of identities, ...); each value goes
                to a component whose signature names it, and a config may not set it. A component that is made of
                others names `build_part`, see `BuildPart`.

        Raises:
            VireidError: for an unknown name, for arguments that are unknown, mistyped, missing or refused, and for what
                lacks something that its kind has to offer.
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
        """Builds a registered component: what mmengine's registry calls."""
        target = registry.module_dict[config['type']]
        arguments = {key: value for key, value in config.items() if key != 'type'}
        context = {**context, 'build_part': BuildPart(self, where, context)}
        wanted = signature_of(target).parameters
        raise_all(check(target, arguments, supplied=context, optional=defaults, where=where))
        arguments.update({k: v for k, v in {**defaults, **arguments, **context}.items() if k in wanted})
        try:
            built = target(**arguments)
            require_offers(registry.name, built, config['type'], where)
        except VireidError as error:
            if (located := error.at(where)) is error:
                raise
            raise located from error
        except OSError:
            raise
        except Exception as error:  # a component may raise anything; where, tells its author
            sort = '' if isinstance(error, (TypeError, ValueError)) else f'{type(error).__name__} '
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f' ({frame.filename}, line {frame.lineno})' if sort else ''
            raise VireidError(
                f'{where}: {config["type"]} could not be constructed: {sort}{error}{place}', path=where
            ) from error
        return built

    def _registry(self, kind: str) -> Registry:
        if kind not in self._registries:
            from mmengine.registry import Registry  # here, so that listing names costs no import

            self._registries[kind] = Registry(kind, build_func=self._build, scope='vireid')
        return self._registries[kind]


class BuildPart:
    """What a component builds its own parts with, such as a head its pooling.

    Attributes:
        where: path of the component in the config.
        context: what the framework handed to it.
    """

    def __init__(self, components: Components, where: str, context: Mapping[str, Any]) -> None:
        self.components, self.where, self.context = components, where, context

    def __call__(self, kind: str, part: Mapping[str, Any] | str, key: str, **more: Any) -> Any:
        """Builds `part`, a config or a name alone, as `where.key`, with the context of the whole and `more`."""
        config = {'type': part} if isinstance(part, str) else part
        return self.components.build(kind, config, where=join(self.where, key), **{**self.context, **more})


def component_type(config: Any, where: str) -> str:
    """Returns the `type` of a component's config, or raises with the path of what has none."""
    if not isinstance(config, Mapping) or 'type' not in config:
        raise VireidError(
            f'{where}: expected a component, got {config!r}',
            allowed="dict(type='Name', ...)",
            todo=f'set {where}.type',
            path=where,
            code='missing-key',
        )
    return config['type']


def _resolve(component: Registration, prefix: str) -> Callable[..., Any]:
    if not isinstance(component.target, str):
        return component.target
    try:
        module, _, attribute = component.target.partition(':')
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module of anyone's may raise anything
        raise VireidError(
            f'{prefix}{component.kind} {component.name!r} cannot be loaded from {component.target!r}: '
            f'{type(error).__name__}: {error}',
            todo=f'fix or reinstall the plugin {component.plugin!r}',
            path=prefix.removesuffix(': '),
        ) from error
