"""LightGenerator: an auxiliary modality generated from the visible images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from vireid.core.types import VISIBLE, Batch, Modality
from vireid.errors import Conflict, UnknownName


class LightGenerator(nn.Module):
    """Adds the X modality: each visible image, mapped by two 1 x 1 convolutions.

    From Li et al., AAAI 2020, doi 10.1609/aaai.v34i04.5891. The C channels of a pixel are reduced to one, followed by a
    ReLU, and expanded to C again. Identities, cameras and paths are copied from the source image. The losses on the X
    modality train the generator. It is not run when images are embedded.

    All weights are initialized to 1 / C and all biases to 0, so each channel of X starts as the positive part of gray,
    divided by C.

    Args:
        modalities: image channels by modality.
        of: the modality that X is generated from.
        name: name of the new modality.

    Raises:
        VireidError: if there is no modality `of`, or there already is one called `name`.
    """

    train_only = True

    def __init__(self, modalities: Mapping[Modality, int], of: str = VISIBLE, name: str = 'x') -> None:
        super().__init__()
        if of not in modalities:
            raise UnknownName(f'of is {of!r}, which is not a modality of the images', allowed=', '.join(modalities))
        if name in modalities:
            raise Conflict(f'name is {name!r}, which is already a modality', todo='choose another name')
        channels = modalities[of]
        self.of, self.name, self.modalities = of, name, {**modalities, name: channels}
        self.squeeze = nn.Conv2d(channels, 1, kernel_size=1)
        self.expand = nn.Conv2d(1, channels, kernel_size=1)
        for layer in (self.squeeze, self.expand):
            nn.init.constant_(layer.weight, 1 / channels)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> Batch:
        """Adds (N, C, H, W) images of the modality `name`, one per image of the modality `of`."""
        generated = self.expand(nn.functional.relu(self.squeeze(batch.images[self.of])))
        inherited: dict[str, Any] = {
            key: {**by_modality, self.name: by_modality[self.of]}
            for key in ('identities', 'cameras', 'paths')
            if self.of in (by_modality := getattr(batch, key))
        }
        return replace(batch, images={**batch.images, self.name: generated}, **inherited)
