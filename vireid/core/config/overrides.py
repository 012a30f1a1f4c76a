"""Overrides of a config, and the file, flag or option that each value comes from."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from vireid.errors import UnknownKey, WrongValue, nearest

Origins = dict[tuple[str, ...], str]  # source of each value, by path in the config


@dataclass(frozen=True)
class Overrides:
    """Overrides of a config, applied in the order of the attributes.

    Attributes:
        over: configs, each merged over the previous ones, as a config over its base.
        defaults: (value, source) by dotted key, for keys that the config does not set.
        components: components by dotted key; a component of the same type in the config keeps its settings.
        values: values by dotted key.
        options: strings such as `training.steps=100`; a value is parsed as a literal unless only a string is valid.
        label: name in `origins` for the source of `components` and `values`.
        plugins: Python files that may run, added to those of the config.
        trust: whether a YAML or JSON config may refer to files outside its folder; see SECURITY.md.
    """

    over: Sequence[str | Path] = ()
    defaults: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    options: Sequence[str] = ()
    label: str = 'a flag'
    plugins: Sequence[str | Path] = ()
    trust: bool = False

    def with_values(self, values: Mapping[str, Any]) -> Overrides:
        """Returns a copy with additional values, by dotted key."""
        return replace(self, values={**self.values, **values})


def apply(config: dict[str, Any], overrides: Overrides, origins: Origins) -> None:
    """Applies `overrides`, except files and plugins, to `config` in place and records the source of each value.

    Args:
        config: the sections.
        overrides: what to apply.
        origins: updated with the source of each value.

    Raises:
        VireidError: for an option without `=`, or a key whose parent does not exist or is not a dict.
    """
    for key, (value, label) in overrides.defaults.items():
        holder, name = _holder(config, key)
        if not holder.get(name):
            holder[name] = value
            _mark(origins, config, key, label)
    for key, component in overrides.components.items():
        holder, name = _holder(config, key)
        current = holder.get(name)
        if not isinstance(current, Mapping) or current.get('type') != component['type']:
            holder[name] = dict(component)
            _mark(origins, config, key, overrides.label)
    for key, value in overrides.values.items():
        if '.' in key:
            _holder(config, key)
        set_value(config, key, value)
        _mark(origins, config, key, overrides.label)
    for option in overrides.options:
        if option.split('.')[0] in DEFAULTED:
            _holder(config, option)
        override(config, option)
        _mark(origins, config, option.partition('=')[0], option)


DEFAULTED = ('evaluation', 'losses')  # optional sections: all their settings have defaults


def _holder(config: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Splits a key of at most two parts into its section, created if missing, and the key within it."""
    section, _, name = key.partition('=')[0].partition('.')
    if not name:
        return config, section
    holder = config.setdefault(section, {})
    if not isinstance(holder, dict):
        raise WrongValue(f'{section} is {holder!r} ({type(holder).__name__})', allowed='a dict')
    return holder, name


def _mark(origins: Origins, config: Mapping[str, Any], key: str, origin: str) -> None:
    """Records the source of the value at `key`: of everything below it, or of the list that contains it."""
    place: tuple[str, ...] = tuple(split_key(config, key))
    node: Any = config
    for depth, part in enumerate(place):
        if not isinstance(node, Mapping):
            place = place[:depth]
            break
        node = node.get(part)
    for known in [known for known in origins if known[: len(place)] == place]:
        del origins[known]
    for leaf, _ in leaves(node):
        origins[(*place, *leaf)] = origin


def override(config: dict[str, Any], option: str) -> None:
    """Applies one `dotted.key=value` to `config` in place.

    The value is parsed as a Python literal or as JSON; anything else is a string. List items are
    addressed by position. The last part of the key may be new, since it is validated later; its parents must exist.

    Raises:
        VireidError: if there is no `=`, or a parent of the key does not exist.
    """
    key, equals, text = option.partition('=')
    if not equals or not all(split_key(config, key)):
        raise WrongValue(f'option {option!r} is not key=value', todo='use the form --cfg-options training.epochs=2')
    set_value(config, key, parse_value(text), option)


