"""No module or package imports one that imports it, at any distance; each package imports what its row allows."""

from __future__ import annotations

import re
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


def _rows() -> dict[str, set[str] | None]:
    """The table of docs/architecture.md: what each package may import; None for everything but `plugins`."""
    text = (ROOT.parent / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    table = text.partition('| package | contents | may import |')[2].partition('\n\n')[0]
    rows: dict[str, set[str] | None] = {}
    for line in table.splitlines()[2:]:
        package, _, allowed = (cell.strip() for cell in line.strip('| ').split(' | '))
        names = {name.removesuffix('/') for name in re.findall('`([^`]+)`', allowed)}
        key = package.strip('`').removesuffix('/').removesuffix('.py')
        rows[key] = None if allowed.startswith('everything except') else names
    return rows


def test_each_package_imports_what_the_table_of_the_architecture_allows():
    parts = {'interface_members': 'interfaces', 'launcher_types': 'interfaces'}  # one row for the three
    rows = _rows()
    wrong = set()
    for module, others in edges().items():
        here = module.split('.')[1:]
        package = parts.get(here[0], here[0]) if here else ''
        if package in ('', '__main__'):
            continue
        allowed = rows[package]
        for other in others:
            there = other.split('.')[1:]
            name = parts.get(there[0], there[0]) if there else ''
            if name in ('', package) or there[:1] == ['errors'] or there[:2] == ['core', 'types']:
                continue
            names = {name, '/'.join(there[:2])}
            if name == 'plugins' if allowed is None else not names & allowed:
                wrong.add(f'{package} -> {"/".join(there[:2])}')
    assert not wrong
    assert set(rows) == {path.stem for path in ROOT.iterdir() if _is_code(path)} - {'__init__', '__main__', *parts}


def _is_code(path: Path) -> bool:
    return path.suffix == '.py' or (path.is_dir() and (path / '__init__.py').exists())
