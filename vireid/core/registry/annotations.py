"""Signatures read from source: what `inspect` would say of a component, without importing it."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import importlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Union

from vireid.core.registry.signatures import Parameter, Signature
from vireid.core.registry.source import DEPTH, Definition, find, find_dotted, names, parameters_of


@cache
def read_signature(target: str) -> Signature | None:
    """Reads what `module:attribute` takes; None if its source is not there, or does not say."""
    module, _, attribute = target.partition(':')
    found = find(module, attribute)
    return None if found is None else _signature(*found)


def _signature(module: str, node: Definition) -> Signature | None:
    """Reads a signature where the source is plain enough to be sure of it; None where Python has to be asked."""
    if isinstance(node, ast.FunctionDef):
        return None if node.decorator_list or node.args.kwarg else _signature_of(module, node, node.name, False, {})
    chain, complete = _bases(module, node)
    if chain is None:
        return None
    constants: dict[str, Any] = {}
    for _, cls in reversed(chain):
        constants |= _constants_of(cls)
    for position, (place, cls) in enumerate(chain):
        dataclass = any(_place(place, _called(d)) in ('dataclasses.dataclass',) for d in cls.decorator_list)
        if len(cls.decorator_list) > dataclass or cls.keywords or not all(map(_is_plain, cls.body)):
            return None
        init = _defines(cls, '__init__')
        if init or dataclass:
            if _defines(cls, '__new__') or (init and (init.decorator_list or init.args.kwarg or dataclass)):
                return None
            if init:
                return _signature_of(place, init, node.name, True, constants)
            return _fields(node.name, chain[position:]) if complete else None
        if _defines(cls, '__new__'):
            return None
    return Signature(node.name, {}, constants=constants) if complete else None


def _signature_of(
    module: str, function: ast.FunctionDef, name: str, method: bool, constants: Mapping[str, Any]
) -> Signature:
    parameters = {
        argument.arg: Parameter(_hint(module, argument.annotation) if argument.annotation else Any, default is None)
        for argument, default in parameters_of(function, method)
        if argument not in function.args.posonlyargs  # which cannot be given by name
    }
    return Signature(name, parameters, constants=constants)


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def _is_plain(statement: ast.stmt) -> bool:
    """Says whether a statement in a class body can neither hide nor set a constructor."""
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return all(isinstance(t, ast.Name) and t.id not in ('__init__', '__new__') for t in targets)
    return isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Expr, ast.Pass, ast.ClassDef))


def _defines(cls: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    found = [s for s in cls.body if isinstance(s, ast.FunctionDef) and s.name == name]
    return found[-1] if found else None


def _fields(name: str, chain: list[tuple[str, ast.ClassDef]]) -> Signature | None:
    """The signature of a dataclass: its annotated names; None if one of them is more than a type and a default."""
    found: dict[str, Parameter] = {}
    for place, cls in reversed(chain):
        if not cls.decorator_list:
            return None
        for statement in cls.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                words = set(re.findall(r'\w+', ast.unparse(statement.annotation)))
                if words & {'ClassVar', 'InitVar', 'KW_ONLY'} or isinstance(statement.value, ast.Call):
                    return None
                found[statement.target.id] = Parameter(_hint(place, statement.annotation), statement.value is None)
    return Signature(name, found)


# they take no arguments; torch's takes any keyword only to refuse it
_NO_ARGUMENTS = {'typing.Protocol', 'typing.Generic', 'abc.ABC', 'torch.nn.Module', 'torch.nn.modules.Module'}
_NO_ARGUMENTS |= {'torch.nn.modules.module.Module'}


def _bases(module: str, node: ast.ClassDef, depth: int = DEPTH) -> tuple[list[tuple[str, ast.ClassDef]] | None, bool]:
    """Returns a class and those it derives from, nearest first, and whether all were found that take arguments.

    None if it derives from several that do: which comes first is Python's to say.
    """
    chain, complete, further = [(module, node)], True, 0
    for base in node.bases:
        name = ast.unparse(base).partition('[')[0]
        if name == 'object' or _place(module, name) in _NO_ARGUMENTS:
            continue
        further += 1
        found = find(module, name) if '.' not in name else find_dotted(module, name)
        if found is None or not depth or not isinstance(found[1], ast.ClassDef):
            complete = False
            continue
        more, whole = _bases(found[0], found[1], depth - 1)
        if more is None:
            return None, False
        chain += more
        complete &= whole
    return (None, False) if further > 1 else (chain, complete)


def _place(module: str, name: str) -> str:
    """Spells a name of a module out by its import."""
    first, _, rest = name.partition('.')
    imported = names(module).get(first)
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


_OPEN = {'typing', 'typing_extensions', 'collections.abc', 'numbers', 'pathlib', 'vireid.core.registry.signatures'}
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
    if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
        made = _named(module, ast.unparse(node.func), depth)
        if isinstance(made, type) and made.__module__ == 'vireid.core.registry.signatures':
            if not all(isinstance(value, ast.Constant) for value in node.args):
                return None  # a name: building tells
            own = {k.arg: _hint(module, k.value, depth) for k in node.keywords if k.arg not in (None, 'default')}
            plain = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg == 'default'}
            return made(*map(ast.literal_eval, node.args), **{str(k): v for k, v in {**plain, **own}.items()})
    return None


def _named(module: str, name: str, depth: int) -> Any:
    first, _, rest = name.partition('.')
    found = names(module).get(first)
    if found is None:
        known = getattr(builtins, name, None)
        return known if isinstance(known, type) else Any
    if isinstance(found, ast.expr):
        return _hint(module, found, depth - 1) if depth and not rest else Any
    if isinstance(found, ast.ClassDef):
        derived = {
            ast.unparse(base).partition('[')[0].rpartition('.')[2]
            for _, cls in _bases(module, found)[0] or [(module, found)]
            for base in cls.bases
        }
        # a class of someone's own: no value in a config is one
        return Any if derived & _PLAIN_BASES else type(found.name, (), {})
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
