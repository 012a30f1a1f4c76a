"""YAML of a bounded size, with the numbers that people write; each key once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from vireid.boundary.reading import duplicate, require_whole_characters
from vireid.core.errors import VireidError

LONGEST = 100  # characters of a number
NODES, DEPTH = 50_000, 64  # of a file; vireid's own configs have 600 nodes


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the numbers people write (YAML 1.1 takes 5e-4 for a string), of a bounded size."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth, self._sizes = 0, dict[int, int]()

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes a node; one that an alias repeats counts as often as it stands there."""
        alias, event = self.check_event(yaml.AliasEvent), self.peek_event()
        if isinstance(event, yaml.ScalarEvent):
            require_whole_characters(event.value)
        self._depth += 1
        if self._depth > DEPTH:
            raise ValueError(f'it is nested more than {DEPTH} levels deep')
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise ValueError('it holds a list or a dict that holds itself')
        if not alias:
            inner = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
            own = inner if isinstance(node, yaml.CollectionNode) else ()
            self._sizes[id(node)] = 1 + sum(self._sizes[id(n)] for n in own)
        if self._sizes[id(node)] > NODES:
            raise ValueError(f'it holds more than {NODES:,} values')
        return node


def _construct_mapping(loader: Loader, node: yaml.MappingNode) -> Any:
    merge = 'tag:yaml.org,2002:merge'  # `<<: *name` brings keys that may be set again
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value if key.tag != merge]
    require_once(keys, f'line {node.start_mark.line + 1}')
    return yaml.SafeLoader.construct_yaml_map(loader, node)


def _construct_number(loader: Loader, node: yaml.ScalarNode) -> Any:
    """Returns a number; YAML 1.1 takes `1:30` for 90, in time that grows with the square of its length."""
    if ':' in node.value:
        return node.value
    if len(node.value) > LONGEST:
        raise ValueError(f'line {node.start_mark.line + 1}: a number of {len(node.value):,} characters')
    make = yaml.SafeLoader.construct_yaml_int if node.tag.endswith('int') else yaml.SafeLoader.construct_yaml_float
    return make(loader, node)


Loader.add_constructor('tag:yaml.org,2002:map', _construct_mapping)
Loader.add_constructor('tag:yaml.org,2002:int', _construct_number)
Loader.add_constructor('tag:yaml.org,2002:float', _construct_number)


def require_once(keys: Sequence[Any], where: str) -> None:
    """Raises if a key stands twice: of the two values only one would count."""
    twice = duplicate(map(str, keys))
    if twice is not None:
        raise VireidError(f'{where}: the key {twice!r} stands twice', todo='take one of them away')


class Dumper(yaml.SafeDumper):
    """The safe dumper that quotes what `Loader` would take for a number."""


_FLOAT = re.compile(r'[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\.\d[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+)$')
for _class in (Loader, Dumper):
    _class.add_implicit_resolver('tag:yaml.org,2002:float', _FLOAT, list('-+0123456789.'))
