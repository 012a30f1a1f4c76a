"""Figures of a comparison: the intervals of pairs, and the differences by identity."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from vireid.reporting.figures.style import BLUE, INK, ORANGE, PAGE, new_figure, styled
from vireid.studies.comparison import SystemPair

LETTERS = 45  # maximum length of a name in a figure
MAX_IDENTITIES = 30  # identities per pair, those with the largest differences


@styled
def draw_intervals(pairs: Sequence[SystemPair]) -> Figure:
    """Draws the difference of each pair in points, with intervals over seeds (thick) and over identities (dashed)."""
    figure = new_figure(PAGE, 0.7 + 0.34 * len(pairs))
    axes = figure.subplots()
    for place, pair in enumerate(reversed(pairs)):
        people, seeds = pair.by_people, pair.by_seeds
        axes.plot([100 * people.low, 100 * people.high], [place - 0.12] * 2, color=ORANGE, lw=1.2, ls='--')
        if seeds is not None:
            axes.plot([100 * seeds.low, 100 * seeds.high], [place + 0.12] * 2, color=BLUE, lw=3)
        axes.plot([100 * (people.mean if seeds is None else seeds.mean)], [place + 0.12], 'o', color=INK)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(pairs)), [f'{_short_names(pair)}, {pair.column}' for pair in reversed(pairs)])
    axes.set_ylim(-0.6, len(pairs) - 0.4)
    axes.set_xlabel('Difference in points; solid: over seeds, dashed: over identities')
    return figure


@styled
def draw_people(pair: SystemPair) -> Figure:
    """Draws the difference of two systems by test identity, for the largest differences."""
    wins = sorted(pair.wins.items(), key=lambda item: (-abs(item[1]), item[0]))[:MAX_IDENTITIES]
    wins.sort(key=lambda item: (-item[1], item[0]))
    figure = new_figure(PAGE, 2.2)
    axes = figure.subplots()
    values = [100 * gain for _, gain in wins]
    bars = axes.bar(range(len(wins)), values, color=[BLUE if v > 0 else ORANGE for v in values])
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch('' if value > 0 else '///')  # distinguishable without color
    axes.set_xticks(range(len(wins)), [str(identity) for identity, _ in wins], rotation=90)
    axes.set_xlabel('Test identity')
    axes.set_ylabel(f'{pair.column} (points)')
    axes.set_title(f'{_short_names(pair)}: {len(wins)} of {len(pair.wins)} identities')
    axes.axhline(0, color=INK, lw=0.6)
    return figure


def names(pair: SystemPair) -> str:
    """Returns the name of a pair in figures."""
    return f'{pair.first} - {pair.second}'


def _short_names(pair: SystemPair) -> str:
    """Returns the name of a pair, shortened to fit into a figure."""
    cut = [name if len(name) <= LETTERS else f'{name[: LETTERS - 1]}…' for name in (pair.first, pair.second)]
    return ' - '.join(cut)
