"""Signatures as schemas: what a component's arguments may be, and which of a config's values do not fit.

An annotation says all there is to know: `channels: int`, `pool: Annotated[str | dict, Part('poolings')]`.
"""

from __future__ import annotations

import contextlib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from vireid.core.errors import VireidError, did_you_mean


class Part:
    """In an annotation, says that a config describes a component: `Annotated[dict, Part('poolings')]`.

    Args:
        kind: one of the registry's kinds.
        default: the component that is meant if the config has no `type`.
        **own: annotations of the keys that the owner keeps in the same dict for itself, such as a neck's `inputs`.
    """

    def __init__(self, kind: str, default: str = '', **own: Any) -> None:
        self.kind, self.default, self.own = kind, default, own


@dataclass(frozen=True)
class ArgumentsOf:
    """In an annotation, says that a dict holds some arguments of another argument's component.

    Attributes:
        part: name of the other argument.
        kind: what its component is.
    """

    part: str
    kind: str


@dataclass(frozen=True)
class Parameter:
    """One argument: what it may be (`Any` if nobody says), and whether it has to be given."""

    hint: Any = Any
    required: bool = False


@dataclass(frozen=True)
class Signature:
    """What a call takes.

    Attributes:
        name: of the class or function, for messages.
        parameters: by name, in order.
        open_ended: it takes other names too, and says what they are: `**settings: float`.
        rest: what other names may be, if it takes any.
        constants: what the class says of itself in plain values, such as `layout = 'paired'`.
        noun: what a parameter is called in messages.
    """

    name: str
    parameters: Mapping[str, Parameter]
    open_ended: bool = False
    rest: Any = Any
    constants: Mapping[str, Any] = field(default_factory=dict)
    noun: str = 'argument'


def signature_of(target: Callable[..., Any], noun: str = 'argument') -> Signature:
    """Returns the signature of a class or function that is imported."""
    name = getattr(target, '__name__', str(target))
    try:
        found = inspect.signature(target).parameters
    except ValueError:  # some functions written in C do not tell; they refuse for themselves
        return Signature(name, {}, open_ended=True, noun=noun)
    hints, classes = _hints(target), _constructing(target) if isinstance(target, type) else []
    if classes and no_arguments(f'{classes[0].__module__}:{classes[0].__qualname__}.__init__'):
        found = {}  # type: ignore[assignment]
    parameters, rest = _named(found, hints), _rest(found)
    for cls in classes[1:]:  # `**kwargs` that says nothing of itself is handed on to the next class
        if rest is None or rest.annotation is not rest.empty:
            break
        rest, hints = None, _hints(cls)
        if not no_arguments(f'{cls.__module__}:{cls.__qualname__}.__init__'):
            with contextlib.suppress(ValueError):  # written in C: building tells
                handed = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
                own = {n: p for n, p in handed.items() if n != next(iter(handed))}  # without self
                # not required: the class that hands the rest on may give some itself
                known = {n: Parameter(p.hint) for n, p in _named(own, hints).items()}
                parameters, rest = {**known, **parameters}, _rest(own)
    open_ended = rest is not None and rest.annotation is not rest.empty
    return Signature(
        name,
        parameters,
        open_ended,
        hints.get(rest.name, Any) if open_ended and rest else Any,
        _constants(target) if isinstance(target, type) else {},
        noun,
    )


def _constructing(target: type) -> list[type]:
    """Returns the classes of a class's line that have a constructor of their own, nearest first."""
    return [cls for cls in target.__mro__[:-1] if '__init__' in vars(cls)]


def _named(found: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: Parameter(hints.get(n, Any), p.default is p.empty) for n, p in found.items() if p.kind in kinds}


def _rest(found: Mapping[str, inspect.Parameter]) -> inspect.Parameter | None:
    return next((p for p in found.values() if p.kind is p.VAR_KEYWORD), None)


def check(
    target: Callable[..., Any] | Signature,
    arguments: Mapping[str, Any],
    *,
    supplied: Collection[str] = (),
    optional: Collection[str] = (),
    where: str,
    check_value: Callable[[Any, Any, str], list[VireidError]] | None = None,
) -> list[VireidError]:
    """Finds every argument that `target` would not take.

    Args:
        target: the class or function to be called, or its signature.
        arguments: what the config says.
        supplied: names the framework fills in (such as `inputs` or `num_identities`); never missing.
        optional: names it fills in unless the config does; never missing, and offered.
        where: path in the config, for the messages; empty for the config itself.
        check_value: finds what is wrong with one value, given (hint, value, path); looks at its type if None.

    Returns:
        One error for each unknown, mistyped or missing argument; empty if the call is sound.
    """
    signature = target if isinstance(target, Signature) else signature_of(target)
    known = signature.parameters
    settable = sorted(set(known) - set(supplied)) or [f'no {signature.noun}s']
    problems = []
    for key, value in arguments.items():
        path = join(where, key)
        if key in known:
            problems += (check_value or check_type)(known[key].hint, value, path)
        elif signature.open_ended:
            problems += (check_value or check_type)(signature.rest, value, path)
        else:
            problems.append(
                VireidError(
                    f'{path}: {signature.name} has no {signature.noun} {key!r}{did_you_mean(key, settable)}',
                    allowed=', '.join(settable),
                )
            )
    for key, parameter in known.items():
        if parameter.required and key not in {*arguments, *supplied, *optional}:
            expected = f' ({describe(parameter.hint)})' if parameter.hint is not Any else ''
            place = f'{where}: ' if where else ''
            problems.append(
                VireidError(
                    f'{place}{signature.name} needs the {signature.noun} {key!r}{expected}',
                    todo=f'set {join(where, key)}',
                )
            )
    return problems


