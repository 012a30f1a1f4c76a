"""What a component is and takes, read from its source: nothing is imported, so listing and checking cost no torch."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import importlib.util
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Annotated, Any, Union

from vireid.core.signatures import Parameter, Signature

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
        found = _find(module, attribute) if '.' not in attribute else None
        return _from_object(target, f'{module}:{attribute}') if found is None else _describe(*found)
    module, _, attribute = target.partition(':')
    found = _find(module, attribute)
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


def _arguments(function: ast.FunctionDef, method: bool, texts: dict[str, str]) -> tuple[Argument, ...]:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    pairs = list(zip(positional, defaults, strict=True))[1 if method else 0 :]
    pairs += list(zip(given.kwonlyargs, given.kw_defaults, strict=True))
    return tuple(
        Argument(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else '',
            ast.unparse(default) if default is not None else None,
            texts.get(argument.arg, ''),
        )
        for argument, default in pairs
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
        found = _find(module, name) if '.' not in name else _find_dotted(module, name)
        if found is not None and (function := _function(*found, depth - 1)) is not None:
            return function
    return None


def _find_dotted(module: str, name: str) -> tuple[str, Definition] | None:
    """Finds `alias.Name` by the import of `alias` in a module."""
    alias, _, attribute = name.rpartition('.')
    imported = _names(module).get(alias)
    return _find('.'.join(filter(None, imported)), attribute) if isinstance(imported, tuple) else None


def _find(module: str, name: str, depth: int = DEPTH) -> tuple[str, Definition] | None:
    """Finds the definition of a name in a module, following imports; nothing is executed."""
    found = _names(module).get(name)
    if isinstance(found, (ast.ClassDef, ast.FunctionDef)):
        return (module, found)
    if not isinstance(found, tuple):
        return None
    return _find(*found, depth - 1) if depth and found[1] else None


@cache
def _names(module: str) -> dict[str, Definition | ast.expr | tuple[str, str]]:
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
    for node in tree.body:
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
                found.setdefault(alias.asname or alias.name, inside if node.module is None else (source, alias.name))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found.setdefault(alias.asname or alias.name.split('.')[0], (alias.name, ''))
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


@cache
def read_signature(target: str) -> Signature | None:
    """Reads what `module:attribute` takes; None if its source is not there, or does not say."""
    module, _, attribute = target.partition(':')
    found = _find(module, attribute)
    return None if found is None else _signature(*found)


def _signature(module: str, node: Definition) -> Signature | None:
    constants: dict[str, Any] = {}
    init: tuple[str, ast.FunctionDef, bool] | None = None
    complete = True
    if isinstance(node, ast.FunctionDef):
        init = (module, node, False)
    else:
        bases, complete = _bases(module, node)
        for place, cls in reversed(bases):
            if any('dataclass' not in ast.unparse(d) for d in cls.decorator_list) or _defines(cls, '__new__'):
                return None
            constants |= _constants_of(cls)
            if own := _defines(cls, '__init__'):
                init = (place, own, True)
            elif cls.decorator_list:
                return _fields(node.name, bases) if complete else None
    if init is None:
        return Signature(node.name, {}, constants=constants) if complete else None
    place, function, method = init
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    required = len(positional) - len(given.defaults)
    pairs = [(a, i < required) for i, a in enumerate(positional)][1 if method else 0 :]
    pairs += [(a, d is None) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    parameters = {a.arg: Parameter(_hint(place, a.annotation) if a.annotation else Any, r) for a, r in pairs}
    return Signature(node.name, parameters, given.kwarg is not None, constants)


def _defines(cls: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((s for s in cls.body if isinstance(s, ast.FunctionDef) and s.name == name), None)


def _fields(name: str, bases: list[tuple[str, ast.ClassDef]]) -> Signature:
    """The signature of a dataclass: its annotated names."""
    found: dict[str, Parameter] = {}
    for place, cls in reversed(bases):
        for statement in cls.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found[statement.target.id] = Parameter(_hint(place, statement.annotation), statement.value is None)
    return Signature(name, found)


_NO_ARGUMENTS = {'object', 'Protocol', 'Generic', 'ABC'}


def _bases(module: str, node: ast.ClassDef, depth: int = DEPTH) -> tuple[list[tuple[str, ast.ClassDef]], bool]:
    """Returns a class and those it derives from, nearest first, and whether all were found that take arguments."""
    every, complete = [(module, node)], True
    for base in node.bases:
        name = ast.unparse(base).partition('[')[0]
        if name.rpartition('.')[2] in _NO_ARGUMENTS or _place(module, name) in _MODULE:
            continue
        found = _find(module, name) if '.' not in name else _find_dotted(module, name)
        if found is None or not depth or not isinstance(found[1], ast.ClassDef):
            complete = False
            continue
        further, whole = _bases(found[0], found[1], depth - 1)
        every += further
        complete &= whole
    return every, complete


# torch's base class takes any keyword only to refuse it
_MODULE = {'torch.nn.Module', 'torch.nn.modules.Module', 'torch.nn.modules.module.Module'}


def _place(module: str, name: str) -> str:
    """Spells a name of a module out by its import."""
    first, _, rest = name.partition('.')
    imported = _names(module).get(first)
    return '.'.join(filter(None, [*imported, rest])) if isinstance(imported, tuple) else f'{module}.{name}'


def _constants_of(cls: ast.ClassDef) -> dict[str, Any]:
    found = {}
    for statement in cls.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and isinstance(statement.value, ast.Constant):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            value = statement.value.value
            if isinstance(value, (str, bool)):
                found.update({t.id: value for t in targets if isinstance(t, ast.Name)})
    return found


_OPEN = {'typing', 'typing_extensions', 'collections.abc', 'numbers', 'pathlib', 'vireid.core.signatures'}
_PLAIN_BASES = {'TypedDict', 'NamedTuple', 'dict', 'list', 'tuple', 'str', 'int', 'float', 'Mapping', 'Sequence'}


def _hint(module: str, node: ast.expr, depth: int = DEPTH) -> Any:
    """Turns an annotation into a type hint; what cannot be told without importing is `Any`."""
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, str):
            return node.value
        try:
            return _hint(module, ast.parse(node.value, mode='eval').body, depth)
        except SyntaxError:
            return Any
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _named(module, ast.unparse(node), depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_hint(module, node.left, depth), _hint(module, node.right, depth)]  # noqa: UP007
    if isinstance(node, ast.Subscript):
        outer = _hint(module, node.value, depth)
        inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer is Any or outer is collections.abc.Callable:
            return outer
        if str(outer) == 'typing.Literal':
            try:
                return outer[tuple(ast.literal_eval(value) for value in inner)]
            except ValueError:
                return Any
        if outer is Annotated:
            about = [made for value in inner[1:] if (made := _metadata(module, value, depth)) is not None]
            first = _hint(module, inner[0], depth)
            return Annotated[first, *about] if about else first
        try:
            hints = tuple(_hint(module, value, depth) for value in inner)
            return outer[hints if len(hints) > 1 else hints[0]]
        except TypeError:
            return Any
    return Any


def _metadata(module: str, node: ast.expr, depth: int) -> Any:
    """Makes the `Part` or `ArgumentsOf` that an annotation speaks of; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        made = _named(module, node.func.id, depth)
        if isinstance(made, type) and made.__module__ == 'vireid.core.signatures':
            own = {k.arg: _hint(module, k.value, depth) for k in node.keywords if k.arg not in (None, 'default')}
            plain = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg == 'default'}
            return made(*map(ast.literal_eval, node.args), **{str(k): v for k, v in {**plain, **own}.items()})
    return None


def _named(module: str, name: str, depth: int) -> Any:
    first, _, rest = name.partition('.')
    found = _names(module).get(first)
    if found is None:
        known = getattr(builtins, name, None)
        return known if isinstance(known, type) else Any
    if isinstance(found, ast.expr):
        return _hint(module, found, depth - 1) if depth and not rest else Any
    if isinstance(found, ast.ClassDef):
        names = {
            ast.unparse(base).partition('[')[0].rpartition('.')[2]
            for _, cls in _bases(module, found)[0]
            for base in cls.bases
        }
        # a class of someone's own: no value in a config is one
        return Any if names & _PLAIN_BASES else type(found.name, (), {})
    if isinstance(found, ast.FunctionDef) or not depth:
        return Any
    source, attribute = found
    if rest:
        source, attribute = '.'.join(filter(None, [source, attribute])), rest
    if source in _OPEN:
        return getattr(importlib.import_module(source), attribute, Any)
    if (source, attribute) == ('torch', 'Tensor'):  # spares reading the largest of files
        return type('Tensor', (), {})
    return _named(source, attribute, depth - 1) if attribute and '.' not in attribute else Any
