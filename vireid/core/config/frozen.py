"""Immutable config values, so that code that shares an experiment always sees the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, dataclass_transform

from vireid.errors import VireidError

T = TypeVar('T')


class Frozen(VireidError, AttributeError, TypeError):
    """An attempt to change a setting of an experiment, or to use a section as a dict."""


def _refuse(self: object, *args: Any, **kwargs: Any) -> NoReturn:
    name = args[0] if args and isinstance(args[0], str) else ''
    raise Frozen(
        f'{name or "a setting"} of an experiment cannot be changed in place',
        todo="derive another experiment: experiment.with_overrides({'training.steps': 5})",
    )


class FrozenDict(dict):
    """An immutable dict; copies and pickles of it are plain dicts."""

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (list(self.items()),)


class FrozenList(list):
    """An immutable list; copies and pickles of it are plain lists."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = extend = insert = pop = remove = _refuse  # type: ignore[assignment]
    reverse = sort = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (tuple(self),)


def freeze(value: Any) -> Any:
    """Returns an immutable copy of nested dicts, lists and tuples."""
    if isinstance(value, Mapping):
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return (FrozenList if isinstance(value, list) else tuple)(freeze(item) for item in value)
    return value


def thaw(value: Any) -> Any:
    """Returns a mutable copy of nested dicts, lists and tuples."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(thaw(item) for item in value)
    return value


def _no_keys(self: object, key: object) -> NoReturn:
    raise Frozen(
        f'{type(self).__name__} has no keys, and {key!r} was read as one', todo=f'read the attribute: settings.{key}'
    )


@dataclass_transform(frozen_default=True)
def section(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass whose error explains how to change a setting."""
    frozen = dataclass(frozen=True)(cls)
    frozen.__setattr__ = frozen.__delattr__ = _refuse  # type: ignore[assignment, method-assign]
    frozen.__getitem__ = _no_keys  # type: ignore[attr-defined, index]
    return frozen
