"""CMC curves: at each rank k, the share of queries with a match among the first k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vireid.errors import WrongValue
from vireid.reporting.figures.style import (
    COLUMN,
    MARKERS,
    add_legend,
    add_notes,
    choose_evidence,
    look,
    new_figure,
    protocol_note,
    styled,
)
from vireid.reporting.record import RunRecord


@styled
def draw(runs: Sequence[RunRecord], rows: str = 'first', ranks: int = 20, width: float = COLUMN) -> Figure:
    """Draws the CMC curves of runs in percent, as in DMCF's Fig. 3, with mAP in the legend.

    The value at rank k is R_k of the result table.

    Args:
        runs: with evidence.
        rows: `first` draws the first row of each run's table, `all` every row.
        ranks: the last rank.
        width: in inches.

    Raises:
        VireidError: for other `rows`, `ranks` below 1, or if no run has a CMC.
    """
    if rows not in ('first', 'all'):
        raise WrongValue(f'rows is {rows!r}', allowed="'first' or 'all'")
    if ranks < 1:
        raise WrongValue(f'ranks is {ranks}', allowed='1 or more')
    kept, notes = choose_evidence(runs, lambda evidence: evidence.cmc, 'CMC')
    curves = []
    for run in kept:
        assert run.evidence is not None
        rows_of_run = list(run.evidence.cmc.items())
        curves += [(run, name, values) for name, values in (rows_of_run if rows == 'all' else rows_of_run[:1])]
    ranks = min(ranks, max(len(values) for _, _, values in curves))
    named = rows == 'all' or len({name for _, name, _ in curves}) > 1
    figure = new_figure(width, 0.72 * width + 0.15 * len(curves))
    axes = figure.subplots()
    for index, (run, name, values) in enumerate(curves):
        shown = np.asarray(values, dtype=float)[:ranks]
        label = ', '.join(filter(None, [run.label if len(kept) > 1 or not named else '', name if named else '']))
        at = np.arange(1, len(shown) + 1)
        axes.plot(at, 100 * shown, label=label + _mean_ap(run, name), marker=MARKERS[index % len(MARKERS)],
                  markevery=[r - 1 for r in _ticks(ranks) if r <= len(shown)], markersize=3, **look(index))  # fmt: skip
    axes.set(xlabel='Rank', ylabel='Matching rate (%)', xlim=(0.5 if ranks > 1 else 0, ranks + 0.5))
    axes.set_xticks(_ticks(ranks))
    low = min(float(100 * values[:ranks].min()) for _, _, values in curves)
    axes.set_ylim(max(0, np.floor((low - 1) / 10) * 10), 101)
    add_legend(figure, axes.lines)
    warnings = [line for run in kept for line in run.warnings()]
    add_notes(figure, [*notes, *warnings, *protocol_note(kept)])
    return figure


def _ticks(ranks: int) -> list[int]:
    """Returns rank 1 and the multiples of 1, 5, 10, ... up to the last rank."""
    step = next(step for step in (1, 5, 10, 20, 50, 10 * ranks) if ranks // step <= 10)
    return [1, *(rank for rank in range(step, ranks + 1, step) if rank > 1)]


def _mean_ap(run: RunRecord, name: str) -> str:
    """Returns the mAP of a row for the legend; empty if no table has the row."""
    tables = [run.evidence.about.get('rows', []) if run.evidence is not None else [], run.rows]
    scored = next((row for table in tables for row in table if row['name'] == name), None)
    return '' if scored is None else f' (mAP {100 * scored["mAP"]["mean"]:.1f}%)'
