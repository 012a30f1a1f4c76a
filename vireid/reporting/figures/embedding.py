"""Embeddings projected to the plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vireid.errors import WrongValue
from vireid.reporting.figures.style import (
    COLUMN,
    INK,
    PAGE,
    PALETTE,
    add_legend,
    add_notes,
    choose_evidence,
    new_figure,
    protocol_note,
    styled,
)
from vireid.reporting.record import RunRecord

MARKS = {'visible': 'o', 'infrared': '^'}
OTHER = 's'


@styled
def draw(runs: Sequence[RunRecord], method: str = 'tsne', width: float | None = None) -> Figure:
    """Draws embeddings as points, with colors for identities and markers for modalities; runs are columns.

    Many papers show the t-SNE of some identities; TFFN and DMCF do not.

    Args:
        runs: with evidence.
        method: `tsne`, or `pca` for principal components, which also replace a missing t-SNE.
        width: in inches; by default one column for a single run, the page for several.

    Raises:
        VireidError: for another `method`, or if no run has embeddings.
    """
    if method not in ('tsne', 'pca'):
        raise WrongValue(f'method is {method!r}', allowed="'tsne' or 'pca'")
    kept, notes = choose_evidence(runs, lambda evidence: len(evidence.points.get('image', ())), 'embeddings')
    size = width or (COLUMN if len(kept) == 1 else PAGE)
    figure = new_figure(size, size / len(kept) + 0.35)
    grid = figure.subplots(1, len(kept), squeeze=False)[0]
    seen: dict[str, str] = {}
    without, most = [], 0
    for axes, run in zip(grid, kept, strict=True):
        assert run.evidence is not None
        points = run.evidence.points
        images = [run.evidence.about['images'][int(index)] for index in points['image']]
        own = np.asarray(points['tsne'] if method == 'tsne' and 'tsne' in points else np.zeros((0, 2)))
        if len(own) != len(images):
            own = np.asarray(points['pca'])
            without += [run.label] if method == 'tsne' else []
            shares = [f'{100 * share:.1f}%' for share in points['explained']]
            axes.set(xlabel=f'Component 1\n{shares[0]} of variance', ylabel=f'Component 2\n{shares[1]} of variance')
        else:
            axes.set(xlabel='t-SNE 1', ylabel='t-SNE 2', xticks=[], yticks=[])
        people = {identity: index for index, identity in enumerate(dict.fromkeys(image[1] for image in images))}
        most = max(most, len(people))
        for modality in dict.fromkeys(image[3] for image in images):
            mark = seen.setdefault(modality, MARKS.get(modality, OTHER))
            chosen = np.array([image[3] == modality for image in images])
            colors = [PALETTE[people[i[1]] % len(PALETTE)] for i in images if i[3] == modality]
            axes.scatter(*own[chosen].T, c=colors, marker=mark, s=12, linewidths=0.3, edgecolors='white', alpha=0.85)
        axes.set_box_aspect(1)
        if len(kept) > 1:
            axes.set_title(run.label, fontweight='bold')
    marks = [
        Line2D([], [], color=INK, marker=mark, linestyle='', markersize=4, label=modality)
        for modality, mark in seen.items()
    ]
    add_legend(figure, marks)
    if most > len(PALETTE):
        notes.append(f'Each color is an identity; {most} identities share {len(PALETTE)} colors.')
    if without:
        where = 'Principal components' if len(without) == len(kept) else f'{", ".join(without)}: principal components'
        notes.append(f'{where}, because scikit-learn, which t-SNE needs, was not installed when the run was scored.')
    add_notes(figure, [*notes, *protocol_note(kept)])
    return figure
