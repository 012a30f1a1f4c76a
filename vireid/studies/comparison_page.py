"""A comparison as a self-contained HTML page: table, intervals, differences by identity and between configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vireid.boundary.writing import write_whole
from vireid.reporting import markup
from vireid.reporting.figures import inline_svg
from vireid.studies.comparison import Comparison

MAX_PAIRS = 30  # pairs drawn by identity; with more pairs, only significant ones


def write(comparison: Comparison, folder: Path) -> None:
    """Writes `comparison.md` and `comparison.html`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / 'comparison.md', comparison.markdown())
    write_whole(folder / 'comparison.html', render(comparison))


def render(comparison: Comparison) -> str:
    """Returns the page."""
    from vireid.studies.comparison_figures import draw_intervals, draw_people, names

    head, *rows = comparison.lines()
    pairs = [pair for pair in comparison.pairs if pair.column == 'R1']
    drawn = [pair for pair in pairs if pair.is_significant or len(pairs) <= MAX_PAIRS]
    return markup.render(
        'comparison.html',
        title=comparison.title(),
        about=comparison.head(),
        notes=comparison.notes,
        head=head,
        rows=rows,
        intervals=comparison.about(),
        differences=_figure(draw_intervals(comparison.pairs), 'differences and their intervals'),
        verdicts=comparison.verdicts(),
        which='each pair' if len(pairs) <= MAX_PAIRS else 'each pair with a significant difference',
        people=[_figure(draw_people(pair), f'{names(pair)} by identity') for pair in drawn],
        systems=[system.name for system in comparison.systems],
        configs=[[path, *values] for path, values in comparison.configs()],
    )


def _figure(figure: Any, label: str) -> dict[str, Any]:
    return {'missing': '', 'kind': 'wide', 'label': label, 'caption': '', 'svg': inline_svg(figure, label)}
