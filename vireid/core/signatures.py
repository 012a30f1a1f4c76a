"""Checks arguments from a config against the signature of what they are meant for, before anything is built."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from vireid.core.errors import VireidError, did_you_mean


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the named parameters of a class or function; `**kwargs` appears under its own name."""
    try:
        found = inspect.signature(target).parameters
    except ValueError:  # some functions written in C do not tell; they refuse for themselves
        return {'kwargs': inspect.Parameter('kwargs', inspect.Parameter.VAR_KEYWORD)}
    return {name: p for name, p in found.items() if p.kind is not inspect.Parameter.VAR_POSITIONAL}


def check(
    target: Callable[..., Any], arguments: Mapping[str, Any], *, supplied: Collection[str] = (), where: str
) -> list[VireidError]:
    """Finds every argument that `target` would not take.

    Args:
        target: the class or function to be called.
        arguments: what the config says.
        supplied: names the framework fills in (such as `inputs` or `num_identities`); never missing.
        where: path in the config, for the messages.

    Returns:
        One error for each unknown, mistyped or missing argument; empty if the call is sound.
    """
    known = parameters(target)
    name = getattr(target, '__name__', str(target))
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    named = {n: p for n, p in known.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    settable = sorted(set(named) - set(supplied)) or ['no arguments']
    hints = _hints(target)
    problems = []
    for key, value in arguments.items():
        if key not in named:
            if not open_ended:
                problems.append(
                    VireidError(
                        f'{where}.{key}: {name} has no argument {key!r}{did_you_mean(key, settable)}',
                        allowed=', '.join(settable),
                    )
                )
        elif key in hints and not accepts(hints[key], value):
            problems.append(
                VireidError(
                    f'{where}.{key}: {name} was given {value!r} ({type(value).__name__})', allowed=describe(hints[key])
                )
            )
    for key, parameter in named.items():
        if parameter.default is inspect.Parameter.empty and key not in arguments and key not in supplied:
            expected = f' ({describe(hints[key])})' if key in hints else ''
            problems.append(
                VireidError(f'{where}: {name} needs the argument {key!r}{expected}', todo=f'set {where}.{key}')
            )
    return problems


def raise_all(problems: Sequence[VireidError]) -> None:
    """Raises one error that shows all `problems`; does nothing if there are none."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise VireidError('\n'.join(str(problem) for problem in problems))


def accepts(hint: Any, value: Any) -> bool:
    """Says whether a plain config value fits a type hint; hints it does not understand accept anything.

    Lists and tuples are interchangeable and an int passes for a float, since YAML and the command line write them so.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    if origin in (Union, types.UnionType):
        return any(accepts(option, value) for option in inner)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in inner)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint is Path:
        return isinstance(value, (str, Path))
    container = origin or hint
    if not isinstance(container, type):
        return True
    if issubclass(container, Mapping):
        if not isinstance(value, Mapping):
            return False
        return not inner or all(accepts(inner[0], k) and accepts(inner[1], v) for k, v in value.items())
    if issubclass(container, (list, tuple)) or container in (Sequence, Collection):
        if not isinstance(value, (list, tuple)):
            return False
        if issubclass(container, tuple) and inner and inner[-1] is not Ellipsis:
            return len(value) == len(inner) and all(map(accepts, inner, value))
        return not inner or all(accepts(inner[0], item) for item in value)
    return True


def describe(hint: Any) -> str:
    """Says a type hint in a user's words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return 'None'
    if origin in (Union, types.UnionType):
        return ' or '.join(describe(option) for option in inner)
    if origin is Literal:
        return ', '.join(repr(option) for option in inner)
    container = origin or hint
    if isinstance(container, type) and issubclass(container, Mapping):
        return f'a dict of {describe(inner[1])}' if inner else 'a dict'
    if isinstance(container, type) and container is not str and issubclass(container, Sequence):
        if not inner:
            return 'a list'
        if container is tuple and inner[-1] is not Ellipsis:
            return '(' + ', '.join(map(describe, inner)) + ')'
        return f'a list of {describe(inner[0])}'
    return {float: 'a number', int: 'an integer', bool: 'True or False', str: 'a string', Path: 'a path'}.get(
        container, getattr(container, '__name__', str(container))
    )


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # a hint that exists for type checkers only
        return {}
