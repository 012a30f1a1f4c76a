"""Descriptions of components for `vireid components`, from their docstrings and signatures."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Argument:
    """One argument of a component.

    Attributes:
        name: its key in a config.
        type: its annotation as written; empty if there is none.
        default: its default as written; None if it is required.
        text: its description in the docstring.
    """

    name: str
    type: str
    default: str | None
    text: str = ''


@dataclass(frozen=True)
class Description:
    """The description of a component.

    Attributes:
        place: `module:attribute` of its definition.
        summary: the first paragraph of its docstring, on one line; empty if it has none.
        text: the docstring up to its first section.
        arguments: its arguments, in order.
    """

    place: str
    summary: str = ''
    text: str = ''
    arguments: tuple[Argument, ...] = ()

    def signature(self, without: Collection[str] = ()) -> str:
        """Returns the arguments as written in a call, except for those in `without`."""
        shown = [a for a in self.arguments if a.name not in without]
        return ', '.join(a.name if a.default is None else f'{a.name}={a.default}' for a in shown)


def describe(target: Callable[..., Any]) -> Description:
    """Describes a class or function; without arguments if it is written in C and has no signature."""
    text = inspect.getdoc(target) or ''
    texts = _arguments_of(text)
    if not texts and isinstance(target, type):
        texts = _arguments_of(inspect.getdoc(target.__init__) or '')  # type: ignore[misc]
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except ValueError:
        parameters = []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    arguments = tuple(
        Argument(p.name, _type(p.annotation), _default(p.default), texts.get(p.name, ''))
        for p in parameters
        if p.kind not in variable
    )
    first = re.split(r'\n\s*\n(?=(?:Args|Returns|Raises|Attributes|Yields|Shape|Example):?\s*\n|\.\. )', text)[
        0
    ].strip()
    named = inspect.isclass(target) or inspect.isroutine(target)
    place = f'{target.__module__}:{target.__qualname__}' if named else repr(target)
    return Description(place, first.split('\n\n')[0].replace('\n', ' ').strip(), first, arguments)


def _type(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ''
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(default: Any) -> str | None:
    if default is inspect.Parameter.empty:
        return None
    return default.__qualname__ if inspect.isclass(default) or inspect.isroutine(default) else repr(default)


def _arguments_of(text: str) -> dict[str, str]:
    """Parses the `Args:` section of a docstring."""
    section = re.search(r'^\s*Args:\s*\n((?:[ \t]+.*\n?|\s*\n)+)', text, re.MULTILINE)
    if section is None:
        return {}
    lines = inspect.cleandoc('\n' + section.group(1)).splitlines()
    texts: dict[str, str] = {}
    name = ''
    for line in lines:
        start = re.match(r'\*{0,2}(\w+)\s*(?:\(.*?\))?:\s*(.*)', line)
        if start and not line.startswith(' '):
            name, texts[start.group(1)] = start.group(1), start.group(2)
        elif name and line.startswith(' '):
            texts[name] = f'{texts[name]} {line.strip()}'
        elif line.strip():
            name = ''
    return texts
