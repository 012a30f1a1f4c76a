"""ChannelExchange: an image of a single color channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.errors import WrongValue

LUMA = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601


class ChannelExchange(nn.Module):
    """Copies one color channel to all three, which makes a visible image look like an infrared one (CAJ).

    From Ye et al., ICCV 2021, doi 10.1109/ICCV48922.2021.01331. Red, green and blue are equally likely. The image may
    also become gray, or stay as it is.

    Place it after `Normalize`, as the released code does: copies then differ from gray images, which `Normalize` gives
    different channels, and infrared images, whose channels are equal, vary too.

    Args:
        gray: probability of the gray image 0.2989 R + 0.587 G + 0.114 B instead, 0 to 1.
        unchanged: probability that the image stays as it is, 0 to 1.

    Raises:
        WrongValue: if a probability is negative or their sum is above 1.
    """

    def __init__(self, gray: float = 0.0, unchanged: float = 0.0) -> None:
        super().__init__()
        if min(gray, unchanged) < 0 or gray + unchanged > 1:
            raise WrongValue(
                f'gray is {gray} and unchanged is {unchanged}',
                allowed='0 to 1 each, and a sum of at most 1; the remainder is shared by red, green and blue',
            )
        self.gray, self.unchanged = gray, unchanged

    def forward(self, image: Tensor) -> Tensor:
        """Returns a new (3, H, W) image of the same dtype, or the image itself if it stays as it is."""
        drawn = torch.rand(()).item()
        if drawn < self.unchanged:
            return image
        if drawn < self.unchanged + self.gray:
            weights = torch.tensor(LUMA, dtype=torch.promote_types(image.dtype, torch.float32), device=image.device)
            luma = (weights[:, None, None] * image).sum(dim=0)
            one = luma if image.is_floating_point() else luma.round().to(image.dtype)
        else:
            one = image[int(torch.randint(3, ()))]
        return one.repeat(3, 1, 1)