def check_type(hint: Any, value: Any, path: str) -> list[VireidError]:
    """Returns an error if a value does not fit a hint."""
    if accepts(hint, value):
        return []
    return [VireidError(f'{path} is {value!r} ({type(value).__name__})', allowed=describe(hint))]


def join(where: str, key: Any) -> str:
    """Returns the path of a key."""
    return f'{where}.{key}' if where else str(key)


def raise_all(problems: Sequence[VireidError]) -> None:
    """Raises one error that shows all `problems`; does nothing if there are none."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise VireidError('\n'.join(str(problem) for problem in problems))


_LISTS: tuple[Any, ...] = (Sequence, Collection, Iterable)  # a text is none of these here


def accepts(hint: Any, value: Any) -> bool:
    """Says whether a plain config value fits a type hint; hints it does not understand accept anything.

    Lists and tuples are interchangeable and an int passes for a float, since YAML and the command line write them so.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return accepts(inner[0], value)
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (Union, types.UnionType):
        return any(accepts(option, value) for option in inner)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in inner)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # no NaN
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint is Path:
        return isinstance(value, (str, Path))
    container = origin or hint
    if not isinstance(container, type):
        return True
    if issubclass(container, str):  # such as an enumeration of texts
        return isinstance(value, str)
    if issubclass(container, Mapping):
        if not isinstance(value, Mapping):
            return False
        return not inner or all(accepts(inner[0], k) and accepts(inner[1], v) for k, v in value.items())
    if issubclass(container, (list, tuple)) or container in _LISTS:
        if not isinstance(value, (list, tuple)):
            return False
        if issubclass(container, tuple) and inner and inner[-1] is not Ellipsis:
            return len(value) == len(inner) and all(map(accepts, inner, value))
        return not inner or all(accepts(inner[0], item) for item in value)
    try:
        return isinstance(value, container)
    except TypeError:  # a protocol, say
        return True


def describe(hint: Any) -> str:
    """Says a type hint in a user's words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        part = next((m for m in hint.__metadata__ if isinstance(m, Part)), None)
        if part is None:
            return describe(inner[0])
        options = typing.get_args(inner[0])
        return f"dict(type='...', ...), one of {part.kind}" + ''.join(
            words for option, words in ((str, ', or its name'), (type(None), ', or None')) if option in options
        )
    if hint is None or hint is type(None):
        return 'None'
    if origin in (Union, types.UnionType):
        # a class of anyone's, such as a tensor, can stand in no config
        words = dict.fromkeys(describe(o) for o in inner if not _is_foreign(o))
        return ' or '.join(words or dict.fromkeys(map(describe, inner)))
    if origin is Literal:
        return ', '.join(repr(option) for option in inner)
    container = origin or hint
    if isinstance(container, type) and issubclass(container, Mapping):
        return f'a dict of {describe(inner[1])}' if inner else 'a dict'
    if (
        isinstance(container, type)
        and container is not str
        and (issubclass(container, Sequence) or container in _LISTS)
    ):
        if not inner:
            return 'a list'
        if container is tuple and inner[-1] is not Ellipsis:
            return '(' + ', '.join(map(describe, inner)) + ')'
        return f'a list of {describe(inner[0])}'
    return {float: 'a number', int: 'an integer', bool: 'True or False', str: 'a string', Path: 'a path'}.get(
        container, getattr(container, '__name__', str(container))
    )


def _constants(target: type) -> dict[str, Any]:
    every = {n: v for cls in reversed(target.__mro__) for n, v in vars(cls).items()}
    return {n: v for n, v in every.items() if isinstance(v, (str, bool)) and not n.startswith('__')}


def _is_foreign(hint: Any) -> bool:
    plain = (bool, int, float, str, list, tuple, dict, type(None), Path, Mapping, Sequence, Collection)
    return isinstance(hint, type) and typing.get_origin(hint) is None and hint not in plain


def no_arguments(place: str) -> bool:
    """Says whether the `__init__` at `module:qualified name` takes any keyword only to refuse it."""
    return place == 'torch.nn.modules.module:Module.__init__'


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a hint that exists for type checkers only: the others still hold
        hints = {}
        names = getattr(function, '__globals__', {})
        for name, hint in getattr(function, '__annotations__', {}).items():
            with contextlib.suppress(Exception):
                hints[name] = eval(hint, names) if isinstance(hint, str) else hint
        return hints
