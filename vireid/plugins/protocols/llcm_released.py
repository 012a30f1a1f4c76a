"""The LLCM protocol of the authors' released code."""

from __future__ import annotations

from vireid.core.types import Sample, Trial
from vireid.plugins.protocols.llcm import DIRECTIONS, LLCMProtocol


class LLCMReleased(LLCMProtocol):
    """Like `llcm`, but "visible to infrared" queries all visible images with the drawn infrared images.

    This is what the authors' released code computes under that name, so compare published metrics of this direction
    only with this protocol.

    Args:
        directions: directions to score, one result row each.
        trials: number of random draws to average over, starting with trial 0.
    """

    name = 'llcm-released'

    def trial(self, direction: str, index: int, query: tuple[Sample, ...], gallery: tuple[Sample, ...]) -> Trial:
        """Returns one trial, with query and gallery swapped in the first direction."""
        if direction == next(iter(DIRECTIONS)):
            query, gallery = gallery, query
        return super().trial(direction, index, query, gallery)
