"""Names of a config are text in the Mermaid flowchart, whatever they are."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from vireid.diagnostics import wiring

HOSTILE = ['"] --> x', 'a\nclick b "http://evil"', '%%{init: {}}%%', 'click', 'end', 'a;b', '<img src=x>', 'f_a']


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    nodes = [{'id': name, 'kind': 'feature', 'title': name, 'about': name} for name in HOSTILE]
    edges = [[a, b] for a, b in pairwise(HOSTILE)]
    monkeypatch.setattr(wiring, 'describe_graph', lambda model: {'nodes': nodes, 'edges': edges})
    return wiring.mermaid(None)


def test_each_line_is_a_node_or_an_edge(lines):
    assert lines[0] == 'flowchart LR'
    label = r'[^"<>%`$\n]*'
    assert all(re.fullmatch(rf'  (\w+)\["{label}<br>{label}"\]|  \w+ --> \w+', line) for line in lines[1:]), lines
    assert len(lines) == 1 + len(HOSTILE) + len(HOSTILE) - 1


def test_names_differ_and_none_is_a_word_of_mermaid(lines):
    names = [line.split('[')[0].strip() for line in lines if '[' in line]
    assert len(set(names)) == len(HOSTILE)
    assert not set(names) & set(wiring.RESERVED)
    assert names[-1] == 'f_a'
