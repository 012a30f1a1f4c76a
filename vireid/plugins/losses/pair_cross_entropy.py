"""Binary cross-entropy of visible-infrared pairs: same identity or not."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.errors import Mismatch


class PairCrossEntropy(nn.Module):
    """Trains pair similarities: high for images of one identity, low otherwise.

    Its input is a (B, B) feature, the similarity between all images of the batch, such as the output `pairs` of
    `CorrelationHead`. The pair of a visible image i and an infrared image j has the logit z = scale (s_ij - threshold).
    The loss is half the mean of log(1 + exp(-z)) over positive pairs plus half the mean of log(1 + exp(z)) over
    negative pairs, so that the many negatives do not outweigh the few positives. A half without pairs adds 0.

    Args:
        scale: slope of the logit, above 0.
        threshold: similarity at which both answers are equally likely.

    Raises:
        Mismatch: when called, if the feature is not (B, B).
    """

    reads_parts = False

    def __init__(self, scale: Annotated[float, Gt(0)] = 5.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.scale, self.threshold = scale, threshold

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        similarity = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if similarity.shape != (len(identities), len(identities)):
            raise Mismatch(
                f'PairCrossEntropy got a feature {tuple(similarity.shape)} for {len(identities)} images',
                allowed='the similarity between all images, (B, B)',
                todo="use it on a head with such an output: CorrelationHead, with reads='pairs'",
            )
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        logit = self.scale * (similarity[visible, infrared] - self.threshold)  # (V, I)
        same = identities[visible][:, None] == identities[infrared][None, :]
        halves = [
            (pairs * nn.functional.softplus(sign * logit)).sum() / pairs.sum().clamp_min(1)
            for pairs, sign in ((same.to(logit.dtype), -1), ((~same).to(logit.dtype), 1))
        ]
        return (halves[0] + halves[1]) / 2  # ()
