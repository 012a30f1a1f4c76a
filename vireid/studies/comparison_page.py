"""A comparison as one HTML page that needs no network: the table, the intervals, who wins where, and what differs."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from vireid.core.files import write_whole
from vireid.reporting.figures import inline_svg
from vireid.reporting.page import asset, scroll, table
from vireid.studies.comparison import Comparison

MOST_PEOPLE = 30  # pairs whose identities are drawn; of more, those that may be claimed


def write(comparison: Comparison, folder: Path) -> None:
    """Writes `comparison.md` and `comparison.html`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / 'comparison.md', comparison.markdown())
    write_whole(folder / 'comparison.html', render(comparison))


def render(comparison: Comparison) -> str:
    """Returns the page."""
    from vireid.studies.comparison_figures import draw_intervals, draw_people, names

    systems = [system.name for system in comparison.systems]
    title = html.escape(comparison.title())
    head, *rows = comparison.lines()
    notes = ''.join(f'<p class="note"><strong>{html.escape(note)}</strong></p>' for note in comparison.notes)
    verdicts = ''.join(f'<li>{html.escape(verdict)}</li>' for verdict in comparison.verdicts())
    pairs = [pair for pair in comparison.pairs if pair.column == 'R1']
    which = 'each pair' if len(pairs) <= MOST_PEOPLE else 'each pair that differs'
    drawn = [pair for pair in pairs if pair.is_real or len(pairs) <= MOST_PEOPLE]
    people = ''.join(_figure(draw_people(pair), f'{names(pair)} by identity') for pair in drawn)
    configs = table(['path', *systems], [[path, *values] for path, values in comparison.configs()], 'configs')
    sections = {
        'Result': f'<p>{html.escape(comparison.head())}.</p>{notes}{table(head, rows, "systems")}',
        'Which differences are real': f'<p>{html.escape(comparison.about())}</p>'
        + _figure(draw_intervals(comparison.pairs), 'differences and their intervals')
        + f'<ul>{verdicts}</ul>',
        'Who wins on whom': f'<p>Rank-1 by test identity: the largest differences of {which}.</p>{people or "None."}',
        'What differs between the configs': configs,
    }
    body = ''.join(f'<section><h2>{name}</h2>{text}</section>' for name, text in sections.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><title>{title}</title><style>{asset("page.css")}</style></head><body><header>'
        f'<h1>{title}</h1></header><main>{body}</main></body></html>\n'
    )


def _figure(figure: Any, label: str) -> str:
    return f'<figure class="wide">{scroll(html.escape(label), inline_svg(figure, label))}</figure>'
