"""Signatures of components: as in `inspect`, with `**kwargs` resolved to the base class that receives them."""

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
    """One argument: its type hint (`Any` without an annotation), and whether it is required."""

    hint: Any = Any
    required: bool = False


@dataclass(frozen=True)
class Signature:
    """The arguments of a class or function.

    Attributes:
        name: name of the class or function, for messages.
        parameters: parameters by name, in order.
        open_ended: whether it accepts other names too, as with an annotated `**settings: float`.
        rest: type hint of these other names.
    """

    name: str
    parameters: Mapping[str, Parameter]
    open_ended: bool = False
    rest: Any = Any


@cache
def signature_of(target: Callable[..., Any]) -> Signature:
    """Returns the signature of a class or function. Cached, so that validators built from it are cached too."""
    name = getattr(target, '__name__', str(target))
    try:
        own = inspect.signature(target).parameters
    except ValueError:  # some functions written in C have no signature; they check their arguments themselves
        return Signature(name, {}, open_ended=True)
    hints = _hints(target)
    # classes that define a constructor, in method resolution order
    classes = [c for c in (target.__mro__[:-1] if isinstance(target, type) else ()) if '__init__' in vars(c)]
    if classes and _takes_nothing(classes[0]):
        own = {}  # type: ignore[assignment]
    parameters, rest = _named(own, hints), _rest(own)
    for cls in classes[1:]:  # `**kwargs` without an annotation are passed on to the next class
        if rest is None or rest.annotation is not rest.empty:
            break
        rest, hints = None, _hints(cls)
        if not _takes_nothing(cls):
            with contextlib.suppress(ValueError):  # written in C: it checks its arguments when it is built
                inherited = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
                own = {n: p for n, p in inherited.items() if n != next(iter(inherited))}  # type: ignore[assignment]
                # not required: the subclass may pass some of them itself
                known = {n: Parameter(p.hint) for n, p in _named(own, hints).items()}
                parameters, rest = {**known, **parameters}, _rest(own)
    open_ended = rest is not None and rest.annotation is not rest.empty
    return Signature(name, parameters, open_ended, hints.get(rest.name, Any) if open_ended and rest else Any)


def names_argument(call: Any, name: str) -> bool:
    """Returns whether a function, a module's `forward` or an object's `__call__` has an argument of this name.

    Optional inputs are passed only to components that name them: `context` to a loss, `modality` to a transform.
    """
    forward = getattr(type(call), 'forward', None)
    try:
        return name in inspect.signature(forward or call).parameters
    except (TypeError, ValueError):  # written in C
        return False


def named_arguments(call: Any, *names: str) -> tuple[str, ...]:
    """Returns those of the names that a component has as arguments; see `names_argument`."""
    return tuple(name for name in names if names_argument(call, name))


def _takes_nothing(cls: type) -> bool:
    """Returns whether a constructor accepts any keyword only to reject it, as that of `nn.Module` does."""
    return (cls.__module__, cls.__qualname__) == ('torch.nn.modules.module', 'Module')


def _named(parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: Parameter(hints.get(n, Any), p.default is p.empty) for n, p in parameters.items() if p.kind in kinds}


def _rest(parameters: Mapping[str, inspect.Parameter]) -> inspect.Parameter | None:
    return next((p for p in parameters.values() if p.kind is p.VAR_KEYWORD), None)


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # one hint is only defined for type checkers: evaluate the others one by one
        hints = {}
        # torch imports `Iterable` only for type checkers
        names = {**vars(typing), **vars(collections.abc), **getattr(function, '__globals__', {})}
        for name, hint in inspect.get_annotations(function).items():
            with contextlib.suppress(Exception):
                hints[name] = eval(hint, names) if isinstance(hint, str) else hint  # noqa: S307, an annotation in code
        return hints