def set_value(config: dict[str, Any], key: str, value: Any, option: str = '') -> None:
    """Sets the value at a dotted key of `config` in place; see `override`.

    Args:
        config: the sections.
        key: the dotted key.
        value: the new value.
        option: the option as typed, for messages; the key if empty.

    Raises:
        UnknownKey: if a parent of the key does not exist.
    """
    parts, option = split_key(config, key), option or key
    node: Any = config
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if isinstance(node, list):
            if not (part.isascii() and part.isdecimal()) or int(part) >= len(node):
                raise UnknownKey(
                    f'option {option!r}: {".".join(parts[:position])} has no item {part!r}',
                    allowed=f'0 to {len(node) - 1}' if node else 'none: the list is empty',
                )
            index: Any = int(part)
        elif isinstance(node, dict):
            index = part
            if not last and part not in node:
                near = nearest(part, node)
                raise UnknownKey(
                    f'option {option!r}: no {part!r} in {".".join(parts[:position]) or "the config"}'
                    + (f', did you mean {near!r}?' if near else ''),
                    allowed=', '.join(map(str, node)),
                    todo='' if near or not position else f'to add it: {".".join(parts[: position + 1])}=dict(...)',
                )
        else:
            raise UnknownKey(f'option {option!r}: {".".join(parts[:position])} is {node!r} and has no keys')
        if last:
            node[index] = without_delete(value)
        else:
            if isinstance(node[index], tuple):
                node[index] = list(node[index])
            node = node[index]


def split_key(config: Any, key: str) -> list[str]:
    """Splits a dotted key; a config key that contains dots itself, such as `backbone.*`, stays whole."""
    parts = key.strip().split('.')
    node, keys = config, []
    while parts:
        length = 1
        if isinstance(node, Mapping):
            length = next((n for n in range(len(parts), 0, -1) if '.'.join(parts[:n]) in node), 1)
        keys.append('.'.join(parts[:length]))
        parts = parts[length:]
        if isinstance(node, (list, tuple)):
            node = node[int(keys[-1])] if keys[-1].isdecimal() and int(keys[-1]) < len(node) else None
        else:
            node = node.get(keys[-1]) if isinstance(node, Mapping) else None
    return keys


def parse_value(text: str) -> Any:
    """Parses the value of an option: a Python literal, `dict(key=...)` or JSON; else the text itself."""
    try:
        return ast.literal_eval(_Literals().visit(ast.parse(text.strip(), mode='eval')))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text.strip()


class _Literals(ast.NodeTransformer):
    """Converts `dict(key=value)` calls, as in Python configs, and JSON's true, false and null to Python literals."""

    WORDS: ClassVar = {'true': True, 'false': False, 'null': None}

    def visit_Name(self, node: ast.Name) -> ast.AST:
        word = node.id.lower()
        return ast.Constant(self.WORDS[word]) if word in self.WORDS else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        names = [keyword.arg for keyword in node.keywords]
        if not (isinstance(node.func, ast.Name) and node.func.id == 'dict') or node.args or None in names:
            return node
        return ast.Dict([ast.Constant(name) for name in names], [keyword.value for keyword in node.keywords])


def leaves(value: Any, path: tuple[str, ...] = (), lists: bool = False) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields every value that is not a dict, and every empty dict, by path; `lists` numbers the dicts in lists too."""
    items: Any = value.items() if isinstance(value, Mapping) else ()
    if lists and isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        items = list(enumerate(value))
    if not items:
        yield path, value
    for key, item in items:
        yield from leaves(item, (*path, str(key)), lists)


def without_delete(value: Any) -> Any:
    """Removes remaining `_delete_` keys, which had nothing to replace."""
    if isinstance(value, dict):
        return {key: without_delete(item) for key, item in value.items() if key != '_delete_'}
    if isinstance(value, (list, tuple)):
        return type(value)(without_delete(item) for item in value)
    return value
