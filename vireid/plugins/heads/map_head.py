"""MapHead: the values of a paired map, or the difference of two, for losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import FeatureSpec, HeadOutput, Modality, joint_order
from vireid.errors import Mismatch


class MapHead(nn.Module):
    """Passes a paired map, or the difference of two, to losses, one row per image; for training only.

    With a translator's `real` and `cycle` maps and the loss `L1`, it is cycle consistency. The mean over rows is the
    mean over the modalities, as long as each has as many images.

    Args:
        inputs: one or two paired maps.

    Raises:
        Mismatch: if there are more, or two with different channels.
    """

    layout, train_only = 'paired', True

    def __init__(self, inputs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        if not 1 <= len(inputs) <= 2 or len({spec.channels for spec in inputs}) != 1:
            channels = ', '.join(str(spec.channels) for spec in inputs)
            raise Mismatch(
                f'MapHead reads {len(inputs)} maps with {channels} channels', allowed='one, or two with equal channels'
            )

    def forward(self, first: Mapping[Modality, Tensor], second: Mapping[Modality, Tensor] | None = None) -> HeadOutput:
        """Returns (B, C H W) values as the feature, visible rows first."""
        rows = [(first[m] if second is None else first[m] - second[m]).flatten(1) for m in joint_order(first)]
        return HeadOutput(torch.cat(rows))
