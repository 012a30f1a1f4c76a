"""The interactive scatter plot of embeddings on `report.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.types import VISIBLE
from vireid.reporting.evidence import Evidence

SIZE, MARGIN = 640, 20  # of the plot, in SVG units
PROJECTIONS = {'tsne': 't-SNE', 'pca': 'principal components'}


def embedding_plane(run: int, evidence: Evidence) -> dict[str, Any]:
    """Returns the embeddings of a run as the marks of a scatter plot, for each projection.

    Args:
        run: the index of the run, which the keys of its thumbnails begin with.
        evidence: evidence of the run, with `points`.
    """
    points, images = evidence.points, evidence.about['images']
    identities = {identity: n for n, identity in enumerate(sorted({images[i][1] for i in points['image']}))}
    projections = []
    for key, name in PROJECTIONS.items():
        places = points[key]
        if not len(places):
            continue
        low, high = places.min(axis=0), places.max(axis=0)
        unit = (places - low) / np.where(high > low, high - low, 1)
        x, y = (MARGIN + unit * (SIZE - 2 * MARGIN)).T
        marks = []
        for index, px, py in zip(points['image'], x, SIZE - y, strict=True):
            path, identity, camera, modality = images[index]
            marks.append(
                {
                    'x': f'{px:.1f}',
                    'y': f'{py:.1f}',
                    'visible': modality == VISIBLE,
                    # the golden angle gives consecutive identities distinct colors
                    'hue': f'{identities[identity] * 137.508 % 360:.0f}',
                    'thumb': f'{run}-{index}',
                    'title': f'identity {evidence.name_of(identity)}, camera {camera}, {Path(path).name}',
                }
            )
        projections.append({'key': key, 'name': name, 'marks': marks})
    shares = ' and '.join(f'{100 * share:.0f}%' for share in points['explained'])
    about = f'{len(points["image"]):,} images of {len(identities):,} identities; the principal components '
    return {'size': SIZE, 'projections': projections, 'about': f'{about}explain {shares} of the variance.'}
