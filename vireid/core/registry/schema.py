"""Signatures as schemas: pydantic validates a config against the constructors of the components it names.

Annotations define the schema: `channels: int`, `pool: Annotated[str | dict, Component('poolings')]`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, Union

from pydantic import ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from vireid.core.registry.hints import adapter_of, as_json, describe
from vireid.core.registry.signature import Parameter, Signature, signature_of
from vireid.errors import MissingKey, UnknownKey, UnknownName, VireidError, WrongValue, did_you_mean
from vireid.interfaces import INTERFACES, KINDS, given


class Components(Protocol):
    """Looks up components by name, as `registry.components.Components` does."""

    def get(self, kind: str, name: str) -> Callable[..., Any]:
        """Returns the class or function with this name.

        Raises:
            VireidError: if there is none.
        """


class Problem(NamedTuple):
    """An error at one place in a config. Its path is put in front of `given`, and replaces `{path}` in `todo`."""

    place: tuple[str | int, ...]
    given: str
    allowed: str = ''
    todo: str = ''
    missing: str = ''  # the missing key, if any
    error: type[VireidError] = WrongValue


@dataclass(frozen=True)
class Scope:
    """The context of a validation: the known components, and the sibling arguments."""

    components: Components | None  # None: components are not looked up
    beside: Mapping[str, Any] = field(default_factory=dict)


class _Annotation:
    """Base class of annotations that define the contents of a dict."""

    def problems(self, value: Mapping[str, Any], scope: Scope) -> list[Problem]:
        """Returns the errors in a dict."""
        raise NotImplementedError

    def describe(self, hint: Any) -> str:
        """Describes in plain words what is allowed."""
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
                given = f' is {value!r} ({type(value).__name__})'
                _raise([Problem((), given, self.describe(source))])
            _raise(self.problems(value, scope))
            return value

        return core_schema.with_info_plain_validator_function(validate)


class Component(_Annotation):
    """Annotates the config of a component: `Annotated[dict, Component('poolings')]`.

    `Annotated[str | dict, ...]` also accepts just its name, and `Annotated[dict | None, ...]` also None.

    Args:
        kind: one of `KINDS`.
        default: the component to use if the config has no `type`.
        **own: annotations of extra keys in the same dict that the parent reads, such as a neck's `inputs`.
    """

    def __init__(self, kind: str, default: str = '', **own: Any) -> None:
        self.kind, self.default, self.own = kind, default, own

    def describe(self, hint: Any) -> str:
        words = {str: ', or its name', type(None): ', or None'}
        return f"dict(type='...', ...), one of the {self.kind}" + ''.join(words.get(o, '') for o in _options(hint))

    def problems(self, value: Mapping[str, Any], scope: Scope) -> list[Problem]:
        if scope.components is None:
            return []
        if self.kind not in KINDS:
            text = f': its Component names {self.kind!r}, which is not a component kind'
            return [Problem((), text, ', '.join(KINDS), error=UnknownName)]
        config = {'type': self.default, **value} if self.default else value
        if 'type' not in config:
            text = f': expected a component, got {value!r}'
            return [Problem((), text, "dict(type='Name', ...)", 'set {path}.type', error=MissingKey)]
        try:
            signature = signature_of(scope.components.get(self.kind, config['type']))
        except VireidError as error:
            return [Problem((), f': {error.given}', error.allowed or '', error.todo or '', error=type(error))]
        own = {key: Parameter(hint) for key, hint in self.own.items()}
        signature = replace(signature, parameters={**signature.parameters, **own})
        arguments = {key: item for key, item in config.items() if key != 'type'}
        supplied, optional = given(self.kind) - set(own), INTERFACES[self.kind].defaults
        return _problems(signature, arguments, scope.components, supplied, optional)


class ArgumentsOf(_Annotation):
    """Annotates a dict of arguments for the component that a sibling argument names.

    Args:
        part: name of the sibling argument.
        kind: component kind of the sibling.
    """

    def __init__(self, part: str, kind: str) -> None:
        self.part, self.kind = part, kind

    def problems(self, value: Mapping[str, Any], scope: Scope) -> list[Problem]:
        other = scope.beside.get(self.part)
        name = other.get('type') if isinstance(other, Mapping) else other
        try:
            if scope.components is None:
                return []
            signature = signature_of(scope.components.get(self.kind, name))  # type: ignore[arg-type]
        except VireidError:  # reported for the sibling
            return []
        known = {n: Parameter(p.hint) for n, p in signature.parameters.items() if n not in given(self.kind)}
        return _problems(replace(signature, parameters=known), value, scope.components, noun='setting')


class Section(_Annotation):
    """Annotates a dict of the settings in a dataclass."""

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
    """Validates the arguments of `target`.

    Args:
        target: the class or function to be called, or its signature.
        arguments: the arguments in the config.
        where: config path of the arguments, for messages; empty for the config itself.
        components: known components, to validate nested configs at any depth; None checks only the arguments.
        supplied: arguments that the framework passes, such as `inputs` or `num_identities`; a config must not set them.
        optional: arguments that the framework passes unless the config sets them.
        filled: paths that may be missing because they are set elsewhere, such as `dataset.root` by a flag.
        noun: word for an argument in messages.

    Returns:
        One error for each unknown, mistyped or missing argument; empty if all are valid.
    """
    signature = target if isinstance(target, Signature) else signature_of(target)
    errors = []
    for problem in _problems(signature, arguments, components, supplied, optional, noun):
        path = '.'.join(map(str, [where, *problem.place] if where else problem.place))
        if problem.missing and join(path, problem.missing) in filled:
            continue
        given = f'{path}{problem.given}' if path else problem.given.removeprefix(': ')
        todo = problem.todo.replace('{path}.', f'{path}.' if path else '')
        place = join(path, problem.missing) if problem.missing else path
        errors.append(problem.error(given, allowed=problem.allowed, todo=todo, path=place))
    return errors


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
    """Validates arguments against a signature with pydantic; returns its errors in our wording."""
    known = {name: p for name, p in signature.parameters.items() if name not in supplied}
    fields = [(name, p.hint, p.required and name not in optional) for name, p in known.items()]
    if signature.open_ended:
        fields += [(key, signature.rest, False) for key in arguments if key not in signature.parameters]
    try:
        adapter = adapter_of(tuple(fields))
        adapter.validate_json(as_json(arguments), strict=True, context=Scope(components, arguments))
    except ValidationError as error:
        problems = list(_in_words(error, signature, arguments, supplied, known, noun))
        deeper = {q.place[:n] for q in problems for n in range(1, len(q.place))}
        # for a union, the nested error of the intended option is more specific
        return [p for p in problems if not (p.error is WrongValue and p.place in deeper)]
    except ValueError as error:  # an integer with thousands of digits
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
    if any(not line['loc'] for line in lines):  # for example nested too deeply
        yield Problem((), f': {lines[0]["msg"]}')
        return
    nested = {line['loc'][0] for line in lines if line['type'] == 'problem' and line['loc']}
    reported: set[Any] = set()
    for line in lines:
        key, kind = line['loc'][0], line['type']
        if kind == 'problem':
            yield Problem(**{**line['ctx'], 'place': tuple(_resolved(line['loc'], arguments))})
        elif kind == 'extra_forbidden' and len(line['loc']) == 1:
            if key in supplied and key in signature.parameters:
                todo = f'remove {key} from the config'
                yield Problem((key,), ' is set by the framework', todo=todo, error=UnknownKey)
                continue
            allowed = sorted(known) or [f'no {noun}s']
            whose = f'{signature.name} has' if signature.name else 'there is'
            given = f': {whose} no {noun} {key!r}{did_you_mean(str(key), known)}'
            yield Problem((key,), given, ', '.join(allowed), error=UnknownKey)
        elif kind == 'missing' and len(line['loc']) == 1:
            hint = known[str(key)].hint
            expected = f' ({describe(hint)})' if hint is not Any else ''
            whose = signature.name or 'the section'
            yield Problem(
                (), f': {whose} needs the {noun} {key!r}{expected}', '', f'set {{path}}.{key}', str(key), MissingKey
            )
        elif key not in nested and key not in reported:
            reported.add(key)
            hint, value = known[str(key)].hint if key in known else signature.rest, arguments[str(key)]
            yield Problem((key,), f' is {value!r} ({type(value).__name__})', describe(hint))


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _resolved(place: Sequence[Any], value: Any) -> Iterator[str | int]:
    """Yields only the keys of a pydantic location, without the names of union options."""
    for key in place:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            continue
        yield key


def _raise(problems: Sequence[Problem]) -> None:
    """Raises problems as a pydantic error, so that pydantic adds the location of the dict."""
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
