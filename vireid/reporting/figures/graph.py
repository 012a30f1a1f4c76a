"""The graph of a model, from modalities on the left to losses and the embedding on the right."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path
from matplotlib.textpath import TextToPath
from scipy.optimize import isotonic_regression

from vireid.errors import DamagedFile, UnsafeFile, WrongContent
from vireid.reporting.figures.style import INK, PALETTE, add_legend, add_notes, choose_evidence, new_figure, styled
from vireid.reporting.record import RunRecord

KINDS = ('modality', 'backbone', 'feature', 'neck', 'head', 'loss', 'embedding')
COLORS = dict(zip(KINDS, ('#888888', *PALETTE[:6]), strict=True))
ABOVE, BESIDE = 0.14, 0.42  # inches between boxes of a layer, and between layers
LANE = 0.05  # inches, for an edge that crosses a layer
TITLE, ABOUT = 7.0, 6.0  # points
LETTERS = 24  # per line in a box
SWEEPS = 12
NODES, LINKS = 100, 400  # of a graph; that of a DMCF with two more tasks has 18 and 34
AGAIN = 'score it again: vireid test CONFIG CHECKPOINT'


@dataclass(frozen=True)
class Box:
    """The center, the size and the layer (from 0) of a node."""

    x: float
    y: float
    width: float
    height: float
    layer: int


@dataclass(frozen=True)
class Layout:
    """The positions of all nodes and edges.

    Attributes:
        boxes: by node.
        routes: by edge, its points from one box to the other.
        width: width of the drawing.
        height: height of the drawing.
    """

    boxes: dict[str, Box]
    routes: dict[tuple[str, str], list[tuple[float, float]]]
    width: float
    height: float


@styled
def draw(runs: Sequence[RunRecord], width: float | None = None) -> Figure:
    """Draws the graph of models, as in Fig. 2 of TFFN and of DMCF; runs are one below the other.

    Args:
        runs: with evidence.
        width: in inches; the drawing, including its text, scales to it. By default the width that the layers need.
    """
    kept, notes = choose_evidence(
        runs,
        lambda evidence: (evidence.about.get('graph') or {}).get('nodes'),
        'graph (its model does not describe it)',
    )
    graphs = [_checked(run.evidence.about['graph'], run.label) for run in kept if run.evidence is not None]
    layouts = [layout(_sizes(graph), [tuple(edge) for edge in graph['edges']]) for graph in graphs]
    natural = max(2.5, *(each.width for each in layouts)) + 0.2
    scale = 1.0 if width is None else width / natural
    tall = sum(each.height + 0.1 for each in layouts) + (0.25 * len(kept) if len(kept) > 1 else 0)
    figure = new_figure(natural * scale, tall * scale + 0.4)
    axes = figure.subplots()
    axes.set_axis_off()
    y = 0.0
    for run, graph, placed in zip(kept, graphs, layouts, strict=True):
        if len(kept) > 1:
            axes.text(0, y, run.label, fontsize=8 * scale, fontweight='bold', va='top')
            y += 0.25
        _draw_edges(axes, placed, y, scale)
        for node in graph['nodes']:
            _draw_node(axes, node, placed.boxes[node['id']], y, scale)
        y += placed.height + 0.1
    axes.set(xlim=(-0.05, natural - 0.15), ylim=(y, -0.05), aspect='equal')
    present = {node['kind'] for graph in graphs for node in graph['nodes']}
    shown = [(kind, color) for kind, color in COLORS.items() if kind in present]
    add_legend(figure, [Patch(facecolor=color + '40', edgecolor=color, label=kind) for kind, color in shown])
    add_notes(figure, notes)
    return figure


def _checked(graph: Mapping[str, Any], whose: str) -> Mapping[str, Any]:
    """Returns a graph from a file unchanged.

    Raises:
        VireidError: unless its nodes have string values and unique ids, and its edges are pairs of strings; or if it is
            too large to draw.
    """
    if len(graph['nodes']) > NODES or len(graph['edges']) > LINKS:
        raise UnsafeFile(
            f'{whose}: a graph of {len(graph["nodes"]):,} nodes and {len(graph["edges"]):,} edges is too large to draw',
            allowed=f'at most {NODES} nodes and {LINKS:,} edges',
        )
    nodes = [{'about': '', **node} if isinstance(node, Mapping) else {} for node in graph['nodes']]
    texts = all(isinstance(node.get(key), str) for node in nodes for key in ('id', 'kind', 'title', 'about'))
    ids = {node['id'] for node in nodes} if texts else set()
    edges = all(
        isinstance(edge, (list, tuple)) and len(edge) == 2 and all(isinstance(end, str) for end in edge)
        for edge in graph['edges']
    )
    if len(ids) != len(nodes) or not edges:
        raise DamagedFile(f'{whose}: the graph in its evidence is damaged', todo=AGAIN)
    return graph


def layout(sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]]) -> Layout:
    """Lays out an acyclic graph in layers from left to right, by the longest path to each node.

    An edge that crosses layers has a lane in each, so that it runs between boxes. Lanes and boxes of a layer are
    ordered by the mean position of their neighbors (the barycenter heuristic), then moved as close to them as possible.

    Args:
        sizes: width and height of each node's box.
        edges: from node to node.

    Returns:
        Positions from the upper left corner, in the unit of `sizes`.

    Raises:
        VireidError: for an edge of an unknown node, a cycle, or too many edges across layers.
    """
    edges = list(dict.fromkeys(edges))
    layer = _layers(sizes, edges)
    lanes: dict[tuple[str, str], list[tuple]] = {}
    columns: list[list[tuple]] = [[] for _ in range(1 + max(layer.values(), default=0))]
    for node in sizes:
        columns[layer[node]].append((node,))
    links: list[tuple[tuple, tuple]] = []
    for a, b in edges:
        lanes[a, b] = [(a, b, at) for at in range(layer[a] + 1, layer[b])]
        for lane in lanes[a, b]:
            columns[lane[2]].append(lane)
        chain = [(a,), *lanes[a, b], (b,)]
        links += list(pairwise(chain))
    neighbors: tuple[dict[tuple, list[tuple]], dict[tuple, list[tuple]]] = ({}, {})
    for a_item, b_item in links:
        neighbors[0].setdefault(b_item, []).append(a_item)
        neighbors[1].setdefault(a_item, []).append(b_item)
    if len(links) > LINKS:  # ordering takes time quadratic in the links between two layers
        raise UnsafeFile(
            f'the edges of the graph have {len(links):,} parts between neighboring layers', allowed=f'at most {LINKS:,}'
        )
    _order(columns, neighbors)
    height = {item: sizes[item[0]][1] if len(item) == 1 else LANE for column in columns for item in column}
    y = _heights(columns, neighbors, height)
    top = min((y[item] - height[item] / 2 for item in y), default=0.0)
    bottom = max((y[item] + height[item] / 2 for item in y), default=0.0)
    boxes: dict[str, Box] = {}
    middles, left = [], 0.0
    for number, column in enumerate(columns):
        wide = max((sizes[item[0]][0] for item in column if len(item) == 1), default=0.0)
        middles.append((left, left + wide))
        for item in column:
            if len(item) == 1:
                width, tall = sizes[item[0]]
                boxes[item[0]] = Box(left + wide / 2, y[item] - top, width, tall, number)
        left += wide + BESIDE
    routes = _routes(edges, boxes, lanes, middles, {item: value - top for item, value in y.items()})
    return Layout(boxes, routes, max(0.0, left - BESIDE), bottom - top)


def _layers(nodes: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Returns the number of edges of the longest path to each node."""
    into: dict[str, list[str]] = {node: [] for node in nodes}
    for a, b in edges:
        if a not in into or b not in into:
            raise WrongContent(f'the graph has an edge from {a!r} to {b!r}', allowed=f'nodes: {", ".join(nodes)}')
        into[b].append(a)
    layer: dict[str, int] = {}
    while len(layer) < len(into):
        ready = [n for n, before in into.items() if n not in layer and all(a in layer for a in before)]
        if not ready:
            raise WrongContent(f'the graph has a cycle through {", ".join(n for n in into if n not in layer)}')
        layer |= {n: max((layer[a] + 1 for a in into[n]), default=0) for n in ready}
    return layer


