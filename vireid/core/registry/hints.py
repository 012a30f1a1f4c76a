"""Type hints: converted for validation by pydantic, and described in messages."""

from __future__ import annotations

import json
import math
import numbers
import sys
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Required, Union

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

_LISTS: tuple[Any, ...] = (Sequence, Collection, Iterable)


def adapter_of(fields: tuple[tuple[str, Any, bool], ...]) -> TypeAdapter:
    """Returns a pydantic validator for a dict with these (key, hint, required) fields and no others."""
    try:
        return _adapter(fields)
    except TypeError:  # an unhashable hint
        return _adapter.__wrapped__(fields)


@cache
def _adapter(fields: tuple[tuple[str, Any, bool], ...]) -> TypeAdapter:
    items = {key: (Required if required else NotRequired)[checkable(hint)] for key, hint, required in fields}
    arguments = TypedDict('arguments', items)  # type: ignore[misc]
    arguments.__pydantic_config__ = ConfigDict(extra='forbid', strict=True, allow_inf_nan=False)  # type: ignore[attr-defined]
    return TypeAdapter(arguments)


def as_json(value: Any) -> str:
    """Encodes a config value as JSON. In pydantic's strict JSON mode 5 is a valid float, but '5' is not a valid int.

    Raises:
        ValueError: for an integer with thousands of digits.
    """
    return json.dumps(_encodable(value), default=lambda other: str(other) if isinstance(other, Path) else None)


def _encodable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_encodable(key) if isinstance(key, str) else _NO_KEY: _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    if isinstance(value, str):
        return value.encode('utf-8', 'replace').decode()  # a file name may not be valid UTF-8
    infinite = isinstance(value, float) and value in (math.inf, -math.inf)  # accepted as a number, unlike NaN
    return math.copysign(sys.float_info.max, value) if infinite else value


_NO_KEY = '\0'  # replaces keys that are not strings; no hint accepts it


def checkable(hint: Any) -> Any:
    """Converts a hint to one that pydantic can validate: classes become instance checks, sequences become lists."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is object or isinstance(hint, (str, typing.ForwardRef, typing.TypeVar)):
        return Any
    if origin is Annotated:
        if any(hasattr(m, '__get_pydantic_core_schema__') for m in hint.__metadata__):
            return hint
        limits = [m for m in hint.__metadata__ if isinstance(m, (BaseMetadata, GroupedMetadata))]  # such as Ge(1)
        return Annotated[(checkable(inner[0]), *limits)] if limits else checkable(inner[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(map(checkable, inner))]  # noqa: UP007
    if origin is Literal:
        return _one_of(inner)
    if hint in (numbers.Number, numbers.Real):
        return Union[int, float]  # noqa: UP007
    if hint in (Any, None, type(None), int, float, bool, str, Path):
        return hint
    alias = hint.__supertype__ if isinstance(hint, typing.NewType) else getattr(hint, '__value__', None)  # type X = Y
    if alias is not None:
        return checkable(alias)
    container = origin or hint
    if not isinstance(container, type):
        return Any
    if issubclass(container, str):
        return str
    if issubclass(container, Mapping) or typing.is_typeddict(container):
        return dict[_key(inner[0]), checkable(inner[1])] if len(inner) == 2 else dict  # type: ignore[misc]
    if container is tuple and inner:
        return tuple[tuple(i if i is Ellipsis else checkable(i) for i in inner)]  # type: ignore[misc]
    if issubclass(container, (list, tuple)) or container in _LISTS:
        return list[checkable(inner[0])] if len(inner) == 1 else list  # type: ignore[misc]
    return _instance_of(int if container is numbers.Integral else container)


def _key(hint: Any) -> Any:
    def check(key: Any) -> Any:
        if key == _NO_KEY:
            raise PydanticCustomError('key', 'a key is not a string')
        return key

    return Annotated[checkable(hint), BeforeValidator(check)]


def _one_of(options: tuple[Any, ...]) -> Any:
    def check(value: Any) -> Any:
        if not any(value == option and type(value) is type(option) for option in options):  # True is not 1
            raise PydanticCustomError('option', 'none of these')
        return value

    return Annotated[Any, BeforeValidator(check)]


def _instance_of(container: type) -> Any:
    def check(value: Any) -> Any:
        try:
            fits = isinstance(value, container) and (container is not int or not isinstance(value, bool))
        except TypeError:  # a protocol that is not runtime-checkable
            fits = True
        if not fits:
            raise PydanticCustomError('foreign', 'another class')
        return value

    return Annotated[Any, BeforeValidator(check)]


def describe(hint: Any) -> str:
    """Describes a type hint in plain words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        descriptions = [m.describe(inner[0]) for m in hint.__metadata__ if hasattr(m, 'describe')]
        return descriptions[0] if descriptions else describe(inner[0]) + _limits(hint.__metadata__)
    if hint is None or hint is type(None):
        return 'None'
    if origin in (Union, types.UnionType):
        # a config cannot contain instances of other classes, such as tensors
        words = dict.fromkeys(describe(option) for option in inner if not _is_foreign(option))
        return ' or '.join(words or dict.fromkeys(map(describe, inner)))
    if origin is Literal:
        return ', '.join(repr(option) for option in inner)
    container = origin or hint
    if isinstance(container, type) and issubclass(container, Mapping):
        item = describe(inner[1]) if inner and inner[1] is not Any else ''
        return f'a dict of {_PLURALS.get(item, item)}' if item else 'a dict'
    listed = isinstance(container, type) and container is not str and issubclass(container, Sequence)
    if listed or container in _LISTS:
        if container is tuple and inner and inner[-1] is not Ellipsis:
            return '(' + ', '.join(map(describe, inner)) + ')'
        item = describe(inner[0]) if inner else ''
        return f'a list of {_PLURALS[item]}' if item in _PLURALS else f'a list, each item {item}' if item else 'a list'
    return {
        float: 'a number',
        int: 'an integer',
        bool: 'True or False',
        str: 'a string',
        Path: 'a path',
        numbers.Number: 'a number',
    }.get(container, getattr(container, '__name__', str(container)))


_PLURALS = {'a number': 'numbers', 'an integer': 'integers', 'a string': 'strings', 'a path': 'paths'}


def _limits(metadata: Sequence[Any]) -> str:
    words = {'ge': 'of at least', 'gt': 'above', 'le': 'of at most', 'lt': 'below'}  # attributes of annotated_types
    limits = {name: value for m in metadata for name in words if (value := getattr(m, name, None)) is not None}
    if set(limits) == {'ge', 'le'}:
        return f' from {limits["ge"]:,} to {limits["le"]:,}'
    return ''.join(f'{" and" if place else ""} {words[name]} {limits[name]}' for place, name in enumerate(limits))


def _is_foreign(hint: Any) -> bool:
    plain = (bool, int, float, str, list, tuple, dict, type(None), Path, numbers.Number, Mapping, Sequence, Collection)
    return isinstance(hint, type) and typing.get_origin(hint) is None and hint not in plain
