"""Cross-entropy of pairs across modalities: are they of one identity?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput


class PairCrossEntropy(nn.Module):
    """Trains similarities of image pairs: high if they are of one identity, low if not.

    It reads a feature (B, B), the similarity of each image of the batch with each, as `CorrelationHead` makes it. A
    pair of a visible image i and an infrared image j has the logit z = scale (s_ij - threshold). The loss is half the
    mean of log(1 + exp(-z)) over the pairs of one identity and half the mean of log(1 + exp(z)) over the others, so
    that the many others do not outweigh the few. A half without pairs adds 0: where a modality is missing, or all
    images are of one identity.

    Args:
        scale: slope of the logit, above 0.
        threshold: the similarity at which either answer is as likely.
    """

    reads_parts = False

    def __init__(self, scale: float = 5.0, threshold: float = 0.5) -> None:
        super().__init__()
        if not scale > 0:
            raise VireidError(f'scale is {scale}', allowed='a number above 0')
        self.scale, self.threshold = scale, threshold

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        similarity = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if similarity.shape != (len(identities), len(identities)):
            raise VireidError(
                f'PairCrossEntropy was given a feature {tuple(similarity.shape)} of {len(identities)} images',
                allowed='the similarity of each image with each, (B, B)',
                todo="use it on a head that makes it: CorrelationHead, with reads='pairs'",
            )
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        logit = self.scale * (similarity[visible, infrared] - self.threshold)  # (V, I)
        same = identities[visible][:, None] == identities[infrared][None, :]
        halves = [
            (pairs * nn.functional.softplus(sign * logit)).sum() / pairs.sum().clamp_min(1)
            for pairs, sign in ((same.to(logit.dtype), -1), ((~same).to(logit.dtype), 1))
        ]
        return (halves[0] + halves[1]) / 2  # ()
