"""MultiScaleCritic: tells real from generated images at several scales, with its losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.errors import Mismatch
from vireid.plugins.full_precision import full_precision
from vireid.plugins.models.convolution_block import ConvolutionBlock, ResidualBlock

STD = 0.02  # of the initial weights


class MultiScaleCritic(nn.Module):
    """Scores the patches of an image at several scales with separate networks, without norms.

    The critic of Hi-CMD (Choi et al., CVPR 2020, arXiv 1912.01230). Each network has a 1 x 1 convolution, two 3 x 3
    convolutions, two more that double the channels, four residual blocks and a 1 x 1 convolution to one score; the
    second of each two has stride 2. From scale to scale, the image is averaged over 3 x 3 pixels with stride 2.

    Args:
        channels: image channels.
        width: channels of the first convolution.
        scales: number of scales, at least 1.
    """

    def __init__(self, channels: int = 3, width: int = 32, scales: int = 3) -> None:
        super().__init__()
        self.least = 2 ** (scales + 1) + 1  # so that the smallest map has two rows and columns, for the padding
        self.networks = nn.ModuleList(_network(channels, width) for _ in range(scales))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the scores of (B, C, H, W) images at each scale, (B, 1, H / 4, W / 4) at the first.

        Raises:
            Mismatch: if the images are too small for the scales.
        """
        if min(images.shape[2:]) < self.least:
            raise Mismatch(
                f'a critic of {len(self.networks)} scales got images of {images.shape[2]} x {images.shape[3]}',
                allowed=f'at least {self.least} x {self.least}',
                todo='set images.size, or fewer scales',
            )
        scores = []
        for network in self.networks:
            scores.append(network(images))
            images = self.halve(images)
        return scores


def squared_error(scores: Sequence[Tensor], target: float) -> Tensor:
    """Returns the mean squared distance to a target at each scale, summed: the least-squares GAN (Mao et al., 2017)."""
    return torch.stack([(score - target).square().mean() for score in scores]).sum()  # ()


def real_loss(critic: nn.Module, images: Tensor, penalty: float) -> Tensor:
    """Returns a critic's loss on real images: the squared error to 1, plus a gradient penalty.

    The penalty of a scale is the squared norm of the gradient of the summed scores with respect to the image (Mescheder
    et al., ICML 2018, arXiv 1801.04406: R1 without the factor 1/2), averaged over the images, summed over the scales.

    Args:
        critic: maps (B, C, H, W) images to scores at several scales.
        images: real images.
        penalty: factor of the gradient penalty; 0 omits it.
    """
    if not penalty:
        return squared_error(critic(images), 1.0)
    with torch.enable_grad(), full_precision(images):  # the gradient is squared, which underflows in half precision
        # Fabric passes half-precision images to a model that trains in mixed precision
        images = images.detach().to(next(critic.parameters()).dtype)
        images = images.requires_grad_().clone()  # not a leaf: torch's FlopCounterMode rejects leaves here
        scores = critic(images)
        norms = []
        for score in scores:
            (gradient,) = torch.autograd.grad(score.sum(), images, create_graph=True)
            norms.append(gradient.square().flatten(1).sum(dim=1).mean())
        return squared_error(scores, 1.0) + penalty * torch.stack(norms).sum()  # ()


def _network(channels: int, width: int) -> nn.Sequential:
    def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> ConvolutionBlock:
        return ConvolutionBlock(inputs, outputs, kernel, stride, std=STD)

    score = nn.Conv2d(2 * width, 1, 1)
    nn.init.normal_(score.weight, std=STD)
    nn.init.zeros_(score.bias)  # type: ignore[arg-type]
    return nn.Sequential(
        block(channels, width, 1), block(width, width, 3), block(width, width, 3, stride=2),
        block(width, width, 3), block(width, 2 * width, 3, stride=2),
        *(ResidualBlock(2 * width, std=STD) for _ in range(4)), score,
    )  # fmt: skip
