"""torchvision's transforms of float images, in place: after `ToFloat` the image is nobody else's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from vireid.core.errors import VireidError


class Normalize(nn.Module):
    """Subtracts a mean from each channel and divides by a standard deviation, in place; as torchvision's, bit for bit.

    Args:
        mean: of each channel.
        std: of each channel, above 0.

    Raises:
        VireidError: for other than three numbers, or a standard deviation of 0 or less.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise VireidError(f'mean is {tuple(mean)}, std is {tuple(std)}', allowed='three numbers each, std above 0')
        self.mean, self.std = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (mean, std))

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) float32 -> the same tensor."""
        if not image.is_floating_point():
            raise VireidError(
                f'Normalize was given an image of {image.dtype}', todo="put dict(type='ToFloat') before it"
            )
        return image.sub_(self.mean).div_(self.std)


class RandomErasing(v2.RandomErasing):
    """Puts `value` in a rectangle, in place (Zhong et al., 2020).

    Args:
        p: probability, 0 to 1.
        scale: (least, largest) share of the image's area.
        ratio: (least, largest) width over height.
        value: what is put there; 0 is the mean after `Normalize`.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        super().__init__(p, scale, ratio, value, inplace=True)
