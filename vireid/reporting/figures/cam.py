"""Where the model looked: Grad-CAM of what made two images similar, over the images."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vireid.reporting.figures.style import PAGE, styled
from vireid.reporting.figures.tiles import draw_pairs
from vireid.reporting.record import RunRecord

ALPHA = 0.5


@styled
def draw(runs: Sequence[RunRecord], pairs: int = 4, width: float = PAGE) -> Figure:
    """Draws heat maps over both images of pairs, a row for each pair and a column for each stage, as TFFN's Fig. 5.

    Args:
        runs: with evidence; one below the other.
        pairs: how many at most; right and wrong ones in turn.
        width: in inches.
    """
    note = 'Grad-CAM of the similarity of the two images. Bright: it rests on this place. Each map has its own scale.'
    return draw_pairs(runs, 'cam', overlay, note, pairs, width).figure


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays a map (h, w) from 0 to 1 over an image (H, W, 3) uint8; it is enlarged bilinearly."""
    small = Image.fromarray(heat.astype(np.float32))
    large = np.asarray(small.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR))
    colours = matplotlib.colormaps['magma'](np.clip(large, 0, 1))[..., :3]
    return np.rint(255 * ALPHA * colours + (1 - ALPHA) * image).astype(np.uint8)
