"""The hinge loss of GSM on visible-infrared pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.necks.generalized_similarity import generalized_similarity


class PairHinge(nn.Module):
    """Trains GSM's measure S to be at most -1 for one identity, and at least 1 for two (Lin et al., PAMI 2017).

    See arXiv 1605.04039.

    A pair of a visible and an infrared image costs max(0, 1 - l S), with l = -1 for the same identity and l = 1
    otherwise. Each image of a batch is paired with all images of the other modality. The loss is half the mean over the
    positive pairs plus half the mean over the negative pairs, so both kinds have equal weight, as in the paper, which
    draws equally many of each. A half without pairs adds 0. Other modalities are ignored.

    Its input is the output of `GeneralizedSimilarity` as a feature, (B, 2r + 2), visible images first.

    Raises:
        Mismatch: when called, if the feature has parts or an odd length.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if feature.ndim != 2 or feature.shape[1] % 2 or feature.shape[1] < 4:
            raise Mismatch(
                f'PairHinge got a feature {tuple(feature.shape)}',
                allowed='the output of GeneralizedSimilarity, (B, 2r + 2)',
                todo='use it on a VectorHead whose input is the neck GeneralizedSimilarity',
            )
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        values = generalized_similarity(feature[visible], feature[infrared])  # (V, I)
        same = identities[visible][:, None] == identities[infrared][None, :]
        halves = [
            (pairs * (1 - label * values).clamp_min(0)).sum() / pairs.sum().clamp_min(1)
            for pairs, label in ((same.to(values.dtype), -1), ((~same).to(values.dtype), 1))
        ]
        return (halves[0] + halves[1]) / 2  # ()
