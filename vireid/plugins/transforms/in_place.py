"""In-place versions of torchvision transforms for float images; `ToFloat` has made a copy that is safe to modify."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from vireid.errors import Mismatch, WrongValue


class Normalize(nn.Module):
    """Subtracts the mean of each channel and divides by its standard deviation, in place.

    The result is bit-identical to that of torchvision's `Normalize`.

    Args:
        mean: mean of each of the three channels.
        std: standard deviation of each channel, above 0.

    Raises:
        WrongValue: unless there are three numbers each and `std` is above 0.
    """

    whole_batch = True

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise WrongValue(f'mean is {tuple(mean)}, std is {tuple(std)}', allowed='three numbers each, std above 0')
        self.mean, self.std = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (mean, std))

    def forward(self, image: Tensor) -> Tensor:
        """Normalizes a (3, H, W) float32 image, or a batch of them, in place and returns it.

        Raises:
            Mismatch: if the image is not floating-point.
        """
        if not image.is_floating_point():
            raise Mismatch(f'Normalize got an image of {image.dtype}', todo="put dict(type='ToFloat') before it")
        mean, std = (values.to(image.device, non_blocking=True) for values in (self.mean, self.std))
        return image.sub_(mean).div_(std)


class RandomErasing(v2.RandomErasing):
    """Fills a random rectangle with `value`, in place (Zhong et al., 2020, arXiv 1708.04896).

    Args:
        p: probability, 0 to 1.
        scale: (minimum, maximum) of the erased fraction of the image area.
        ratio: (minimum, maximum) of width / height.
        value: fill value, or one for each of the three channels; 0 is the mean after `Normalize`.

    Raises:
        WrongValue: if `value` has another number of values.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] = 0.0,
    ) -> None:
        if isinstance(value, Sequence) and len(value) != 3:
            raise WrongValue(f'value is {tuple(value)}', allowed='a number, or one for each of the three channels')
        super().__init__(p, scale, ratio, value, inplace=True)
