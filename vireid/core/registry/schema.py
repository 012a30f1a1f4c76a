"""A config against the signatures of all it names, found from their sources or asked of them: nothing is built."""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Union

from vireid.core.errors import VireidError
from vireid.core.registry.components import CONTEXT, DEFAULTS, Components, component_type
from vireid.core.registry.signatures import (
    ArgumentsOf,
    Parameter,
    Part,
    Signature,
    accepts,
    check,
    check_type,
    join,
    signature_of,
)


class Schema:
    """What configs may say, given the components there are.

    Args:
        components: those that a config may name.
        filled: paths that may be missing, since they come from elsewhere, such as `dataset.root` from a flag.
    """

    def __init__(self, components: Components, filled: Collection[str] = ()) -> None:
        self.components, self.filled = components, filled

    def check_call(
        self,
        signature: Signature,
        arguments: Mapping[str, Any],
        where: str,
        supplied: Collection[str] = (),
        optional: Collection[str] = (),
    ) -> list[VireidError]:
        """Finds every argument, at any depth, that does not fit; see `check`."""
        optional = {*optional, *(key for key in signature.parameters if join(where, key) in self.filled)}

        def check_value(hint: Any, value: Any, path: str) -> list[VireidError]:
            return self.check_value(hint, value, path, arguments)

        return check(signature, arguments, supplied=supplied, optional=optional, where=where, check_value=check_value)

    def check_value(self, hint: Any, value: Any, path: str, beside: Mapping[str, Any]) -> list[VireidError]:
        """Finds what does not fit in one value; `beside` holds the arguments it stands among."""
        options = _options(hint, value)
        if len(options) > 1:
            found = [self.check_value(option, value, path, beside) for option in options]
            return [] if [] in found else found[0]
        hint = options[0]
        about = _about(hint)
        if isinstance(about, Part) and isinstance(value, (str, Mapping)) and accepts(hint, value):
            return self._check_part(about, {'type': value} if isinstance(value, str) else value, path)
        if not accepts(_shape(hint), value):
            return check_type(hint, value, path)
        if value is None:
            return []
        if isinstance(about, ArgumentsOf):
            return self._check_some(about, beside.get(about.part), value, path)
        if about is not None and not isinstance(about, Part):
            return self.check_call(_settings(about, path), value, path)
        inner = self._inner(hint, value)
        if inner is None:
            return check_type(hint, value, path)
        problems = []
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(value, Mapping) and not accepts(typing.get_args(hint)[0], key):
                problems += check_type(typing.get_args(hint)[0], key, f'the key {join(path, key)}')
            problems += self.check_value(inner[key], item, join(path, key), beside)
        return problems

    def hint_at(self, signature: Signature, config: Mapping[str, Any], path: Sequence[str]) -> Any:
        """Returns the hint of the value at a path, or None if nothing is known of it."""
        hints: Mapping[Any, Any] = {name: p.hint for name, p in signature.parameters.items()}
        hint: Any = None
        value: Any = config
        beside: Any = config
        for part in path:
            key: Any = int(part) if isinstance(value, (list, tuple)) and part.isdecimal() else part
            if key not in hints:
                return None
            if _about(_options(hint, value)[0]) is not None:
                beside = value
            hint = hints[key]
            value = value[key] if isinstance(value, (list, tuple)) else value.get(key)
            hints = self._hints_within(_options(hint, value)[0], value, beside)
        return hint

    def _hints_within(self, hint: Any, value: Any, beside: Any) -> Mapping[Any, Any]:
        about = _about(hint)
        if not isinstance(value, (Mapping, list, tuple)):
            return {}
        if isinstance(about, (Part, ArgumentsOf)):
            part = value
            if isinstance(about, ArgumentsOf):
                part, about = beside.get(about.part), Part(about.kind)
            found = self._signature(about, part)
            known = {name: p.hint for name, p in found.parameters.items()} if found else {}
            return {**known, **about.own, 'type': str}
        if about is not None:
            return {name: p.hint for name, p in _settings(about, '').parameters.items()}
        return self._inner(hint, value) or {}

    def _signature(self, part: Part, config: Any) -> Signature | None:
        try:
            config = {'type': config} if isinstance(config, str) else config
            return self.components.signature(part.kind, _typed(part, config)['type'])
        except (VireidError, TypeError, KeyError):  # which is told where it stands
            return None

    def _check_part(self, part: Part, config: Mapping[str, Any], path: str) -> list[VireidError]:
        """Checks one component's config: its own keys against its signature, the owner's against the owner's."""
        if part.kind not in CONTEXT:
            return [VireidError(f'{path}: its Part names {part.kind!r}, which is no kind', allowed=', '.join(CONTEXT))]
        try:
            name = component_type(_typed(part, config), path)
            signature = self.components.signature(part.kind, name, where=path)
        except VireidError as error:
            return [error]
        own = {key: value for key, value in config.items() if key in part.own}
        rest = {key: value for key, value in config.items() if key not in part.own and key != 'type'}
        problems = []
        for key, value in own.items():
            problems += self.check_value(part.own[key], value, join(path, key), own)
        given = CONTEXT[part.kind]
        for key in [key for key in rest if key in given and key in signature.parameters]:
            del rest[key]
            problems.append(
                VireidError(f'{path}.{key} is filled in by the framework', todo=f'take {key} out of the config')
            )
        problems += self.check_call(signature, rest, path, given, DEFAULTS.get(part.kind, ()))
        try:
            checker = getattr(self.components.get(part.kind, name, where=path), 'check_config', None)
            return problems if checker is None else problems + list(checker(rest, path, self.components))
        except VireidError as error:
            return [*problems, error]
        except Exception as error:  # a component's author may be wrong in any way
            text = f'{path}: check_config of {name} raised {type(error).__name__}: {error}'
            return [*problems, VireidError(text, todo='tell its authors')]

    def _check_some(self, about: ArgumentsOf, part: Any, arguments: Any, path: str) -> list[VireidError]:
        """Checks that a dict holds arguments of another part, such as a parameter group's of the optimizer."""
        signature = self._signature(Part(about.kind), part)
        if signature is None:
            return []
        known = {n: Parameter(p.hint) for n, p in signature.parameters.items() if n not in CONTEXT[about.kind]}
        return self.check_call(
            Signature(signature.name, known, signature.open_ended, signature.rest, noun='setting'), arguments, path
        )

    def _inner(self, hint: Any, value: Any) -> dict[Any, Any] | None:
        """Returns the hint of each item of a dict or list if any of them is more than a type; else None."""
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        container = origin if isinstance(origin, type) else None
        if container is None or not inner or not _holds_parts(hint):
            return None
        if issubclass(container, Mapping):
            return dict.fromkeys(value, inner[1]) if isinstance(value, Mapping) else None
        if issubclass(container, Sequence) and isinstance(value, (list, tuple)):
            if issubclass(container, tuple) and inner[-1] is not Ellipsis:
                return dict(enumerate(inner)) if len(inner) == len(value) else None
            return dict.fromkeys(range(len(value)), inner[0])
        return None


