"""Type hints as pydantic checks them and as messages say them."""

from __future__ import annotations

import json
import numbers
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Required, Union

from annotated_types import BaseMetadata
from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticCustomError, SchemaError
from typing_extensions import TypedDict

_LISTS: tuple[Any, ...] = (Sequence, Collection, Iterable)


def adapter_of(fields: tuple[tuple[str, Any, bool], ...]) -> TypeAdapter:
    """Returns pydantic's checker of a dict with these (key, hint, required) and no others."""
    try:
        return _adapter(fields)
    except Exception:  # a hint that cannot be hashed, or that pydantic does not understand: the others still hold
        return _adapter.__wrapped__(tuple((key, hint if _is_understood(hint) else Any, r) for key, hint, r in fields))


@cache
def _adapter(fields: tuple[tuple[str, Any, bool], ...]) -> TypeAdapter:
    items = {key: (Required if required else NotRequired)[checkable(hint)] for key, hint, required in fields}
    made = TypedDict('Arguments', items)  # type: ignore[misc]
    made.__pydantic_config__ = ConfigDict(extra='forbid', strict=True)  # type: ignore[attr-defined]
    return TypeAdapter(made)


def _is_understood(hint: Any) -> bool:
    try:
        TypeAdapter(checkable(hint))
    except Exception:  # pydantic and typing have many of their own
        return False
    return True


def as_json(value: Any) -> str:
    """Writes a config's value as JSON, in whose strict mode an int is a float and a list a tuple, but '5' no 5."""
    return json.dumps(_without_nan(value), default=lambda other: str(other) if isinstance(other, Path) else None)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else _NO_KEY: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return 'nan' if isinstance(value, float) and value != value else value  # no number to anybody


_NO_KEY = '\0'  # a key that is no text fits no hint


def checkable(hint: Any) -> Any:
    """Returns a hint that pydantic can check: without classes that no config can hold, and with lists for sequences."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is object or isinstance(hint, (str, typing.ForwardRef, typing.TypeVar)):
        return Any
    if origin is Annotated:
        if any(hasattr(m, '__get_pydantic_core_schema__') for m in hint.__metadata__):
            return hint
        limits = [m for m in hint.__metadata__ if isinstance(m, BaseMetadata)]  # such as annotated_types.Ge(1)
        return Annotated[(checkable(inner[0]), *limits)] if limits else checkable(inner[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(map(checkable, inner))]  # noqa: UP007
    if origin is Literal:
        return _one_of(inner)
    if hint in (numbers.Number, numbers.Real):
        return Union[int, float]  # noqa: UP007
    container = origin or hint
    if container in _LISTS:
        return list[checkable(inner[0])] if inner else list  # type: ignore[misc]
    if container in (Mapping, MutableMapping, dict):
        return dict[_key(inner[0]), checkable(inner[1])] if inner else dict  # type: ignore[misc]
    if container is Callable:
        return _never('a function')
    if container in (list, tuple, set, frozenset):
        return container[tuple(i if i is Ellipsis else checkable(i) for i in inner)] if inner else container
    try:
        TypeAdapter(hint)
    except (PydanticUserError, SchemaError, TypeError):
        protocol = getattr(hint, '_is_protocol', False) or not isinstance(container, type)
        return Any if protocol else _never(container.__name__)
    return hint


def _key(hint: Any) -> Any:
    def check(key: Any) -> Any:
        if key == _NO_KEY:
            raise PydanticCustomError('key', 'a key is no text')
        return key

    return Annotated[checkable(hint), BeforeValidator(check)]


def _one_of(options: tuple[Any, ...]) -> Any:
    def check(value: Any) -> Any:
        if not any(value == option and type(value) is type(option) for option in options):  # True is no 1
            raise PydanticCustomError('option', 'none of these')
        return value

    return Annotated[Any, BeforeValidator(check)]


def _never(name: str) -> Any:
    def refuse(value: Any) -> Any:
        raise PydanticCustomError('foreign', 'no value in a config is one of {name}', {'name': name})

    return Annotated[Any, BeforeValidator(refuse)]


def describe(hint: Any) -> str:
    """Says a type hint in a user's words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        told = [m.describe(inner[0]) for m in hint.__metadata__ if hasattr(m, 'describe')]
        return told[0] if told else describe(inner[0]) + _limits(hint.__metadata__)
    if hint is None or hint is type(None):
        return 'None'
    if origin in (Union, types.UnionType):
        # a class of anyone's, such as a tensor, can stand in no config
        words = dict.fromkeys(describe(option) for option in inner if not _is_foreign(option))
        return ' or '.join(words or dict.fromkeys(map(describe, inner)))
    if origin is Literal:
        return ', '.join(repr(option) for option in inner)
    container = origin or hint
    if isinstance(container, type) and issubclass(container, Mapping):
        return f'a dict of {describe(inner[1])}' if inner else 'a dict'
    listed = isinstance(container, type) and container is not str and issubclass(container, Sequence)
    if listed or container in _LISTS:
        if container is tuple and inner and inner[-1] is not Ellipsis:
            return '(' + ', '.join(map(describe, inner)) + ')'
        return f'a list of {describe(inner[0])}' if inner else 'a list'
    return {
        float: 'a number',
        int: 'an integer',
        bool: 'True or False',
        str: 'a string',
        Path: 'a path',
        numbers.Number: 'a number',
    }.get(container, getattr(container, '__name__', str(container)))


def _limits(metadata: Sequence[Any]) -> str:
    least, most = ([getattr(m, name) for m in metadata if hasattr(m, name)] for name in ('ge', 'le'))
    if least and most:
        return f' of {least[0]} to {most[0]}'
    return f' of at least {least[0]}' if least else f' of at most {most[0]}' if most else ''


def _is_foreign(hint: Any) -> bool:
    plain = (bool, int, float, str, list, tuple, dict, type(None), Path, numbers.Number, Mapping, Sequence, Collection)
    return isinstance(hint, type) and typing.get_origin(hint) is None and hint not in plain
