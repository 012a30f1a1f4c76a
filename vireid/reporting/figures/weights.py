"""Training curves: losses, task weights, the weighter's curves, learning rate and evaluations over steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vireid.errors import UnsafeFile
from vireid.reporting.figures.style import (
    MARKERS,
    PAGE,
    add_axes_legend,
    add_legend,
    add_notes,
    choose,
    drawable,
    look,
    new_figure,
    protocol_note,
    styled,
)
from vireid.reporting.record import RunRecord

POINTS = 500  # the maximum of a line
SHARES = 50  # the running mean is over this fraction of the run
TITLES, LINES = 8, 25  # curves of a weighter, and lines of a panel; DMCF has 2 and 5
OF_OPTIMIZERS = {'loss of': 'Weighted loss', 'lr': 'Learning rate'}  # curves of several optimizers
Line = tuple[np.ndarray, np.ndarray]  # steps and values
Panels = dict[str, list[tuple[int, str, Line]]]  # by title: index of the style, name, line


@styled
def draw(runs: Sequence[RunRecord], width: float = PAGE) -> Figure:
    """Draws the course of training; DMCF shows its weights this way in Fig. 6.

    For a single run: the loss and the weight of each task, each of the weighter's curves (such as sigma or lambda),
    the learning rate, and rank-1 and mAP of the first row of evaluations. For several runs, one line each: the loss,
    the learning rate, and rank-1 and mAP. Raw values are faint, their running means bold.

    Args:
        runs: with metrics.
        width: in inches.

    Raises:
        VireidError: if no run has metrics, or one has too many.
    """
    kept, notes = choose(
        runs,
        lambda run: any(line['loss'] is not None for line in run.steps),
        'no metrics',
        'draw a folder that vireid train wrote with the logger MetricsFile',
    )
    several = len(kept) > 1
    panels: Panels = drawable(_panels_of_several(kept) if several else _panels_of_one(kept[0]))
    columns = 2 if width >= 5 and len(panels) > 1 else 1
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(width, 1.7 * rows + 0.2)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    last = max(line[0].max() for lines in panels.values() for _, _, line in lines)
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        for index, name, line in lines:
            if title.endswith('(%)'):
                axes.plot(*line, label=name, marker=MARKERS[index % len(MARKERS)], **look(index))
            else:
                _plot(axes, line, name, look(index), rough=title.partition(' of ')[0] not in ('Learning rate', 'Rate'))
        axes.set(xlabel='Step', ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:,.0f}'))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:.6g}'))
        axes.set_xlim(0, 1.02 * last)
        if not several:
            add_axes_legend(axes, width / columns - 0.6)
    for axes in grid[len(panels) :]:
        axes.remove()
    if several:
        marks = enumerate(kept)
        add_legend(
            figure, [Line2D([], [], label=r.label, marker=MARKERS[i % len(MARKERS)], **look(i)) for i, r in marks]
        )
        notes += protocol_note(kept)
    add_notes(figure, notes)
    return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """Returns the centered running mean of (N,) values over N / 50 of them, rounded up to an odd number.

    NaN stays NaN, and does not count.
    """
    half = max(1, len(values) // SHARES) // 2
    finite = np.isfinite(values)
    sums, counts = (np.concatenate([[0.0], np.cumsum(v)]) for v in (np.where(finite, values, 0.0), finite))
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    with np.errstate(invalid='ignore', divide='ignore'):
        means = (sums[last] - sums[first]) / (counts[last] - counts[first])
    return np.where(finite, means, np.nan)


def thin(line: Line) -> Line:
    """Returns at most 500 evenly spaced points of a line, including the first and the last."""
    x, y = line
    if len(x) <= POINTS:
        return line
    chosen = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    return x[chosen], y[chosen]


def _plot(axes: Axes, line: Line, name: str, own: dict[str, Any], rough: bool) -> None:
    x, y = line
    mean = smooth(y) if rough else y
    if rough and len(y) // SHARES > 1:
        axes.plot(*thin((x, y)), color=own['color'], alpha=0.25, linewidth=0.6)
    alone: dict[str, Any] = {'marker': 'o'} if np.isfinite(y).sum() == 1 else {}
    axes.plot(*thin((x, mean)), label=name, **own, **alone)


def _panels_of_one(run: RunRecord) -> Panels:
    steps = run.steps
    panels: dict[str, dict[str, Line]] = {
        # a third party's step may report only its loss
        'Loss': _lines(steps, [line.get('tasks') or {'loss': line['loss']} for line in steps]),
        'Weight': _lines(steps, [line.get('weights') or {} for line in steps]),
    }
    titles = dict.fromkeys(title for line in steps for title in line.get('curves') or {})
    _require_few(len(titles), TITLES, f'{run.label}: metrics.jsonl', 'curves')
    for title in titles:
        shown = OF_OPTIMIZERS.get(title, title)
        panels[shown] = _lines(steps, [(line.get('curves') or {}).get(title) or {} for line in steps])
    rates = [{'learning rate': line['lr']} if 'lr' in line else {} for line in steps]
    panels.setdefault('Learning rate', _lines(steps, rates))
    scored = evaluations(run)
    _require_few(len(scored), LINES // 2, f'{run.label}: metrics.jsonl', 'series of evaluations')
    panels['Evaluation (%)'] = {}
    for key, metrics in scored.items():
        prefix = f'{key[2]}: ' if len(scored) > 1 else ''
        panels['Evaluation (%)'] |= {f'{prefix}{metric}': line for metric, line in metrics.items()}
    tasks = [name for title, lines in panels.items() if title[-1] != ')' for name in lines if name != 'learning rate']
    places = {name: index for index, name in enumerate(dict.fromkeys(tasks))}  # a task has one style in all panels
    return {
        title: [(places.get(name, index), name, line) for index, (name, line) in enumerate(lines.items())]
        for title, lines in panels.items()
        if lines
    }


def _panels_of_several(runs: Sequence[RunRecord]) -> Panels:
    panels: Panels = {}
    for index, run in enumerate(runs):
        whole = _lines(run.steps, [_loss_and_rate(line) for line in run.steps])
        first = next(iter(evaluations(run).values()), {})
        for title, line in [*whole.items(), *((f'{metric} (%)', line) for metric, line in first.items())]:
            panels.setdefault(title, []).append((index, run.label, line))
    return panels


def _loss_and_rate(line: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the loss of a step and its learning rate, named by its turn if optimizers take turns."""
    turn = f' of {line["turn"]}' if line.get('turn') else ''
    return {f'Loss{turn}': line['loss'], f'Rate{turn}' if turn else 'Learning rate': line.get('lr')}


