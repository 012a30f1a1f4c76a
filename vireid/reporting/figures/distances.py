"""Histograms of cosine distances between images of the same identity, and of different identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vireid.reporting.figures.style import (
    BLUE,
    COLUMN,
    INK,
    ORANGE,
    PAGE,
    add_legend,
    add_notes,
    choose_evidence,
    new_figure,
    protocol_note,
    styled,
)
from vireid.reporting.record import RunRecord

KINDS: dict[str, dict[str, Any]] = {
    'same': {'color': BLUE, 'hatch': '////', 'linestyle': '-', 'label': 'same identity'},
    'different': {'color': ORANGE, 'hatch': '\\\\\\\\', 'linestyle': '--', 'label': 'different identities'},
}


@styled
def draw(runs: Sequence[RunRecord], width: float | None = None) -> Figure:
    """Draws histograms of cosine distance with the overlap of the two; runs are columns.

    These are the distributions of intra- and inter-class distance that many papers show; TFFN and DMCF do not.

    Args:
        runs: with evidence.
        width: in inches; by default one column for a single run, the page for several.
    """
    kept, notes = choose_evidence(runs, lambda evidence: places(evidence.distances), 'distances')
    per_run = [run.evidence.distances for run in kept if run.evidence is not None]
    rows = list(dict.fromkeys(where for distances in per_run for where in places(distances)))
    rows.sort(key=lambda where: where != 'across')
    figure = new_figure(width or (COLUMN if len(kept) == 1 else PAGE), 1.35 * len(rows) + 0.6)
    grid = figure.subplots(len(rows), len(kept), squeeze=False, sharex=True)
    for column, (run, distances) in enumerate(zip(kept, per_run, strict=True)):
        for row, where in enumerate(rows):
            axes = grid[row, column]
            if row == 0 and len(kept) > 1:
                axes.set_title(run.label, fontweight='bold')
            if where in places(distances):
                _panel(axes, distances, where)
            else:
                axes.set_axis_off()
        grid[-1, column].set_xlabel('Cosine distance')
    for row, where in enumerate(rows):
        text = 'across modalities' if where == 'across' else where
        grid[row, 0].set_ylabel(f'{text}\nshare of pairs (%)')
    grid[0, 0].set_xlim(*_limits(per_run))
    marks = []
    for own in KINDS.values():
        fill: dict[str, Any] = {'facecolor': own['color'] + '4D', 'edgecolor': own['color']}
        marks.append(Patch(**fill, hatch=own['hatch'], linestyle=own['linestyle'], label=own['label']))
    add_legend(figure, marks)
    add_notes(figure, [*notes, *protocol_note(kept)])
    return figure


def places(distances: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the pairs of modalities with known distances, such as `across`."""
    names = (key.partition(' ')[2] for key, counts in distances.items() if np.any(counts))
    return list(dict.fromkeys(names))


def overlap(same: np.ndarray, different: np.ndarray) -> float:
    """Returns the overlap of two normalized histograms, the sum of their minimum: 0 to 1."""
    return float(np.minimum(_share(same), _share(different)).sum())


def _panel(axes: Axes, distances: Mapping[str, np.ndarray], where: str) -> None:
    counts = {kind: distances.get(f'{kind} {where}') for kind in KINDS}
    top = 0.0
    for kind, values in counts.items():
        own = KINDS[kind]
        shares = np.zeros(1) if values is None else 100 * _share(values)
        top = max(top, float(shares.max()))
        axes.stairs(
            shares, np.linspace(0, 2, len(shares) + 1), fill=True, alpha=0.3, facecolor=own['color'],
            hatch=own['hatch'], edgecolor=own['color'], linewidth=0,
        )  # fmt: skip
        axes.stairs(shares, np.linspace(0, 2, len(shares) + 1), color=own['color'], linestyle=own['linestyle'])
    same, different = counts['same'], counts['different']
    if same is None or different is None or not (same.any() and different.any()):
        text = 'no pairs of the same identity' if same is None or not same.any() else 'no pairs of different identities'
    else:
        text = f'overlap {overlap(same, different):.3f}'
    axes.set_ylim(0, 1.3 * top)
    axes.text(0.98, 0.97, text, transform=axes.transAxes, ha='right', va='top', fontsize=7, color=INK)


def _share(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, dtype=float)
    return counts / max(counts.sum(), 1)


def _limits(per_run: Sequence[Mapping[str, np.ndarray]]) -> tuple[float, float]:
    """Returns the range of distances that occur, with a small margin."""
    edges = []
    for distances in per_run:
        for counts in distances.values():
            full = np.flatnonzero(counts)
            if len(full):
                edges += [2 * full[0] / len(counts), 2 * (full[-1] + 1) / len(counts)]
    low, high = min(edges), max(edges)
    return max(0.0, low - 0.05), min(2.0, high + 0.05)
