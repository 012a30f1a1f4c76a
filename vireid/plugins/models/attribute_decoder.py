"""AttributeDecoder: an image from a prototype and an attribute code (Hi-CMD)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from vireid.errors import WrongValue
from vireid.plugins.models.attribute_codes import SLICES
from vireid.plugins.models.convolution_block import SLOPE, ConvolutionBlock


class AttributeDecoder(nn.Module):
    """Decodes a prototype and an attribute code to an image (Hi-CMD; Choi et al., CVPR 2020, arXiv 1912.01230).

    Four residual blocks with adaptive instance norms (AdaIN; Huang and Belongie, ICCV 2017) keep the size; block k
    reads slice k of the code. Two nearest-neighbor upsamplings with 5 x 5 convolutions and layer norms, two 3 x 3
    convolutions and a 1 x 1 convolution follow. The output is not bounded.

    Args:
        inputs: channels of the prototype, divisible by 4.
        codes: length of the attribute code.
        hidden: hidden units of the perceptrons that turn a slice into scales and biases.
        channels: image channels.

    Raises:
        WrongValue: if `inputs` or `codes` is not divisible by 4.
    """

    def __init__(self, inputs: int, codes: int, hidden: int = 512, channels: int = 3) -> None:
        super().__init__()
        if inputs % 4 or codes % SLICES:
            raise WrongValue(f'inputs is {inputs}, codes is {codes}', allowed='multiples of 4')
        self.blocks = nn.ModuleList(AdaptiveResidualBlock(inputs, codes // SLICES, hidden) for _ in range(SLICES))
        half, quarter = inputs // 2, inputs // 4
        self.image = nn.Sequential(
            nn.Upsample(scale_factor=2),
            ConvolutionBlock(inputs, half, 5, norm=ImageNorm(half)),
            nn.Upsample(scale_factor=2),
            ConvolutionBlock(half, quarter, 5, norm=ImageNorm(quarter)),
            ConvolutionBlock(quarter, quarter, 3),
            ConvolutionBlock(quarter, quarter, 3),
            ConvolutionBlock(quarter, channels, 1, activation=False),
        )

    def forward(self, prototypes: Tensor, codes: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) prototypes and (B, codes) codes to (B, channels, 4 H, 4 W) images."""
        for block, part in zip(self.blocks, codes.chunk(SLICES, dim=1), strict=True):
            prototypes = block(prototypes, part)
        return self.image(prototypes)


class AdaptiveResidualBlock(nn.Module):
    """A residual block whose instance norms take their scales and biases from a code.

    Two perceptrons with two hidden layers compute them: one all scales, one all biases, of the first norm and then of
    the second.

    Args:
        channels: number of channels.
        codes: length of the code.
        hidden: units of each hidden layer.
    """

    def __init__(self, channels: int, codes: int, hidden: int) -> None:
        super().__init__()
        self.first = ConvolutionBlock(channels, channels, 3, activation=False)
        self.second = ConvolutionBlock(channels, channels, 3, activation=False)
        self.scales, self.biases = (_perceptron(codes, hidden, 2 * channels) for _ in range(2))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scales, biases = (part.unflatten(1, (2, -1)) for part in (self.scales(code), self.biases(code)))  # (B, 2, C)
        inner = nn.functional.leaky_relu(adaptive_norm(self.first(x), scales[:, 0], biases[:, 0]), SLOPE)
        return x + adaptive_norm(self.second(inner), scales[:, 1], biases[:, 1])  # (B, C, H, W)


def adaptive_norm(x: Tensor, scales: Tensor, biases: Tensor) -> Tensor:
    """Returns (B, C, H, W): each channel of each image normalized, times its scale, plus its bias, (B, C) each."""
    return torch.addcmul(biases[..., None, None], scales[..., None, None], nn.functional.instance_norm(x))


class ImageNorm(nn.Module):
    """Normalizes each image over all its channels and pixels (Ba et al., 2016), then scales and shifts each channel.

    See arXiv 1607.06450. The standard deviation is the unbiased one. Scales start uniform in 0..1, biases at 0.

    Args:
        channels: number of channels.
        eps: added to the standard deviation.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.scale, self.bias = nn.Parameter(torch.rand(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        return self.scale[:, None, None] * (x - mean) / (std + self.eps) + self.bias[:, None, None]  # (B, C, H, W)


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    sizes = (inputs, hidden, hidden, outputs)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.LeakyReLU(SLOPE), layers[1], nn.LeakyReLU(SLOPE), layers[2])
