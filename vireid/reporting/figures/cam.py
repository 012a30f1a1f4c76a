"""Grad-CAM heat maps of the similarity of two images, over the images."""

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
    """Draws heat maps over both images of pairs, with a row per pair and a column per stage, as in TFFN's Fig. 5.

    Args:
        runs: with evidence; drawn one below the other.
        pairs: the maximum number, alternating correct and wrong ones.
        width: in inches.
    """
    note = 'Grad-CAM of the similarity of the two images: bright regions contribute most. Each map has its own scale.'
    return draw_pairs(runs, 'cam', overlay, note, pairs, width).figure


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Overlays a map (h, w) in 0..1, enlarged bilinearly, on an image (H, W, 3) uint8."""
    small = Image.fromarray(heat.astype(np.float32))
    large = np.asarray(small.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR))
    colors = matplotlib.colormaps['magma'](np.clip(large, 0, 1))[..., :3]
    return np.rint(255 * ALPHA * colors + (1 - ALPHA) * image).astype(np.uint8)
