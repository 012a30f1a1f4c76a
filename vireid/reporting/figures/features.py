"""Feature maps of the stages of the backbone."""

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
    """Draws the feature maps of both streams, with a row per pair and a column per stage, as in DMCF's Fig. 5.

    Args:
        runs: with evidence; drawn one below the other.
        pairs: the maximum number, alternating correct and wrong ones.
        width: in inches.
    """
    note = 'Mean absolute value over channels. Each map has its own scale; a square is a position of the map.'
    return draw_pairs(runs, 'features', colorize, note, pairs, width).figure


def colorize(image: np.ndarray, feature_map: np.ndarray) -> np.ndarray:
    """Returns a map (h, w) in 0..1 as colors, in the size of its image."""
    colors = np.rint(255 * matplotlib.colormaps['magma'](np.clip(feature_map, 0, 1))[..., :3]).astype(np.uint8)
    return np.asarray(Image.fromarray(colors).resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST))