def _order(columns: list[list[tuple]], neighbors: Sequence[Mapping[tuple, list[tuple]]]) -> None:
    """Orders each column to reduce crossings; keeps the best order seen."""
    best, fewest = [list(column) for column in columns], _crossings(columns, neighbors[1])
    for sweep in range(SWEEPS):
        side = sweep % 2  # first from left to right by predecessors, then from right to left by successors
        for column in columns if side == 0 else reversed(columns):
            place = {item: index / max(1, len(c) - 1) for c in columns for index, item in enumerate(c)}
            means = {item: np.mean([place[n] for n in neighbors[side].get(item, [item])]) for item in column}
            column.sort(key=means.__getitem__)
        crossings = _crossings(columns, neighbors[1])
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    columns[:] = best


def _crossings(columns: Sequence[Sequence[tuple]], after: Mapping[tuple, list[tuple]]) -> int:
    place = {item: index for column in columns for index, item in enumerate(column)}
    total = 0
    for column in columns:
        ends = [(place[a], place[b]) for a in column for b in after.get(a, [])]
        total += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[:i])
    return total


def _heights(
    columns: Sequence[Sequence[tuple]], neighbors: Sequence[Mapping[tuple, list[tuple]]], height: Mapping[tuple, float]
) -> dict[tuple, float]:
    """Moves items as close to the mean position of their neighbors as order and size allow."""
    y: dict[tuple, float] = {}
    for column in columns:
        y |= dict(zip(column, _apart([0.0] * len(column), [height[item] for item in column]), strict=True))
    for sweep in range(SWEEPS):
        side = sweep % 2
        for column in columns if side == 0 else reversed(columns):
            targets = [float(np.mean([y[n] for n in neighbors[side].get(item, [item])])) for item in column]
            y |= dict(zip(column, _apart(targets, [height[item] for item in column]), strict=True))
    return y


