"""What a component is and takes, read from its source: nothing is imported, so listing and checking cost no torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

DEPTH = 8  # imports and base classes that are followed


@dataclass(frozen=True)
class Argument:
    """One argument of a component.

    Attributes:
        name: as configs write it.
        type: its annotation, as written; empty if there is none.
        default: its default, as written; None if it has to be given.
        text: what its docstring says of it.
    """

    name: str
    type: str
    default: str | None
    text: str = ''


@dataclass(frozen=True)
class Description:
    """What the source says of a component.

    Attributes:
        place: `module:attribute` of its definition.
        summary: the first line of its docstring; empty if it has none.
        text: the docstring up to its first section.
        arguments: in order.
    """

    place: str
    summary: str = ''
    text: str = ''
    arguments: tuple[Argument, ...] = ()

    def signature(self, without: Collection[str] = ()) -> str:
        """Returns the arguments as they would be written in a call, but for some."""
        shown = [a for a in self.arguments if a.name not in without]
        return ', '.join(a.name if a.default is None else f'{a.name}={a.default}' for a in shown)


def describe(target: str | Callable[..., Any]) -> Description:
    """Describes a component.

    Args:
        target: `module:attribute`, or a class or function that is there already.

    Returns:
        What could be found; of something written in C, or missing, the place alone.
    """
    if not isinstance(target, str):
        module, attribute = getattr(target, '__module__', ''), getattr(target, '__qualname__', '')
        found = find(module, attribute) if '.' not in attribute else None
        return _from_object(target, f'{module}:{attribute}') if found is None else _describe(*found)
    module, _, attribute = target.partition(':')
    found = find(module, attribute)
    return Description(target) if found is None else _describe(*found)


Definition = ast.ClassDef | ast.FunctionDef


def _describe(module: str, node: Definition) -> Description:
    function, text = _function(module, node), ast.get_docstring(node) or ''
    parts = re.split(r'\n\s*\n(?=(?:Args|Returns|Raises|Attributes|Yields|Shape|Example):?\s*\n|\.\. )', text)
    texts = _arguments_of(text)
    if function is not None and not texts:
        texts = _arguments_of(ast.get_docstring(function) or '')
    arguments = () if function is None else _arguments(function, isinstance(node, ast.ClassDef), texts)
    first = parts[0].strip()
    return Description(f'{module}:{node.name}', first.split('\n\n')[0].replace('\n', ' ').strip(), first, arguments)


def parameters_of(function: ast.FunctionDef, method: bool) -> list[tuple[ast.arg, ast.expr | None]]:
    """Returns what a function takes, each with its default or None; of a method, without the first."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    pairs = list(zip(positional, defaults, strict=True))[1 if method else 0 :]
    return pairs + list(zip(given.kwonlyargs, given.kw_defaults, strict=True))


def _arguments(function: ast.FunctionDef, method: bool, texts: dict[str, str]) -> tuple[Argument, ...]:
    return tuple(
        Argument(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else '',
            ast.unparse(default) if default is not None else None,
            texts.get(argument.arg, ''),
        )
        for argument, default in parameters_of(function, method)
    )


def _arguments_of(text: str) -> dict[str, str]:
    """Reads the `Args:` section of a docstring."""
    section = re.search(r'^\s*Args:\s*\n((?:[ \t]+.*\n?|\s*\n)+)', text, re.MULTILINE)
    if section is None:
        return {}
    lines = inspect.cleandoc('\n' + section.group(1)).splitlines()
    found: dict[str, str] = {}
    name = ''
    for line in lines:
        start = re.match(r'\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)', line)
        if start and not line.startswith(' '):
            name, found[start.group(1)] = start.group(1), start.group(2)
        elif name and line.startswith(' '):
            found[name] = f'{found[name]} {line.strip()}'
        elif line.strip():
            name = ''
    return found


def _function(module: str, node: Definition, depth: int = DEPTH) -> ast.FunctionDef | None:
    """Returns what is called to build a component: the function, or `__init__` of the class or of its first base."""
    if isinstance(node, ast.FunctionDef):
        return node
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == '__init__':
            return statement
    for base in node.bases if depth else ():
        name = ast.unparse(base)
        found = find(module, name) if '.' not in name else find_dotted(module, name)
        if found is not None and (function := _function(*found, depth - 1)) is not None:
            return function
    return None


def find_dotted(module: str, name: str) -> tuple[str, Definition] | None:
    """Finds `alias.Name` by the import of `alias` in a module."""
    alias, _, attribute = name.rpartition('.')
    imported = names(module).get(alias)
    return find('.'.join(filter(None, imported)), attribute) if isinstance(imported, tuple) else None


def find(module: str, name: str, depth: int = DEPTH) -> tuple[str, Definition] | None:
    """Finds the definition of a name in a module, following imports; nothing is executed."""
    found = names(module).get(name)
    if isinstance(found, (ast.ClassDef, ast.FunctionDef)):
        return (module, found)
    if not isinstance(found, tuple):
        return None
    return find(*found, depth - 1) if depth and found[1] else None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields the statements of a module, and those that only type checkers see."""
    for statement in body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test).rpartition('.')[2] == 'TYPE_CHECKING':
            yield from statement.body
        else:
            yield statement


@cache
def names(module: str) -> dict[str, Definition | ast.expr | tuple[str, str]]:
    """Returns what a module defines or imports, by name: a definition, a value, or (module, name there or '')."""
    spec = _spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith('.py'):
        return {}
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding='utf-8'))
    except (OSError, SyntaxError, ValueError):
        return {}
    package = module if spec.submodule_search_locations is not None else module.rpartition('.')[0]
    found: dict[str, Definition | ast.expr | tuple[str, str]] = {}
    for node in _statements(tree.body):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update({t.id: node.value for t in node.targets if isinstance(t, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom):
            up = package.rsplit('.', node.level - 1)[0] if node.level > 1 else package
            source = '.'.join(filter(None, [up if node.level else '', node.module or '']))
            for alias in node.names:
                inside = (f'{source}.{alias.name}', '') if _spec(f'{source}.{alias.name}') else (source, alias.name)
                found[alias.asname or alias.name] = inside if node.module is None else (source, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split('.')[0]
                found[name] = (alias.name if alias.asname else name, '')
    return found


@cache
def _spec(module: str) -> ModuleSpec | None:
    """Finds a module without importing its packages."""
    first, *rest = module.split('.')
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    name = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f'{name}.{part}'
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return spec


def _from_object(target: Callable[..., Any], place: str) -> Description:
    """Describes something without source, such as a class typed in."""
    text = inspect.getdoc(target) or ''
    texts = _arguments_of(text)
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    arguments = tuple(
        Argument(
            p.name,
            '' if p.annotation is p.empty else inspect.formatannotation(p.annotation),
            None if p.default is p.empty else repr(p.default),
            texts.get(p.name, ''),
        )
        for p in parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )
    first = text.split('\n\n')[0]
    return Description(place, first.replace('\n', ' '), first, arguments)