def evaluations(run: RunRecord) -> dict[tuple, dict[str, Line]]:
    """Returns rank-1 and mAP of the first row over steps, in percent, of everything evaluated at least twice.

    The validation during training and the final test are separate entries, with different keys.
    """
    groups: dict[tuple, list[tuple[int, float, float]]] = {}
    for line in run.metrics:
        if line.get('rows'):
            row = line['rows'][0]
            key = (line.get('data'), line.get('protocol'), row['name'], row.get('trials'), str(row.get('queries')))
            groups.setdefault(key, []).append((line['step'], row['R1']['mean'], row['mAP']['mean']))
    curves: dict[tuple, dict[str, Line]] = {}
    for key, values in groups.items():
        steps, r1, mean_ap = np.array(values, dtype=float).T
        if len(set(steps)) > 1:
            curves[key] = {'rank-1': (steps, 100 * r1), 'mAP': (steps, 100 * mean_ap)}
    return curves


def _lines(steps: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """Returns a line per name, over the steps that have it, with gaps where it is not a number."""
    every = np.array([line.get('step', index + 1) for index, line in enumerate(steps)], dtype=float)
    names = dict.fromkeys(name for each in values for name in each)
    _require_few(len(names), LINES, 'a panel of metrics.jsonl', 'lines')
    lines = {}
    for name in names:
        x = every[[name in each for each in values]]
        y = np.array([_number(each[name]) for each in values if name in each])
        if np.isfinite(y).any():
            lines[name] = (x, y)
    return lines


def _require_few(count: int, most: int, whose: str, what: str) -> None:
    """Raises UnsafeFile for more than a figure can show; each takes time to draw."""
    if count > most:
        raise UnsafeFile(f'{whose} has {count:,} {what}, too many to draw', allowed=f'at most {most}')


def _number(value: Any) -> float:
    return float('nan') if value is None else float(value)
