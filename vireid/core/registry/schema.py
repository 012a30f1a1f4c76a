"""Signatures as schemas: pydantic checks what a config says against the constructors of all that it names.

An annotation says all there is to know: `channels: int`, `pool: Annotated[str | dict, Component('poolings')]`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, Union

from pydantic import ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from vireid.core.errors import VireidError, did_you_mean
from vireid.core.interfaces import INTERFACES, KINDS, given
from vireid.core.registry.hints import adapter_of, as_json, describe
from vireid.core.registry.signature import Parameter, Signature, signature_of


class Components(Protocol):
    """What the schema looks names up in; `registry.components.Components` is one."""

    def get(self, kind: str, name: str) -> Callable[..., Any]:
        """Returns the class or function of a name, or raises VireidError."""


class Problem(NamedTuple):
    """What is wrong at one place; the path stands before `given`, and in `todo` for `{path}`."""

    place: tuple[str | int, ...]
    given: str
    allowed: str = ''
    todo: str = ''
    missing: str = ''  # the key that is not there
    code: str = ''


@dataclass(frozen=True)
class Scope:
    """What a value is checked with: the components it may name, and the arguments it stands among."""

    components: Components | None  # None: what a config names is not looked into
    beside: Mapping[str, Any] = field(default_factory=dict)


class _Annotation:
    """An annotation of a dict that says what the dict holds."""

    def problems(self, value: Mapping[str, Any], scope: Scope) -> list[Problem]:
        """Returns what is wrong with a dict."""
        raise NotImplementedError

    def describe(self, hint: Any) -> str:
        """Says in a user's words what may stand there."""
        return ' or '.join(describe(option) for option in _options(hint))

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        options = _options(source)

        def validate(value: Any, info: ValidationInfo) -> Any:
            scope = info.context or Scope(None)
            if value is None and type(None) in options:
                return value
            if isinstance(value, str) and str in options:
                value = {'type': value}
            if not isinstance(value, dict):
                _raise(
                    [Problem((), f' is {value!r} ({type(value).__name__})', self.describe(source), code='wrong-value')]
                )
            _raise(self.problems(value, scope))
            return value

        return core_schema.with_info_plain_validator_function(validate)


class Component(_Annotation):
    """In an annotation, says that a config describes a component: `Annotated[dict, Component('poolings')]`.

    `Annotated[str | dict, ...]` allows its name alone, `Annotated[dict | None, ...]` none.

    Args:
        kind: one of the registry's kinds.
        default: the component that is meant if the config has no `type`.
        **own: annotations of the keys that the owner keeps in the same dict for itself, such as a neck's `inputs`.
    """

    def __init__(self, kind: str, default: str = '', **own: Any) -> None:
        self.kind, self.default, self.own = kind, default, own

    def describe(self, hint: Any) -> str:
        words = {str: ', or its name', type(None): ', or None'}
        return f"dict(type='...', ...), one of {self.kind}" + ''.join(words.get(o, '') for o in _options(hint))

    def problems(self, value: Mapping[str, Any], scope: Scope) -> list[Problem]:
        if scope.components is None:
            return []
        if self.kind not in KINDS:
            return [
                Problem((), f': its Component names {self.kind!r}, which is not a component kind', ', '.join(KINDS))
            ]
        config = {'type': self.default, **value} if self.default else value
        if 'type' not in config:
            text = f': expected a component, got {value!r}'
            return [Problem((), text, "dict(type='Name', ...)", 'set {path}.type')]
        try:
            found = signature_of(scope.components.get(self.kind, config['type']))
        except VireidError as error:
            return [Problem((), f': {error.given}', error.allowed or '', error.todo or '', code=error.code)]
        own = {key: Parameter(hint) for key, hint in self.own.items()}
        signature = replace(found, parameters={**found.parameters, **own})
        arguments = {key: item for key, item in config.items() if key != 'type'}
        supplied, optional = given(self.kind) - set(own), INTERFACES[self.kind].defaults
        return _problems(signature, arguments, scope.components, supplied, optional)


class ArgumentsOf(_Annotation):
    """In an annotation, says that a dict holds some arguments of another argument's component.

    Args:
        part: name of the other argument.
        kind: what its component is.
    """

    def __init__(self, part: str, kind: str) -> None:
        self.part, self.kind = part, kind

    def problems(self, value: Mapping[str, Any], scope: Scope) -> list[Problem]:
        other = scope.beside.get(self.part)
        name = other.get('type') if isinstance(other, Mapping) else other
        try:
            if scope.components is None:
                return []
            found = signature_of(scope.components.get(self.kind, name))  # type: ignore[arg-type]
        except VireidError:  # which is told where it stands
            return []
        known = {n: Parameter(p.hint) for n, p in found.parameters.items() if n not in given(self.kind)}
        return _problems(replace(found, parameters=known), value, scope.components, noun='setting')


class Section(_Annotation):
    """In an annotation, says that a dict holds the arguments of a dataclass of settings."""

    def __init__(self, settings: type) -> None:
        self.settings = settings

    def describe(self, hint: Any) -> str:
        return 'a dict'

    def problems(self, value: Mapping[str, Any], scope: Scope) -> list[Problem]:
        return _problems(replace(signature_of(self.settings), name=''), value, scope.components, noun='setting')


