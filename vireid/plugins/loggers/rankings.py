"""Ranking lists as an image: queries on the left, the gallery by falling similarity to the right."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from torchvision.transforms.v2.functional import to_pil_image

from vireid.core.data.images import read_image
from vireid.core.scoring.results import Results
from vireid.core.scoring.retrieval import labels, rank_gallery
from vireid.core.types import Sample

TILE = (72, 144)  # width, height of one image
BORDER, GAP = 4, 6
RIGHT, WRONG, NEUTRAL = '#2e9e5b', '#d1495b', '#888888'


def draw_rankings(results: Results, queries: int = 8, top: int = 10) -> Image.Image:
    """Draws the first gallery images of some queries of the first trial.

    Args:
        results: with embeddings.
        queries: rows; spread evenly over the queries that have a match.
        top: gallery images in a row.

    Returns:
        An RGB image; green frames are the query's identity, red ones another's.
    """
    trial = results.trials[0]
    similarity = results.similarities(trial)
    query_ids, gallery_ids = labels(trial.query)[0], labels(trial.gallery)[0]
    order, kept = rank_gallery(similarity, trial)
    places = np.arange(order.shape[1])
    matched = ((gallery_ids[order] == query_ids[:, None]) & (places < kept[:, None])).any(axis=1)
    # one query of each identity, as far as there are enough of them
    firsts = np.unique(query_ids[matched], return_index=True)[1]
    pool = np.flatnonzero(matched)[firsts]
    chosen = pool[np.unique(np.linspace(0, len(pool) - 1, min(queries, len(pool))).round().astype(int))]
    cell = TILE[0] + 2 * BORDER + GAP, TILE[1] + 2 * BORDER + GAP
    top = min(top, int(kept[chosen].max()))
    sheet = Image.new('RGB', ((top + 1) * cell[0] + 3 * GAP, len(chosen) * cell[1] + GAP), 'white')
    for row, query in enumerate(chosen):
        down = GAP + row * cell[1]
        _paste(sheet, trial.query[query], (GAP, down), NEUTRAL)
        for column, index in enumerate(order[query, : min(top, kept[query])]):
            colour = RIGHT if gallery_ids[index] == query_ids[query] else WRONG
            _paste(sheet, trial.gallery[index], (3 * GAP + (column + 1) * cell[0], down), colour)
    return sheet


def _paste(sheet: Image.Image, sample: Sample, at: tuple[int, int], colour: str) -> None:
    frame = (at[0], at[1], at[0] + TILE[0] + 2 * BORDER - 1, at[1] + TILE[1] + 2 * BORDER - 1)
    ImageDraw.Draw(sheet).rectangle(frame, fill=colour)
    image = to_pil_image(read_image(sample.path)).resize(TILE, Image.Resampling.BILINEAR)
    sheet.paste(image, (at[0] + BORDER, at[1] + BORDER))
