"""Writes the hits of a search as one HTML file that needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vireid.boundary.writing import write_whole
from vireid.console.wording import counted
from vireid.errors import VireidError
from vireid.reporting import markup
from vireid.search.confidence import percent
from vireid.search.index import Hit, Index
from vireid.search.queries import Answer

SIZE = (128, 256)  # pixels of an image on the page: twice the size at which it is shown


def write_page(path: Path, index: Index, answers: Sequence[Answer]) -> None:
    """Writes the page.

    Args:
        path: the file.
        index: the index.
        answers: what was found for each query.
    """
    sections = [
        {
            'name': f'{own.query.name}, {own.modality}'
            + (', probably not in this gallery' if own.confidence.absent else ''),
            'images': [
                _query(index, own.query),
                *(_hit(index, hit, p) for hit, p in zip(own.hits, own.confidence.probabilities, strict=True)),
            ],
        }
        for own in answers
    ]
    about = f'{counted(len(index), "image")} of {index.root}, embedded by {index.about["label"]}'
    write_whole(path, markup.render('found.html', title='Search', about=about, queries=sections))


def _query(index: Index, path: Path) -> dict[str, Any]:
    return {'jpeg': _jpeg(index.embedder.pixels(path)), 'alt': 'query', 'path': str(path), 'lines': ['query']}


def _hit(index: Index, hit: Hit, probability: float | None) -> dict[str, Any]:
    try:
        jpeg = _jpeg(index.image(hit.row))
    except VireidError:  # gone or changed
        jpeg = ''
    same = '' if probability is None else f'{percent(probability)} same'
    lines = [f'{hit.score:.3f}', same, f'camera {hit.camera}' if hit.camera else '']
    if hit.time:
        lines += [f'{hit.time:%Y-%m-%d}', f'{hit.time:%H:%M:%S}' + (' (file)' if hit.time_from == 'file time' else '')]
    return {'jpeg': jpeg, 'alt': f'score {hit.score:.3f}', 'path': hit.path, 'lines': list(filter(None, lines))}


def _jpeg(pixels: np.ndarray) -> str:
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail(SIZE)
    image.save(file, 'JPEG', quality=85)
    return base64.b64encode(file.getvalue()).decode()
