"""No module imports one that imports it, at any distance; packages neither."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1] / 'vireid'


def edges() -> dict[str, set[str]]:
    """Which modules each module imports, including imports inside functions."""
    graph = grimp.build_graph('vireid', cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The groups of nodes that reach each other (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in imports.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in imports:
        if node not in index:
            visit(node)
    return found


def test_the_search_finds_a_circle():
    assert circles({'a': {'b'}, 'b': {'c'}, 'c': {'b'}}) == [{'b', 'c'}]
    assert circles({'a': {'b'}, 'b': {'c'}, 'c': set()}) == []


@pytest.mark.parametrize('level', ['modules', 'packages'])
def test_there_are_no_circles(level: str):
    imports = edges()
    if level == 'packages':
        packages: dict[str, set[str]] = defaultdict(set)
        for module, others in imports.items():
            here = _package(module)
            packages[here] |= {_package(other) for other in others} - {here}
        imports = packages
    assert circles(imports) == []


def _package(module: str) -> str:
    """`vireid.core.config.files` -> `core.config`; of other packages the first part; the root has no package."""
    parts = module.split('.')[1:]
    if not parts or (len(parts) == 1 and not (ROOT / parts[0]).is_dir()):
        return module
    depth = 2 if parts[0] == 'core' and len(parts) > 1 and (ROOT / 'core' / parts[1]).is_dir() else 1
    return '.'.join(parts[:depth]) if parts[0] != 'core' or depth == 2 else module
