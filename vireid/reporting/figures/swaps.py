"""The swap grid of models that separate identity from pose and illumination."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vireid.reporting.figures.style import PAGE, add_notes, choose_evidence, new_figure, styled
from vireid.reporting.record import RunRecord

GAP = 2  # pixels between images
WIDEST = 0.7  # inches of an image


@styled
def draw(runs: Sequence[RunRecord], width: float | None = None) -> Figure:
    """Draws the images that give the identity on the left, those that give the pose on top, and their swaps between.

    Args:
        runs: with evidence; drawn side by side.
        width: in inches; by default 0.7 per image, and at most the page.
    """
    todo = 'draw a run of a model that separates identity from pose, such as HiCMD'
    kept, notes = choose_evidence(runs, lambda evidence: 'swaps' in evidence.maps, 'swap grid', todo)
    pictures = [_joined(run.evidence.maps['swaps']) for run in kept if run.evidence is not None]
    across = sum(run.evidence.maps['swaps'].shape[1] for run in kept if run.evidence is not None)
    width = width or min(PAGE, WIDEST * across)
    tallest = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    figure = new_figure(width, tallest * width / len(kept) + 0.4)
    for axes, run, picture in zip(figure.subplots(1, len(kept), squeeze=False)[0], kept, pictures, strict=True):
        axes.imshow(picture)
        axes.set(xticks=[], yticks=[], ylabel='Identity')
        axes.spines[:].set_visible(False)
        whose = f'{run.label}: ' if len(kept) > 1 else ''
        axes.set_title(f'{whose}Pose and illumination')
    add_notes(figure, notes)
    return figure


def _joined(grid: np.ndarray) -> np.ndarray:
    """Joins (R, C, h, w, 3) images in 0..1 into one, uint8."""
    tiles = np.pad(grid.astype(np.float32), ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=1)
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in tiles])
    return np.rint(255 * np.clip(picture[:-GAP, :-GAP], 0, 1)).astype(np.uint8)
