"""What a call takes: `inspect`'s signature, with `**kwargs` followed to the class they are handed on to."""

from __future__ import annotations

import collections.abc
import contextlib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


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
    """

    name: str
    parameters: Mapping[str, Parameter]
    open_ended: bool = False
    rest: Any = Any


@cache
def signature_of(target: Callable[..., Any]) -> Signature:
    """Returns the signature of a class or function; the same object each time, so that what it checks is made once."""
    name = getattr(target, '__name__', str(target))
    try:
        found = inspect.signature(target).parameters
    except ValueError:  # some functions written in C do not tell; they refuse for themselves
        return Signature(name, {}, open_ended=True)
    hints = _hints(target)
    # those that have a constructor of their own, nearest first
    classes = [cls for cls in getattr(target, '__mro__', (object,))[:-1] if '__init__' in vars(cls)]
    if classes and _takes_nothing(classes[0]):
        found = {}  # type: ignore[assignment]
    parameters, rest = _named(found, hints), _rest(found)
    for cls in classes[1:]:  # `**kwargs` without an annotation is handed on to the next class
        if rest is None or rest.annotation is not rest.empty:
            break
        rest, hints = None, _hints(cls)
        if not _takes_nothing(cls):
            with contextlib.suppress(ValueError):  # written in C: building tells
                handed = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
                own = {n: p for n, p in handed.items() if n != next(iter(handed))}  # without self
                # not required: the class that hands the rest on may give some itself
                known = {n: Parameter(p.hint) for n, p in _named(own, hints).items()}
                parameters, rest = {**known, **parameters}, _rest(own)
    open_ended = rest is not None and rest.annotation is not rest.empty
    return Signature(name, parameters, open_ended, hints.get(rest.name, Any) if open_ended and rest else Any)


def names_argument(call: Any, name: str) -> bool:
    """Says whether a function, a module's `forward` or an object's `__call__` has an argument of that name.

    What a component may do without is handed to those that name it: `context` to a loss, `modality` to a transform.
    """
    forward = getattr(type(call), 'forward', None)
    try:
        return name in inspect.signature(forward or call).parameters
    except (TypeError, ValueError):  # written in C
        return False


def _takes_nothing(cls: type) -> bool:
    """Says whether a constructor takes any keyword only to refuse it."""
    return (cls.__module__, cls.__qualname__) == ('torch.nn.modules.module', 'Module')


def _named(found: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: Parameter(hints.get(n, Any), p.default is p.empty) for n, p in found.items() if p.kind in kinds}


def _rest(found: Mapping[str, inspect.Parameter]) -> inspect.Parameter | None:
    return next((p for p in found.values() if p.kind is p.VAR_KEYWORD), None)


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a hint that exists for type checkers only: the others still hold
        hints = {}
        # torch imports `Iterable` for type checkers alone
        names = {**vars(typing), **vars(collections.abc), **getattr(function, '__globals__', {})}
        for name, hint in getattr(function, '__annotations__', {}).items():
            with contextlib.suppress(Exception):
                hints[name] = eval(hint, names) if isinstance(hint, str) else hint  # noqa: S307, an annotation in code
        return hints
