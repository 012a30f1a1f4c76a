"""Where the boxes and arrows of a graph are."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text

from vireid.errors import UnsafeFile, WrongContent
from vireid.reporting.figures.graph import LINKS, draw, layout


@st.composite
def graphs(draw):
    """Sizes and edges of a graph without cycles, of up to 30 nodes."""
    names = [f'n{i}' for i in range(draw(st.integers(1, 30)))]
    sizes = {name: (draw(st.floats(0.3, 2)), draw(st.floats(0.2, 1))) for name in names}
    pairs = st.tuples(st.integers(0, len(names) - 1), st.integers(0, len(names) - 1)).filter(lambda p: p[0] < p[1])
    edges = draw(st.lists(pairs, max_size=45)) if len(names) > 1 else []
    return sizes, [(names[a], names[b]) for a, b in edges]


@given(graphs())
def test_every_edge_goes_to_a_later_layer_and_no_boxes_overlap(graph):
    sizes, edges = graph
    found = layout(sizes, edges)
    assert set(found.boxes) == set(sizes)
    for a, b in edges:
        assert found.boxes[a].layer < found.boxes[b].layer
        assert found.boxes[a].x + found.boxes[a].width / 2 < found.boxes[b].x - found.boxes[b].width / 2
    for a, b in combinations(found.boxes.values(), 2):
        beside = abs(a.x - b.x) >= (a.width + b.width) / 2 - 1e-9
        above = abs(a.y - b.y) >= (a.height + b.height) / 2 + 0.1
        assert beside or above
    for box in found.boxes.values():
        assert box.x - box.width / 2 >= -1e-9
        assert box.x + box.width / 2 <= found.width + 1e-9
        assert box.y - box.height / 2 >= -1e-9
        assert box.y + box.height / 2 <= found.height + 1e-9


@given(graphs())
def test_a_line_goes_from_box_to_box_and_through_none(graph):
    sizes, edges = graph
    found = layout(sizes, edges)
    for (a, b), points in found.routes.items():
        start, end = found.boxes[a], found.boxes[b]
        assert points[0][0] == pytest.approx(start.x + start.width / 2)
        assert points[-1][0] == pytest.approx(end.x - end.width / 2)
        assert abs(points[0][1] - start.y) < start.height / 2
        for (ax, ay), (bx, by) in pairwise(points):
            assert ax <= bx + 1e-9
            for name, box in found.boxes.items():
                if name not in (a, b) and ay == by:  # level: through a layer
                    within = ax < box.x + box.width / 2 - 1e-9 and bx > box.x - box.width / 2 + 1e-9
                    assert not (within and abs(ay - box.y) < box.height / 2)


def test_a_layer_is_the_longest_path():
    boxes = layout(dict.fromkeys('abcd', (1, 1)), [('a', 'b'), ('b', 'c'), ('a', 'c'), ('a', 'd')]).boxes
    assert {name: box.layer for name, box in boxes.items()} == {'a': 0, 'b': 1, 'c': 2, 'd': 1}


def test_lines_are_uncrossed():
    edges = [('a', 'y'), ('b', 'x')]
    boxes = layout(dict.fromkeys('abxy', (1, 1)), edges).boxes
    assert (boxes['a'].y < boxes['b'].y) == (boxes['y'].y < boxes['x'].y)


@pytest.mark.parametrize(('edges', 'fact'), [([('a', 'z')], r"'a' .*'z'"), ([('a', 'b'), ('b', 'a')], r'\ba, b$')])
def test_invalid_graphs_are_refused(edges, fact):
    with pytest.raises(WrongContent, match=fact):
        layout({'a': (1, 1), 'b': (1, 1)}, edges)


def test_each_node_is_a_box_with_its_text_inside_and_each_edge_an_arrow(run):
    figure = draw([run])
    axes, graph = figure.axes[0], run.evidence.about['graph']
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == len(graph['nodes'])
    assert sum(isinstance(patch, FancyArrowPatch) for patch in axes.patches) == len(graph['edges'])
    extents = [box.get_window_extent() for box in boxes]
    for text in axes.texts:
        own = text.get_window_extent()
        assert any(e.x0 <= own.x0 and own.x1 <= e.x1 and e.y0 - 1 <= own.y0 and own.y1 <= e.y1 + 1 for e in extents)


def test_kinds_are_in_the_legend(run):
    (legend,) = draw([run]).legends
    assert [text.get_text() for text in legend.texts] == [
        'modality', 'backbone', 'feature', 'neck', 'head', 'loss', 'embedding',
    ]  # fmt: skip


def test_runs_lie_one_below_the_other(run, new_run):
    places = {text.get_text(): text.get_position()[1] for text in draw([run, new_run('agw')]).findobj(Text)}
    assert places['tffn'] < places['agw']


def test_two_nodes_make_a_graph(new_run):
    small = new_run()
    small.evidence.about['graph'] = {
        'nodes': [
            {'id': 'a', 'kind': 'modality', 'title': 'visible', 'about': 'images'},
            {'id': 'b', 'kind': 'of a plugin', 'title': 'a title that is far too long for a single line', 'about': ''},
        ],
        'edges': [['a', 'b']],
    }
    assert draw([small]).axes[0].patches


@pytest.mark.parametrize(
    ('nodes', 'edges', 'number'),
    [
        (101, [], '101'),
        (100, [[str(i), str(j)] for i in range(40) for j in range(40, 51)], '440'),
        (60, [*([str(i), str(i + 1)] for i in range(59)), *(['0', str(i)] for i in range(2, 60))], '1,828'),
    ],
)
def test_a_graph_that_would_take_hours_is_an_error(new_run, nodes, edges, number):
    large = new_run()
    node = {'kind': 'neck', 'title': 't', 'about': ''}
    large.evidence.about['graph'] = {'nodes': [{'id': str(i), **node} for i in range(nodes)], 'edges': edges}
    with pytest.raises(UnsafeFile, match=rf'\b{number} ') as caught:
        draw([large])
    assert f'{LINKS:,}' in caught.value.allowed
