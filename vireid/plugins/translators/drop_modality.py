"""DropModality: trains without the images of a modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from vireid.core.errors import VireidError, did_you_mean
from vireid.core.types import Batch, Modality


class DropModality(nn.Module):
    """Removes the images of a modality from training batches, such as for a stage that trains on infrared images only.

    When images are embedded, nothing is removed; the backbone must therefore share its weights (`shared_from=0`).

    Args:
        modalities: image channels by modality.
        modality: the one to remove.

    Raises:
        VireidError: if there is no such modality, or no other.
    """

    train_only = True

    def __init__(self, modalities: Mapping[Modality, int], modality: Modality) -> None:
        super().__init__()
        if modality not in modalities:
            raise VireidError(
                f'modality is {modality!r}, which is not a modality of the images{did_you_mean(modality, modalities)}',
                allowed=', '.join(modalities),
            )
        if len(modalities) == 1:
            raise VireidError(f'without the modality {modality!r}, no images remain', todo='remove this translator')
        self.modality = modality
        self.modalities = {m: channels for m, channels in modalities.items() if m != modality}

    def forward(self, batch: Batch) -> Batch:
        """Returns the batch without the modality."""
        kept: dict[str, Any] = {
            key: {m: value for m, value in getattr(batch, key).items() if m != self.modality}
            for key in ('images', 'identities', 'cameras', 'paths')
        }
        return replace(batch, **kept)
