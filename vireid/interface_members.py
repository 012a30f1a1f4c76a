"""Required and optional members: the building blocks of the interfaces in `interfaces.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, overload

T = TypeVar('T')


class Must(Generic[T]):
    """A required attribute.

    Args:
        description: text for messages.
        is_valid: returns whether a value is valid.
    """

    def __init__(self, description: str, is_valid: Callable[[Any], bool]) -> None:
        self.description, self.is_valid, self.name = description, is_valid, ''

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, component: None, owner: type) -> Must[T]: ...
    @overload
    def __get__(self, component: object, owner: type) -> T: ...
    def __get__(self, component: object | None, owner: type) -> Must[T] | T:
        if component is None:
            return self
        raise AttributeError(f'{type(component).__name__} has no {self.name}')


class May(Generic[T]):
    """An optional attribute or method. `Neck.train_only(neck)` returns the neck's value, or the default.

    Args:
        default: value for a component without this member.
        description: text for messages and docs.
    """

    def __init__(self, default: T, description: str) -> None:
        self.default, self.description, self.name = default, description, ''

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, component: None, owner: type) -> May[T]: ...
    @overload
    def __get__(self, component: object, owner: type) -> T: ...
    def __get__(self, component: object | None, owner: type) -> May[T] | T:
        return self if component is None else self.default

    def __call__(self, component: object) -> T:
        value = getattr(component, self.name, self.default)
        return self.default if value is self else value  # the class inherits from the interface


class Interface:
    """Base class of all interfaces.

    Attributes:
        given: values that the framework passes to a constructor with a parameter of that name.
        defaults: the same, but a config can override them.
        module: whether the component is a `torch.nn.Module`.
    """

    given: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[bool] = False

    @classmethod
    def required(cls) -> dict[str, tuple[str, Callable[[Any], bool]]]:
        """Returns, for each required member, its description and a function that checks a value."""
        parts: dict[str, tuple[str, Callable[[Any], bool]]] = {}
        for name, part in vars(cls).items():
            if isinstance(part, Must):
                parts[name] = part.description, part.is_valid
            elif inspect.isfunction(part) and name != 'forward':  # every module has one
                takes = str(inspect.signature(part)).replace("'", '').replace('(self, ', '(').replace('(self)', '()')
                parts[name] = f'a method {name}{takes}', _is_own(part)
        return parts

    @classmethod
    def optional(cls) -> dict[str, May[Any]]:
        """Returns the optional members by name."""
        return {name: part for name, part in vars(cls).items() if isinstance(part, May)}


def _is_own(stub: Callable[..., Any]) -> Callable[[Any], bool]:
    return lambda value: callable(value) and (value.__func__ if inspect.ismethod(value) else value) is not stub


def of_type(kind: type) -> Callable[[Any], bool]:
    """Returns a check for instances of a class."""
    return lambda value: isinstance(value, kind)


def all_of_type(kind: type) -> Callable[[Any], bool]:
    """Returns a check for non-empty dicts whose values have exactly this class."""
    return lambda value: isinstance(value, Mapping) and bool(value) and all(type(v) is kind for v in value.values())
