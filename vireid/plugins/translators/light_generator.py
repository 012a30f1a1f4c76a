"""LightGenerator: an auxiliary modality made from the visible images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from vireid.core.errors import VireidError
from vireid.core.types import VISIBLE, Batch, Modality


class LightGenerator(nn.Module):
    """Adds the X modality: each visible image once more, through two 1 x 1 convolutions (Li et al., AAAI 2020).

    The C channels of a pixel become one, which passes a ReLU, and that one becomes C again. Identities, cameras and
    paths are those of the image that it is made from. It learns from whatever loss reads the X modality, and is left
    out when images are embedded.

    All weights start at 1 / C and all biases at 0: at first X is the positive part of grey, in each channel / C.

    Args:
        modalities: channels of the images by modality.
        of: the modality that X is made from.
        name: what the new modality is called.

    Raises:
        VireidError: if there is no modality `of`, or one called `name` already.
    """

    train_only = True

    def __init__(self, modalities: Mapping[Modality, int], of: str = VISIBLE, name: str = 'x') -> None:
        super().__init__()
        if of not in modalities:
            raise VireidError(f'of is {of!r}, and there are no such images', allowed=', '.join(modalities))
        if name in modalities:
            raise VireidError(f'name is {name!r}, and there are such images already', todo='choose another name')
        channels = modalities[of]
        self.of, self.name, self.modalities = of, name, {**modalities, name: channels}
        self.squeeze = nn.Conv2d(channels, 1, kernel_size=1)
        self.expand = nn.Conv2d(1, channels, kernel_size=1)
        for layer in (self.squeeze, self.expand):
            nn.init.constant_(layer.weight, 1 / channels)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> Batch:
        """Adds (N, C, H, W) images of the modality `name`, one for each of the N images of `of`."""
        made = self.expand(nn.functional.relu(self.squeeze(batch.images[self.of])))
        inherited: dict[str, Any] = {
            key: {**found, self.name: found[self.of]}
            for key in ('identities', 'cameras', 'paths')
            if self.of in (found := getattr(batch, key))
        }
        return replace(batch, images={**batch.images, self.name: made}, **inherited)
