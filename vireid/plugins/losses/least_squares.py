"""LeastSquares: the squared distance of values to a target, as in a least-squares GAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import HeadOutput


class LeastSquares(nn.Module):
    """The mean squared distance of the feature to a number, summed over parts (Mao et al., 2017, arXiv 1611.04076).

    On the output of a critic: with target 1 for real images and 0 for generated ones, it trains the critic; with target
    1 for generated images, the generator. On a latent code, target 0 is the divergence from a standard normal
    distribution, up to constants, if the code is the mean of a normal distribution with variance 1.

    Args:
        target: the number.
    """

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        feature = output.feature
        values = feature.to(torch.promote_types(feature.dtype, torch.float32))
        parts = 1 if values.ndim == 2 else values.shape[1]
        return parts * (values - self.target).square().mean()  # ()
