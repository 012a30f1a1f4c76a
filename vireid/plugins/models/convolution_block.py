"""Convolutions with reflection padding, for encoders, decoders and critics of images."""

from __future__ import annotations

from torch import Tensor, nn

SLOPE = 0.3  # of the LeakyReLU


class ConvolutionBlock(nn.Module):
    """A convolution with reflection padding that keeps the size, up to its stride; then a norm, then a LeakyReLU.

    Weights are drawn from N(0, 2 / fan-in) (He et al., 2015), or N(0, std^2) if `std` is given. Biases start at 0.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        kernel: side of the kernel, odd.
        stride: stride.
        dilation: dilation of the kernel.
        norm: module applied after the convolution; None applies none.
        activation: whether a LeakyReLU of slope 0.3 follows.
        std: standard deviation of the initial weights; None derives it from the fan-in.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        norm: nn.Module | None = None,
        activation: bool = True,
        std: float | None = None,
    ) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(dilation * (kernel // 2))
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, dilation=dilation)
        self.norm = norm or nn.Identity()
        self.activation = nn.LeakyReLU(SLOPE) if activation else nn.Identity()
        if std is None:
            nn.init.kaiming_normal_(self.convolution.weight)
        else:
            nn.init.normal_(self.convolution.weight, std=std)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.convolution(self.pad(x))))  # (B, outputs, H / stride, W / stride)


class ResidualBlock(nn.Module):
    """The input plus two 3 x 3 convolution blocks; the second has no activation, and none follows the sum.

    Args:
        channels: number of channels.
        norms: the norm of each convolution; None applies none.
        std: standard deviation of the initial weights; None derives it from the fan-in.
    """

    def __init__(
        self, channels: int, norms: tuple[nn.Module | None, nn.Module | None] = (None, None), std: float | None = None
    ) -> None:
        super().__init__()
        self.first = ConvolutionBlock(channels, channels, 3, norm=norms[0], std=std)
        self.second = ConvolutionBlock(channels, channels, 3, norm=norms[1], activation=False, std=std)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))  # (B, C, H, W)
