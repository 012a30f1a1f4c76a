"""The enhanced squared difference loss of CAJ."""

from __future__ import annotations

from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.plugins.losses.softmax_weights import weighted_distances


class EnhancedSquaredDifference(nn.Module):
    """AGW's weighted regularized triplet with the squared difference of the two distances (CAJ).

    From Ye et al., ICCV 2021, doi 10.1109/ICCV48922.2021.01331, with the formula of the released code. With the
    softmax-weighted distances p_i to all positives and n_i to all negatives (see `weighted_distances`) and the
    difference D_i = p_i - n_i, the loss is the mean over images i of log(1 + exp(sign(D_i) D_i^2)). There is no margin.
    The gradient with respect to D_i is 2 |D_i| times that of the logarithm, so large violations weigh most, and it
    vanishes where both distances are equal.

    The released code caps D_i^2 at 88, beyond which it has no gradient. Nothing is capped here, as log(1 + exp(x)) does
    not overflow: above |D_i| = 9.4, the term of an image is D_i^2 or 0.

    Positives and negatives cover all modalities in the batch, including views. An image without negatives adds 0.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        positive, negative, alone = weighted_distances('EnhancedSquaredDifference', output, identities)
        gap = positive - negative  # (B,)
        signed = (gap * gap.abs()).masked_fill(alone, float('-inf'))
        return nn.functional.softplus(signed, threshold=50).mean()  # (); the default of 20 is 2e-9 off above it
