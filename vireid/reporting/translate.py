"""Images that the translators of a model generate, made small for reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.core.registry.signature import named_arguments
from vireid.core.types import Batch, Modality
from vireid.interfaces import Model, Translator

SIZE = (128, 64)  # height, width of an image in a report


def translations(
    model: Any, sides: Sequence[tuple[Tensor, Modality]], limits: tuple[Tensor, Tensor], device: Any
) -> dict[str, list[np.ndarray]]:
    """Returns what the translators generate from images, by `translations NAME`, for each image: (h, w, 3) in 0..1.

    These are their maps of three channels, from -1 (black) to 1 (white), and the auxiliary modalities that they add. If
    a map does not exist for the modality of an image, it is gray; if it exists for no image, it is omitted.

    Args:
        model: the model; it is set to evaluation mode.
        sides: the (3, H, W) images and their modalities.
        limits: a black and a white image, transformed as the others.
        device: the model's device.
    """
    model.eval()
    black, white = (limit.to(device) for limit in limits)
    images: dict[str, dict[int, np.ndarray]] = {}
    for index, (image, modality) in enumerate(sides):
        batch = Batch({modality: image[None].to(device)}, {modality: torch.zeros(1, dtype=torch.int64, device=device)})
        for translator in dict(Model.translators(model) or {}).values():
            specs = Translator.maps(translator)
            known = {'needed': set(specs), 'progress': None}
            seen = set(batch.images)
            with torch.no_grad():
                batch = translator(batch, **{name: known[name] for name in named_arguments(translator, *known)})
            generated = {name: (x + 1) / 2 for name in specs for x in batch.maps.get(name, {}).values()}
            generated |= {m: (x - black) / (white - black) for m, x in batch.images.items() if m not in seen}
            for name, pictures in generated.items():
                if pictures.shape[1] == 3:
                    images.setdefault(name, {})[index] = _picture(pictures)
    gray = np.full((*SIZE, 3), 0.5, dtype=np.float32)
    return {f'translations {name}': [own.get(i, gray) for i in range(len(sides))] for name, own in images.items()}


def _picture(images: Tensor) -> np.ndarray:
    """Returns the first of (N, 3, H, W) images in 0..1 as (h, w, 3)."""
    small = F.interpolate(images[:1].float(), SIZE, mode='bilinear', antialias=True)[0]
    return small.clamp(0, 1).permute(1, 2, 0).cpu().numpy()
