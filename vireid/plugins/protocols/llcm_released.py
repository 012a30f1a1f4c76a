"""LLCM as the released code scores it."""

from __future__ import annotations

from vireid.core.types import Sample, Trial
from vireid.plugins.protocols.llcm import DIRECTIONS, LLCMProtocol


class LLCMReleased(LLCMProtocol):
    """As `llcm`, but "visible to infrared" searches with the drawn infrared images in all visible ones.

    That is what the authors' released code computes under the name, so published metrics of that direction can only
    be compared with this one.

    Args:
        directions: which rows to score.
        trials: how many draws are averaged, from trial 0.
    """

    name = 'llcm-released'

    def trial(self, direction: str, index: int, query: tuple[Sample, ...], gallery: tuple[Sample, ...]) -> Trial:
        """Returns one trial, with query and gallery exchanged in the first direction."""
        if direction == next(iter(DIRECTIONS)):
            query, gallery = gallery, query
        return super().trial(direction, index, query, gallery)
