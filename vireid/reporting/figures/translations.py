"""Images that the translators of a model generate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vireid.reporting.figures.style import PAGE, styled
from vireid.reporting.figures.tiles import draw_pairs
from vireid.reporting.record import RunRecord


@styled
def draw(runs: Sequence[RunRecord], pairs: int = 4, width: float = PAGE) -> Figure:
    """Draws what translators generate from both images of pairs, with a row per pair and a column per kind of image.

    Args:
        runs: with evidence; drawn one below the other.
        pairs: the maximum number, alternating correct and wrong ones.
        width: in inches.
    """
    note = 'Gray: the model does not generate this from an image of this modality.' if _has_gray(runs) else ''
    return draw_pairs(runs, 'translations', generated, note, pairs, width).figure


def _has_gray(runs: Sequence[RunRecord]) -> bool:
    """Reports whether any generated image has a single value, as those have that a model does not generate."""
    maps = [
        own for run in runs if run.evidence for key, own in run.evidence.maps.items() if key.startswith('translations ')
    ]  # (P, 2, h, w, 3)
    return any(bool((np.ptp(own, axis=(2, 3, 4)) == 0).any()) for own in maps if len(own))


def generated(image: np.ndarray, translated: np.ndarray) -> np.ndarray:
    """Returns a translated image (h, w, 3) in 0..1 as uint8, whatever the image that it was generated from."""
    return np.rint(255 * np.clip(translated, 0, 1)).astype(np.uint8)