def check(
    target: Callable[..., Any] | Signature,
    arguments: Mapping[str, Any],
    *,
    where: str,
    components: Components | None = None,
    supplied: Collection[str] = (),
    optional: Collection[str] = (),
    filled: Collection[str] = (),
    noun: str = 'argument',
) -> list[VireidError]:
    """Finds every argument that `target` would not take.

    Args:
        target: the class or function to be called, or its signature.
        arguments: what the config says.
        where: path in the config, for the messages; empty for the config itself.
        components: those that the arguments may name, at any depth; None looks at the arguments alone.
        supplied: names the framework fills in (such as `inputs` or `num_identities`): never missing, not to be set.
        optional: names it fills in unless the config does: never missing, and offered.
        filled: paths that may be missing, since they come from elsewhere, such as `dataset.root` from a flag.
        noun: what an argument is called.

    Returns:
        One error for each unknown, mistyped or missing argument; empty if the call is sound.
    """
    signature = target if isinstance(target, Signature) else signature_of(target)
    found = []
    for problem in _problems(signature, arguments, components, supplied, optional, noun):
        path = '.'.join(map(str, [where, *problem.place] if where else problem.place))
        if problem.missing and join(path, problem.missing) in filled:
            continue
        given = f'{path}{problem.given}' if path else problem.given.removeprefix(': ')
        todo = problem.todo.replace('{path}.', f'{path}.' if path else '')
        place = join(path, problem.missing) if problem.missing else path
        found.append(VireidError(given, allowed=problem.allowed, todo=todo, path=place, code=problem.code))
    return found


def join(where: str, key: Any) -> str:
    """Returns the path of a key."""
    return f'{where}.{key}' if where else str(key)


def _problems(
    signature: Signature,
    arguments: Mapping[str, Any],
    components: Components | None,
    supplied: Collection[str] = (),
    optional: Collection[str] = (),
    noun: str = 'argument',
) -> list[Problem]:
    """Lets pydantic compare arguments with a signature; returns what it finds in our words."""
    known = {name: p for name, p in signature.parameters.items() if name not in supplied}
    fields = [(name, p.hint, p.required and name not in optional) for name, p in known.items()]
    if signature.open_ended:
        fields += [(key, signature.rest, False) for key in arguments if key not in signature.parameters]
    try:
        adapter = adapter_of(tuple(fields))
        adapter.validate_json(as_json(arguments), strict=True, context=Scope(components, arguments))
    except ValidationError as error:
        found = list(_in_words(error, signature, arguments, supplied, known, noun))
        deeper = {q.place[:n] for q in found for n in range(1, len(q.place))}
        # of a union's options, the one that was meant tells more
        return [p for p in found if not (p.code == 'wrong-value' and p.place in deeper)]
    except ValueError as error:  # an integer of thousands of digits
        return [Problem((), f': {error}')]
    return []


def _in_words(
    error: ValidationError,
    signature: Signature,
    arguments: Mapping[str, Any],
    supplied: Collection[str],
    known: Mapping[str, Parameter],
    noun: str,
) -> Iterator[Problem]:
    lines = error.errors(include_url=False)
    if any(not line['loc'] for line in lines):  # nested too deep, say
        yield Problem((), f': {lines[0]["msg"]}')
        return
    nested = {line['loc'][0] for line in lines if line['type'] == 'problem' and line['loc']}
    told: set[Any] = set()
    for line in lines:
        key, kind = line['loc'][0], line['type']
        if kind == 'problem':
            about = line['ctx']
            place = tuple(_resolved(line['loc'], arguments))
            yield Problem(**{**about, 'place': place})
        elif kind == 'extra_forbidden' and len(line['loc']) == 1:
            if key in supplied and key in signature.parameters:
                todo = f'take {key} out of the config'
                yield Problem((key,), ' is filled in by the framework', todo=todo, code='unknown-key')
                continue
            allowed = sorted(known) or [f'no {noun}s']
            whose = f'{signature.name} has' if signature.name else 'there is'
            given = f': {whose} no {noun} {key!r}{did_you_mean(str(key), known)}'
            yield Problem((key,), given, ', '.join(allowed), code='unknown-key')
        elif kind == 'missing' and len(line['loc']) == 1:
            hint = known[str(key)].hint
            expected = f' ({describe(hint)})' if hint is not Any else ''
            whose = signature.name or 'the section'
            yield Problem(
                (), f': {whose} needs the {noun} {key!r}{expected}', '', f'set {{path}}.{key}', str(key), 'missing-key'
            )
        elif key not in nested and key not in told:
            told.add(key)
            hint, value = known[str(key)].hint if key in known else signature.rest, arguments[str(key)]
            yield Problem((key,), f' is {value!r} ({type(value).__name__})', describe(hint), code='wrong-value')


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _resolved(place: Sequence[Any], value: Any) -> Iterator[str | int]:
    """Leaves out of pydantic's place what is no key: the option of a union that was tried."""
    for key in place:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            continue
        yield key


def _raise(problems: Sequence[Problem]) -> None:
    """Raises pydantic's error of several, so that it adds the place where they stand."""
    if problems:
        details = [
            InitErrorDetails(
                type=PydanticCustomError('problem', '{given}', problem._asdict() | {'place': ''}),
                loc=problem.place,
                input=None,
            )
            for problem in problems
        ]
        raise ValidationError.from_exception_data('config', details)
