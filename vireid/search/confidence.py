"""The confidence of hits: the probability of each, and whether the person of the query is in the index at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vireid.core.types import INFRARED, VISIBLE, Modality
from vireid.search.index import Hit, Index, Where
from vireid.statistics.calibration import FEWEST

FALSE_ALARMS = 0.05


@dataclass(frozen=True)
class Confidence:
    """The confidence of the hits of a query.

    Attributes:
        probabilities: for each hit, the probability that it shows the person of the query; None if unknown.
        absent: whether the person is probably not in the index; None if unknown.
        threshold: similarity below which the best hit means absent; None if unknown.
        unknown: why something is unknown; empty if nothing is.
        modality: modality of the judged hits; empty if there are none.
    """

    probabilities: tuple[float | None, ...]
    absent: bool | None = None
    threshold: float | None = None
    unknown: str = ''
    modality: Modality = ''

    def text(self, rate: float) -> str:
        """Returns a note that the person is probably absent, and why; empty if not. `rate` as in `judge`."""
        if not self.absent:
            return ''
        reached = f'which {percent(rate)} of the people who are not in it would reach'
        best = f'the best {self.modality} hit scores below {self.threshold:.3f}, {reached}'
        return f'probably not in this gallery: {best} (percentages assume that the person is in it)'


def percent(share: float) -> str:
    """Returns a share as a whole number of percent, with bounds in place of 0 and 100."""
    return '< 1%' if share < 0.01 else '> 99%' if share > 0.99 else f'{100 * share:.0f}%'


def judge(
    index: Index, modality: Modality, hits: Sequence[Hit], where: Where | None = None, rate: float = FALSE_ALARMS
) -> Confidence:
    """Judges the hits of a query.

    Only hits of the other modality can be judged, since a model is calibrated on pairs of a visible and an infrared
    image.

    Args:
        index: the index.
        modality: modality of the query.
        hits: the hits, the most similar first.
        where: the filter they were found with.
        rate: the share of people who are not in the index but whose best hit is taken for them.
    """
    none = (None,) * len(hits)
    calibration = index.embedder.calibration
    if calibration is None:
        why = 'scores are not calibrated, so there are no probabilities: this needs a model trained with at least '
        why += f'{FEWEST} validation identities and not adapted since'
        return Confidence(none, unknown=why)
    other = VISIBLE if modality == INFRARED else INFRARED
    across = [hit for hit in hits if hit.modality == other]
    if not across:
        return Confidence(none, unknown=f'no {other} image among the hits; only pairs of two modalities are calibrated')
    images = len(index.entries.rows(replace(where or Where(), modality=other)))
    side = calibration.side(modality)
    probable = side.probability(np.array([hit.score for hit in hits]), images).tolist()
    threshold = side.threshold(rate, images)
    return Confidence(
        tuple(p if hit.modality == other else None for p, hit in zip(probable, hits, strict=True)),
        across[0].score < threshold, threshold,
        '' if len(across) == len(hits) else f'only {other} hits are calibrated', other,
    )  # fmt: skip
