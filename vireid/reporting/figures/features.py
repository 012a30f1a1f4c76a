"""What the stages of the backbone respond to: their feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vireid.reporting.figures.style import PAGE, styled
from vireid.reporting.figures.tiles import draw_pairs
from vireid.reporting.record import RunRecord


@styled
def draw(runs: Sequence[RunRecord], pairs: int = 4, width: float = PAGE) -> Figure:
    """Draws the feature maps of both streams, a row for each pair of images and a column for each level: DMCF's Fig. 5.

    Args:
        runs: with evidence; one below the other.
        pairs: how many at most; right and wrong ones in turn.
        width: in inches.
    """
    note = 'Mean of absolute values over channels. Each map has its own scale; a square is a position of the map.'
    return draw_pairs(runs, 'features', colour, note, pairs, width).figure


def colour(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns a map (h, w) from 0 to 1 in colours and in the size of its image."""
    colours = np.rint(255 * matplotlib.colormaps['magma'](np.clip(found, 0, 1))[..., :3]).astype(np.uint8)
    return np.asarray(Image.fromarray(colours).resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST))