def _apart(targets: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Returns the positions closest to those wanted (least squares) that keep the order and a gap between items."""
    steps = [(a + b) / 2 + ABOVE for a, b in pairwise(heights)]
    shift = np.concatenate([[0.0], np.cumsum(steps)])
    return (isotonic_regression(np.asarray(targets) - shift).x + shift).tolist()


def _routes(
    edges: Sequence[tuple[str, str]],
    boxes: Mapping[str, Box],
    lanes: Mapping[tuple[str, str], list[tuple]],
    columns: Sequence[tuple[float, float]],
    y: Mapping[tuple, float],
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Returns the points of each edge: boxes have separate ports for their edges, and lanes cross layers levelly."""
    leaving: dict[str, list[tuple[str, str]]] = {}
    reaching: dict[str, list[tuple[str, str]]] = {}
    for edge in sorted(edges, key=lambda edge: y[(*lanes[edge], (edge[1],))[0]]):
        leaving.setdefault(edge[0], []).append(edge)
    for edge in sorted(edges, key=lambda edge: y[((edge[0],), *lanes[edge])[-1]]):
        reaching.setdefault(edge[1], []).append(edge)

    def port(box: Box, edge: tuple[str, str], own: Sequence[tuple[str, str]]) -> float:
        return box.y + (own.index(edge) - (len(own) - 1) / 2) * min(0.09, 0.7 * box.height / len(own))

    routes = {}
    for edge in edges:
        a, b = boxes[edge[0]], boxes[edge[1]]
        points = [(a.x + a.width / 2, port(a, edge, leaving[edge[0]]))]
        if a.x + a.width / 2 < columns[a.layer][1]:  # continue level to the end of its layer, past wider boxes
            points.append((columns[a.layer][1], points[0][1]))
        for lane in lanes[edge]:
            points += [(x, y[lane]) for x in columns[lane[2]]]
        last = port(b, edge, reaching[edge[1]])
        if columns[b.layer][0] < b.x - b.width / 2:
            points.append((columns[b.layer][0], last))
        routes[edge] = [*points, (b.x - b.width / 2, last)]
    return routes


def _draw_edges(axes: Any, placed: Layout, down: float, scale: float) -> None:
    for points in placed.routes.values():
        vertices, codes = [(points[0][0], points[0][1] + down)], [Path.MOVETO]
        for (ax, ay), (bx, by) in pairwise(points):
            middle = (ax + bx) / 2
            vertices += [(middle, ay + down), (middle, by + down), (bx, by + down)]
            codes += [Path.CURVE4] * 3
        axes.add_patch(
            FancyArrowPatch(
                path=Path(vertices, codes), arrowstyle='-|>', mutation_scale=6 * scale, linewidth=0.7 * scale,
                color=INK, fill=True, shrinkA=0, shrinkB=0, joinstyle='miter', capstyle='butt',
            )
        )  # fmt: skip


def _draw_node(axes: Any, node: Mapping[str, str], box: Box, down: float, scale: float) -> None:
    color = COLORS.get(node['kind'], '#888888')
    corner = box.x - box.width / 2, box.y - box.height / 2 + down
    axes.add_patch(
        FancyBboxPatch(
            corner, box.width, box.height, boxstyle='round,pad=0,rounding_size=0.05', facecolor=color + '40',
            edgecolor=color, linewidth=0.9 * scale,
        )
    )  # fmt: skip
    y = corner[1] + 0.05
    for text, size, look in _texts(node):
        axes.text(box.x, y, text, fontsize=size * scale, ha='center', va='top', **look)
        y += _line(size)


def _texts(node: Mapping[str, str]) -> list[tuple[str, float, dict[str, Any]]]:
    """Returns the lines of a box, with their sizes and styles."""
    titles = textwrap.wrap(node['title'], LETTERS, max_lines=2, placeholder=' …') or ['']
    about = textwrap.wrap(node.get('about', ''), LETTERS + 4, max_lines=3, placeholder=' …')
    bold: dict[str, Any] = {'fontweight': 'bold'}
    return [*((line, TITLE, bold) for line in titles), *((line, ABOUT, {}) for line in about)]


def _sizes(graph: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    sizes = {}
    for node in graph['nodes']:
        lines = _texts(node)
        width = max(_width(text, size, 'fontweight' in look) for text, size, look in lines)
        sizes[node['id']] = (width + 0.16, sum(_line(size) for _, size, _ in lines) + 0.08)
    return sizes


def _line(size: float) -> float:
    return size * 1.3 / 72


def _width(text: str, size: float, bold: bool) -> float:
    """Returns the width of a line in inches."""
    font = FontProperties(family='DejaVu Sans', size=size, weight='bold' if bold else 'normal')
    return TextToPath().get_text_width_height_descent(text, font, False)[0] / 72
