"""CorrespondenceConcat: the fusion of DMCF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec, Modality, joint_order
from vireid.plugins.necks.matching import one_input


class CorrespondenceConcat(nn.Module):
    """Concatenates the streams' features of one level along the batch (DMCF Eq. 1-3).

    DMCF is Cheng et al., IEEE Access 2020, doi 10.1109/ACCESS.2020.2966002.

    It turns a paired feature into a joint one, visible images first. Modalities may be missing or differ in size.

    Args:
        inputs: one paired feature.

    Raises:
        Mismatch: unless there is exactly one input.
    """

    layout = 'paired'

    def __init__(self, inputs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        spec = one_input('CorrespondenceConcat', inputs)
        self.output = replace(spec, layout='joint')

    def forward(self, streams: dict[Modality, Tensor], context: Context) -> Tensor:
        return torch.cat([streams[m] for m in joint_order(streams)])  # (B, C, ...)
