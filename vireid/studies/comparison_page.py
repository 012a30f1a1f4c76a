"""A comparison as a self-contained HTML page: table, intervals, differences by identity and between configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from vireid.boundary.writing import write_whole
from vireid.reporting.figures import inline_svg
from vireid.reporting.markup import NOTHING, document, html, join
from vireid.reporting.page import scroll, table
from vireid.studies.comparison import Comparison

MOST_PEOPLE = 30  # pairs drawn by identity; with more pairs, only significant ones


def write(comparison: Comparison, folder: Path) -> None:
    """Writes `comparison.md` and `comparison.html`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / 'comparison.md', comparison.markdown())
    write_whole(folder / 'comparison.html', render(comparison))


def render(comparison: Comparison) -> str:
    """Returns the page."""
    sections = {
        'Result': _result(comparison),
        'Significance of differences': _differences(comparison),
        'Differences by identity': _people(comparison),
        'Differences between the configs': _configs(comparison),
    }
    main = join(
        html('<section><h2>{name}</h2>{text}</section>', name=name, text=text) for name, text in sections.items()
    )
    return document(comparison.title(), NOTHING, main)


def _result(comparison: Comparison) -> Markup:
    head, *rows = comparison.lines()
    return html(
        '<p>{head}.</p>{notes}{table}',
        head=comparison.head(),
        notes=join(html('<p class="note"><strong>{note}</strong></p>', note=note) for note in comparison.notes),
        table=table(head, rows, 'systems'),
    )


def _differences(comparison: Comparison) -> Markup:
    from vireid.studies.comparison_figures import draw_intervals

    return html(
        '<p>{about}</p>{figure}<ul>{verdicts}</ul>',
        about=comparison.about(),
        figure=_figure(draw_intervals(comparison.pairs), 'differences and their intervals'),
        verdicts=join(html('<li>{verdict}</li>', verdict=verdict) for verdict in comparison.verdicts()),
    )


def _people(comparison: Comparison) -> Markup:
    from vireid.studies.comparison_figures import draw_people, names

    pairs = [pair for pair in comparison.pairs if pair.column == 'R1']
    drawn = [pair for pair in pairs if pair.is_significant or len(pairs) <= MOST_PEOPLE]
    return html(
        '<p>Rank-1 by test identity: the largest differences of {which}.</p>{people}',
        which='each pair' if len(pairs) <= MOST_PEOPLE else 'each pair with a significant difference',
        people=join(_figure(draw_people(pair), f'{names(pair)} by identity') for pair in drawn) or 'None.',
    )


def _configs(comparison: Comparison) -> Markup:
    systems = [system.name for system in comparison.systems]
    return table(['path', *systems], [[path, *values] for path, values in comparison.configs()], 'configs')


def _figure(figure: Any, label: str) -> Markup:
    return html('<figure class="wide">{moved}</figure>', moved=scroll(label, inline_svg(figure, label)))