def _typed(part: Part, config: Mapping[str, Any]) -> Mapping[str, Any]:
    return {'type': part.default, **config} if part.default else config


def _settings(target: type, path: str) -> Signature:
    found = signature_of(target, noun='setting')
    return Signature(path, found.parameters, noun='setting')


def _about(hint: Any) -> Any:
    """Returns the `Part`, `ArgumentsOf` or class of settings that a hint is annotated with, if any."""
    if typing.get_origin(hint) is not Annotated:
        return None
    return next((m for m in hint.__metadata__ if isinstance(m, (Part, ArgumentsOf)) or is_dataclass(m)), None)


def _options(hint: Any, value: Any) -> list[Any]:
    """Returns the options of a union that a value may be meant for: those whose shape it has; else the union."""
    if typing.get_origin(hint) not in (Union, UnionType):
        return [hint]
    return [option for option in typing.get_args(hint) if accepts(_shape(option), value)] or [hint]


def _shape(hint: Any) -> Any:
    """Returns a hint without what it says of items: a list, a dict, or the hint itself."""
    if _about(hint) is not None:
        return typing.get_args(hint)[0]
    origin = typing.get_origin(hint)
    if isinstance(origin, type) and _holds_parts(hint):
        return dict if issubclass(origin, Mapping) else list
    return hint


def _holds_parts(hint: Any) -> bool:
    """Says whether a component's config stands anywhere within a hint."""
    return _about(hint) is not None or any(_holds_parts(inner) for inner in typing.get_args(hint))
