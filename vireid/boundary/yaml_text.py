"""Reads YAML of bounded size, with intuitive number syntax and no duplicate keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.reading import duplicate, require_whole_characters
from vireid.errors import WrongContent

MAX_DIGITS = 100  # characters of a number
NODES, DEPTH = 50_000, 64  # of a file; vireid's own configs have at most 600 nodes


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with a size limit and intuitive numbers (YAML 1.1 reads 5e-4 as a string)."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth, self._sizes = 0, dict[int, int]()

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes a node; an alias counts with the full size of its node."""
        alias, event = self.check_event(yaml.AliasEvent), self.peek_event()
        if isinstance(event, yaml.ScalarEvent):
            require_whole_characters(event.value)
        self._depth += 1
        if self._depth > DEPTH:
            raise BeyondLimit(f'it is nested more than {DEPTH} levels deep')
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise Malformed('it contains a circular reference')
        if not alias:
            inner = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
            own = inner if isinstance(node, yaml.CollectionNode) else ()
            self._sizes[id(node)] = 1 + sum(self._sizes[id(n)] for n in own)
        if self._sizes[id(node)] > NODES:
            raise BeyondLimit(f'it contains more than {NODES:,} values')
        return node


def _construct_mapping(loader: Loader, node: yaml.MappingNode) -> Any:
    merge = 'tag:yaml.org,2002:merge'  # `<<: *name` merges keys that may be overridden
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value if key.tag != merge]
    require_once(keys, f'line {node.start_mark.line + 1}')
    return yaml.SafeLoader.construct_yaml_map(loader, node)


def _construct_number(loader: Loader, node: yaml.ScalarNode) -> Any:
    """Returns a number, but a string for `1:30`, which YAML 1.1 reads as 90, in time quadratic in its length."""
    if ':' in node.value:
        return node.value
    if len(node.value) > MAX_DIGITS:
        raise BeyondLimit(f'line {node.start_mark.line + 1}: a number of {len(node.value):,} characters')
    if not node.tag.endswith('int'):
        return yaml.SafeLoader.construct_yaml_float(loader, node)
    value = yaml.SafeLoader.construct_yaml_int(loader, node)
    if value.bit_length() > 64:  # multiples of 2**61 - 1 have equal hashes: as keys they take quadratic time
        raise BeyondLimit(f'line {node.start_mark.line + 1}: the integer {node.value} has more than 64 bits')
    return value


Loader.add_constructor('tag:yaml.org,2002:map', _construct_mapping)
Loader.add_constructor('tag:yaml.org,2002:int', _construct_number)
Loader.add_constructor('tag:yaml.org,2002:float', _construct_number)


def require_once(keys: Sequence[Any], where: str) -> None:
    """Raises WrongContent for a duplicate key, of whose two values only one would take effect."""
    twice = duplicate(map(str, keys))
    if twice is not None:
        raise WrongContent(f'{where}: duplicate key {twice!r}', todo='remove one of them')


class Dumper(yaml.SafeDumper):
    """The safe dumper; it quotes strings that `Loader` would read as numbers."""


_FLOAT = re.compile(r'[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\.\d[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+)$')
for _class in (Loader, Dumper):
    _class.add_implicit_resolver('tag:yaml.org,2002:float', _FLOAT, list('-+0123456789.'))
