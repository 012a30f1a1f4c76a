"""Ranking lists: queries and the gallery images most similar to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vireid.boundary.names import look
from vireid.boundary.showing import some
from vireid.errors import NoMatch, WrongValue
from vireid.reporting.evidence import Evidence
from vireid.reporting.figures.style import LETTER, PAGE, SMALL, choose, choose_evidence, protocol_note, styled
from vireid.reporting.figures.tiles import GAP, LINE, MARGIN, Sheet, aspect_of, decode
from vireid.reporting.record import RunRecord

KINDS = ('best', 'worst', 'random')
MAX_TILE = 0.9  # inches, the maximum width of an image


@styled
def draw(
    runs: Sequence[RunRecord],
    queries: int = 5,
    top: int = 10,
    kind: str = 'worst',
    identity: str | int | None = None,
    width: float = PAGE,
) -> Figure:
    """Draws queries on the left, followed by the gallery in ranked order.

    Correct images have a solid green frame and a tick, wrong ones a dashed orange frame and a cross; below each is its
    similarity to the query.

    Args:
        runs: with evidence; drawn one below the other.
        queries: the maximum number of rows per run.
        top: the maximum number of gallery images per query.
        kind: kind of queries: `best` or `worst` by average precision, one per identity, or `random`.
        identity: draws the queries of this identity instead: its name or number in the dataset.
        width: in inches.

    Raises:
        VireidError: for another `kind`, numbers below 1, or if no run has such ranking lists.
    """
    if kind not in KINDS:
        raise WrongValue(f'kind is {kind!r}', allowed=', '.join(KINDS))
    if queries < 1 or top < 1:
        raise WrongValue(f'queries is {queries}, top is {top}', allowed='1 or more')
    kept, notes = choose_evidence(runs, lambda evidence: len(evidence.lists.get('query', ())), 'ranking lists')
    what = f'kind {kind!r}' if identity is None else f'identity {identity}'
    kept, others = choose(
        kept,
        lambda run: bool(run.evidence and chosen_lists(run.evidence, kind, identity)),
        f'no ranking list of {what}',
        f'choose one of {_people(kept)}' if identity is not None else f'choose another of {", ".join(KINDS)}',
        NoMatch,
    )
    sheet = Sheet(width)
    for run in kept:
        assert run.evidence is not None
        if len(kept) > 1:
            sheet.heading(run.label)
        lists = chosen_lists(run.evidence, kind, identity)[:queries]
        _draw_run(sheet, run.evidence, lists, top)
    names = sorted({str(run.evidence.about.get('similarity') or 'cosine') for run in kept if run.evidence})
    which = '' if identity is not None else 'Random queries. ' if kind == 'random' else f'Queries with the {kind} AP. '
    legend = (
        f'{which}Green, solid, tick: same identity. Orange, dashed, cross: different identity. Below each image: its '
        f'similarity ({", ".join(names)}).'
    )
    sheet.finish([legend, *notes, *others, *protocol_note(kept)])
    return sheet.figure


def chosen_lists(evidence: Evidence, kind: str, identity: str | int | None) -> list[int]:
    """Returns the indices of the lists of a kind or an identity, by average precision; random ones keep their order.

    Args:
        evidence: the evidence of an evaluation.
        kind: `random`, `worst` or `best`, where the highest average precision comes first.
        identity: number or name of an identity, whose lists are returned whatever their kind; None selects by kind.
    """
    about, lists = evidence.about, evidence.lists
    if identity is not None:
        rows = [i for i, query in enumerate(lists['query']) if _is(evidence, about['images'][int(query)][1], identity)]
        return sorted(rows, key=lambda i: (lists['ap'][i], i))
    of_kind = [i for i, kinds in enumerate(about.get('kinds', ())) if kind in kinds]
    if kind == 'random':
        return of_kind
    return sorted(of_kind, key=lambda i: (lists['ap'][i] * (1 if kind == 'worst' else -1), i))


def _is(evidence: Evidence, number: int, identity: str | int) -> bool:
    """Returns whether a name or number means an identity; leading zeros and accents may be written differently."""
    return str(identity) in (evidence.name_of(number), str(number)) or look(str(identity)) == look(
        evidence.name_of(number)
    )


def _people(runs: Sequence[RunRecord]) -> str:
    people: dict[str, int] = {}
    for run in runs:
        if run.evidence is not None:
            numbers = {run.evidence.about['images'][int(query)][1] for query in run.evidence.lists['query']}
            people |= {run.evidence.name_of(number): number for number in numbers}
    return some(sorted(people, key=lambda name: (people[name], name)), 12)


def _draw_run(sheet: Sheet, evidence: Evidence, chosen: Sequence[int], top: int) -> None:
    lists, images = evidence.lists, evidence.about['images']
    gallery = np.asarray(lists['gallery'])[list(chosen), :top]
    columns = max(1, int((gallery >= 0).any(axis=0).sum()))
    tile = min(MAX_TILE, (sheet.width - 2 * MARGIN - (columns + 3) * GAP) / (columns + 1))
    shown = {int(i): decode(evidence, int(i)) for i in {*gallery[gallery >= 0], *lists['query'][list(chosen)]}}
    size = (tile, tile * aspect_of(list(shown.values())))
    small = float(np.clip(tile * 72 / (4.2 * LETTER), 3.5, SMALL))  # so that 0.83 fits below an image
    line = LINE * small / SMALL
    across = [MARGIN + GAP / 2 + column * (tile + GAP) + (2 * GAP if column else 0) for column in range(columns + 1)]
    for column, x in enumerate(across):
        sheet.write(x + tile / 2, sheet.y, str(column) if column else 'query', small, ha='center')
    sheet.y += line + 0.04
    for row, number in enumerate(chosen):
        query = int(lists['query'][number])
        sheet.image(across[0], sheet.y, size, shown[query])
        sheet.frame(across[0], sheet.y, size, None)
        below = sheet.y + size[1] + 0.04
        for place, text in enumerate((f'ID {evidence.name_of(images[query][1])}', f'AP {lists["ap"][number]:.2f}')):
            fitting = min(small, tile * 72 / (len(text) * LETTER * 1.05))
            sheet.write(across[0] + tile / 2, below + place * line, text, fitting, ha='center')
        for column, index in enumerate(gallery[row][:columns]):
            if index >= 0:
                x = across[column + 1]
                sheet.image(x, sheet.y, size, shown[int(index)])
                sheet.frame(x, sheet.y, size, bool(lists['right'][number][column]))
                text = f'{lists["similarity"][number][column]:.2f}'
                sheet.write(x + tile / 2, below, text, small, ha='center')
        sheet.y = below + 2 * line + 0.05
