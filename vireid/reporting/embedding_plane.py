"""The interactive scatter plot of embeddings on `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from vireid.core.types import VISIBLE
from vireid.reporting.evidence import Evidence
from vireid.reporting.markup import html, join

SIZE, MARGIN = 640, 20  # of the plot, in SVG units


def embedding_plane(run: int, evidence: Evidence) -> Markup:
    """Returns the embeddings of a run as an SVG scatter plot, with a choice of projections.

    Args:
        run: the index of the run, which the keys of its thumbnails begin with.
        evidence: of the run, with `points`.
    """
    points, images = evidence.points, evidence.about['images']
    identities = {identity: n for n, identity in enumerate(sorted({images[i][1] for i in points['image']}))}
    names = {'tsne': 't-SNE', 'pca': 'principal components'}
    available = [key for key in names if len(points[key])]
    groups = []
    for key in available:
        places = points[key]
        low, high = places.min(axis=0), places.max(axis=0)
        unit = (places - low) / np.where(high > low, high - low, 1)
        x, y = (MARGIN + unit * (SIZE - 2 * MARGIN)).T
        marks = []
        for image, px, py in zip(points['image'], x, SIZE - y, strict=True):
            # the golden angle gives consecutive identities distinct colors
            hue = identities[images[image][1]] * 137.508 % 360
            name = evidence.name_of(images[image][1])
            marks.append(_point(f'{run}-{image}', name, images[image], hue, float(px), float(py)))
        hidden = Markup('' if key == available[0] else ' hidden')  # noqa: S704, two literals
        groups.append(html('<g data-projection="{key}"{hidden}>{marks}</g>', key=key, hidden=hidden, marks=join(marks)))
    return html(
        '<div class="controls"><label>Projection<select class="projection">{options}</select></label></div>'
        '<div class="plane"><svg viewBox="0 0 {size} {size}" role="img" aria-label="embeddings in the plane">{groups}'
        '</svg></div>'
        '<p class="soft">{images:,} images of {identities:,} identities; the principal components '
        'explain {shares} of the variance.</p>',
        options=join(html('<option value="{key}">{name}</option>', key=key, name=names[key]) for key in available),
        size=SIZE,
        groups=join(groups),
        images=len(points['image']),
        identities=len(identities),
        shares=' and '.join(f'{100 * share:.0f}%' for share in points['explained']),
    )


def _point(thumb: str, name: str, image: Sequence[Any], hue: float, x: float, y: float) -> Markup:
    """Returns a point of the plot: a circle for a visible image, a triangle for an infrared one."""
    path, _, camera, modality = image
    shape = (
        html('<circle cx="{x:.1f}" cy="{y:.1f}" r="5"', x=x, y=y)
        if modality == VISIBLE
        else html('<path d="M{x:.1f} {y:.1f}l5.5 10h-11z"', x=x, y=y - 6)
    )
    return html(
        '{shape} fill="hsl({hue:.0f} 70% 50%)" data-thumb="{thumb}"><title>{title}</title></{tag}>',
        shape=shape,
        hue=hue,
        thumb=thumb,
        title=f'identity {name}, camera {camera}, {Path(path).name}',
        tag='circle' if modality == VISIBLE else 'path',
    )
