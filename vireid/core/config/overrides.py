"""Overrides of a config from the command line: `dotted.key=value`, and which file or option each value came from."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from vireid.core.errors import VireidError, nearest

Origins = dict[tuple[str, ...], str]  # by path in the config


def override(config: dict[str, Any], option: str) -> None:
    """Applies one `dotted.key=value` to `config` in place.

    The value is read as a Python literal or as true, false, null; anything else is a string. List items are
    addressed by position. The last key may be new (the component's signature decides whether it is accepted); what
    leads to it must exist.

    Raises:
        VireidError: without `=`, or if a part of the key does not exist.
    """
    key, equals, text = option.partition('=')
    if not equals or not all(split_key(config, key)):
        raise VireidError(
            f'option {option!r} is not key=value', todo='write for example --cfg-options training.epochs=2'
        )
    set_value(config, key, parse_value(text), option)


def set_value(config: dict[str, Any], key: str, value: Any, option: str = '') -> None:
    """Sets the value at a dotted key of `config` in place; see `override`.

    Raises:
        VireidError: if a part of the key does not exist; messages call the whole `option`.
    """
    parts, option = split_key(config, key), option or key
    node: Any = config
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if isinstance(node, list):
            if not (part.isascii() and part.isdecimal()) or int(part) >= len(node):
                raise VireidError(
                    f'option {option!r}: {".".join(parts[:position])} has no item {part!r}',
                    allowed=f'0 to {len(node) - 1}' if node else 'nothing: the list is empty',
                )
            index: Any = int(part)
        elif isinstance(node, dict):
            index = part
            if not last and part not in node:
                near = nearest(part, node)
                raise VireidError(
                    f'option {option!r}: no {part!r} in {".".join(parts[:position]) or "the config"}'
                    + (f', did you mean {near!r}?' if near else ''),
                    allowed=', '.join(map(str, node)),
                )
        else:
            raise VireidError(f'option {option!r}: {".".join(parts[:position])} is {node!r} and holds no keys')
        if last:
            node[index] = without_delete(value)
        else:
            if isinstance(node[index], tuple):
                node[index] = list(node[index])
            node = node[index]


def split_key(config: Any, key: str) -> list[str]:
    """Splits a dotted key; a key of the config that has dots itself, such as `backbone.*`, is one part."""
    parts = key.strip().split('.')
    node, found = config, []
    while parts:
        length = 1
        if isinstance(node, Mapping):
            length = next((n for n in range(len(parts), 0, -1) if '.'.join(parts[:n]) in node), 1)
        found.append('.'.join(parts[:length]))
        parts = parts[length:]
        if isinstance(node, (list, tuple)):
            node = node[int(found[-1])] if found[-1].isdecimal() and int(found[-1]) < len(node) else None
        else:
            node = node.get(found[-1]) if isinstance(node, Mapping) else None
    return found


def parse_value(text: str) -> Any:
    """Reads the value of an option: a Python literal, `dict(key=...)`, true / false / null, or else the text itself."""
    text = text.strip()
    words = {'true': True, 'false': False, 'null': None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(_DictCalls().visit(ast.parse(text, mode='eval')))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text


class _DictCalls(ast.NodeTransformer):
    """Turns `dict(key=value)`, as Python configs have it, into the literal that it makes."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        names = [keyword.arg for keyword in node.keywords]
        if not (isinstance(node.func, ast.Name) and node.func.id == 'dict') or node.args or None in names:
            return node
        return ast.Dict([ast.Constant(name) for name in names], [keyword.value for keyword in node.keywords])


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Returns the path of every value that is no dict, or an empty one."""
    if not isinstance(value, Mapping) or not value:
        return [path]
    return [leaf for key, item in value.items() for leaf in leaves(item, (*path, str(key)))]


def without_delete(value: Any) -> Any:
    """Drops marks that had nothing below them to replace."""
    if isinstance(value, dict):
        return {key: without_delete(item) for key, item in value.items() if key != '_delete_'}
    if isinstance(value, (list, tuple)):
        return type(value)(without_delete(item) for item in value)
    return value
