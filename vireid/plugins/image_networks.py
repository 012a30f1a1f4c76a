"""Networks that translate images and tell real ones from translated ones, and the range of pixels they work in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, FeatureSpec, Modality
from vireid.errors import Mismatch, WrongValue

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation
OTHER = {VISIBLE: INFRARED, INFRARED: VISIBLE}


class PixelRange(nn.Module):
    """Converts between normalized images and the range -1 (black) to 1 (white), in which generators work.

    Args:
        mean: the mean per color that `Normalize` subtracts from pixels in 0..1.
        std: the standard deviation per color by which it divides.

    Raises:
        WrongValue: if a standard deviation is not positive, or there are not three colors.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise WrongValue(
                f'mean is {tuple(mean)} and std is {tuple(std)}',
                allowed='three numbers each, as in the Normalize of images.train; std above 0',
            )
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def unpack(self, images: Tensor) -> Tensor:
        """Maps normalized (N, 3, H, W) images to -1..1."""
        return 2 * (images * self.std + self.mean) - 1

    def pack(self, images: Tensor) -> Tensor:
        """Normalizes (N, 3, H, W) images in -1..1."""
        return ((images + 1) / 2 - self.mean) / self.std

    def pack_gray(self, images: Tensor) -> Tensor:
        """Normalizes (N, 1, H, W) images in -1..1, by the averages over the colors."""
        return ((images + 1) / 2 - self.mean.mean()) / self.std.mean()


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes (N, C, H, W) images bilinearly to `size`; smaller ones are averaged, so that nothing aliases."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    smaller = size[0] < images.shape[2] or size[1] < images.shape[3]
    return nn.functional.interpolate(images, tuple(size), mode='bilinear', antialias=smaller)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with instance normalization, added to the input.

    Args:
        channels: channels of the input and the output.
        running: see `encoder_layers`.
    """

    def __init__(self, channels: int, running: bool = True) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.layers = nn.Sequential(first, _norm(channels, running), nn.ReLU(), second, _norm(channels, running))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # (B, C, H, W)


def encoder_layers(colors: int, channels: int, blocks: int, running: bool = True) -> list[nn.Module]:
    """Returns a 7 x 7 convolution, two that halve the size and double the channels, and residual blocks.

    Args:
        colors: channels of the image.
        channels: after the first convolution; the output has four times as many.
        blocks: number of residual blocks.
        running: whether instance normalization keeps running statistics and uses them in evaluation mode, as BatchNorm
            does. Otherwise it always uses those of the image.
    """
    layers = [nn.Conv2d(colors, channels, 7, padding=3, bias=False), _norm(channels, running), nn.ReLU()]
    for wide in (2 * channels, 4 * channels):
        layers += [nn.Conv2d(wide // 2, wide, 4, stride=2, padding=1, bias=False), _norm(wide, running), nn.ReLU()]
    return layers + [ResidualBlock(4 * channels, running) for _ in range(blocks)]


def decoder_layers(colors: int, channels: int, blocks: int, running: bool = True) -> list[nn.Module]:
    """Returns residual blocks, two transposed convolutions that double the size, and a 7 x 7 convolution with a tanh.

    The arguments are those of `encoder_layers`; the input has `4 * channels` channels.
    """
    layers: list[nn.Module] = [ResidualBlock(4 * channels, running) for _ in range(blocks)]
    for narrow in (2 * channels, channels):
        up = nn.ConvTranspose2d(2 * narrow, narrow, 4, stride=2, padding=1, bias=False)
        layers += [up, _norm(narrow, running), nn.ReLU()]
    return [*layers, nn.Conv2d(channels, colors, 7, padding=3, bias=False), nn.Tanh()]


def patch_layers(colors: int, channels: int, doublings: int, norm: bool = True) -> list[nn.Module]:
    """Returns 4 x 4 convolutions with stride 2 and LeakyReLU, each after the first with twice the channels.

    Args:
        colors: channels of the input.
        channels: after the first convolution.
        doublings: number of further convolutions.
        norm: whether these have instance normalization, without weights and running statistics.
    """
    layers: list[nn.Module] = [nn.Conv2d(colors, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for wide in (channels * 2**n for n in range(1, doublings + 1)):
        layers.append(nn.Conv2d(wide // 2, wide, 4, stride=2, padding=1))
        layers += [nn.InstanceNorm2d(wide)] * norm + [nn.LeakyReLU(0.2)]
    return layers


def initialize(network: nn.Module) -> None:
    """Draws the weights of all convolutions from N(0, 0.02), as is usual for GANs."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)


def require_size(spec: FeatureSpec, halvings: int, least: int, what: str) -> None:
    """Checks that a map is large enough for convolutions of stride 2, if its size is known.

    Args:
        spec: spec of the map.
        halvings: number of convolutions.
        least: rows and columns that must remain.
        what: the component, for the message.

    Raises:
        Mismatch: if it is too small.
    """
    if spec.size is not None and min(spec.size) < least << halvings:
        raise Mismatch(
            f'{what} halves images {halvings} times, but they have size {spec.size[0]} x {spec.size[1]}',
            allowed=f'{least << halvings} or more rows and columns',
            todo='use larger images, or fewer layers',
        )


def require_colors(modalities: Mapping[Modality, int], what: str) -> None:
    """Checks that visible and infrared images have three channels.

    Args:
        modalities: image channels by modality.
        what: the component, for the message.

    Raises:
        Mismatch: if one is missing or has another number.
    """
    if wrong := [m for m in OTHER if modalities.get(m) != 3]:
        raise Mismatch(
            f'{what} translates {VISIBLE} and {INFRARED} images of 3 channels, but '
            + ', '.join(f'{m} images have {modalities[m]}' if m in modalities else f'there are no {m}' for m in wrong),
            todo='put it before translators that change the channels',
        )


def require_quarters(size: Sequence[int] | None, what: str) -> None:
    """Checks that rows and columns are multiples of 4, from 8.

    A translated image then has the size of the original, and instance normalization averages over several positions.

    Raises:
        Mismatch: if they are not.
    """
    if size is not None and (min(size) < 8 or any(side % 4 for side in size)):
        raise Mismatch(f'{what} works on images of {size[0]} x {size[1]}', allowed='multiples of 4, 8 or more')


def of_modality(maps: Mapping[Modality, Tensor], modality: Modality, what: str) -> Tensor:
    """Returns the map of a modality.

    Args:
        maps: maps by modality.
        modality: the modality.
        what: the component that reads it, for messages.

    Raises:
        Mismatch: if the batch has no images of it.
    """
    if modality not in maps:
        raise Mismatch(
            f'{what} reads {modality} images, but the batch has only {", ".join(maps) or "none"}',
            todo='train it on batches with both modalities',
        )
    return maps[modality]


def _norm(channels: int, running: bool) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=running)
