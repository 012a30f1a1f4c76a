"""Where a model looked: Grad-CAM of what made two images similar, and its feature maps.

Grad-CAM (Selvaraju et al., 2017) of the cosine similarity s of two embeddings: with the map A (C, H, W) of a stage,

    w_c = mean over positions of ds / dA_c,   CAM = ReLU(sum over c of w_c A_c).

The embedding of the other image is held fixed, so each image has a map of its own. TFFN shows such maps in its Fig. 5,
DMCF the mean of absolute values over channels of each stage in its Fig. 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.core.data.images import Decoder
from vireid.core.errors import VireidError
from vireid.core.registry.signature import names_argument
from vireid.core.types import Modality, Sample


@dataclass(frozen=True)
class Pair:
    """A query and an image of the gallery: how similar they are to the model, and whether they are one person."""

    query: Sample
    gallery: Sample
    similarity: float
    right: bool


def explain(
    model: Any, pairs: Sequence[Pair], transform: Any, device: Any, notes: list[str], decode: Decoder
) -> dict[str, np.ndarray]:
    """Returns maps of pairs, by `cam STAGE` and `features STAGE`: (P, 2, h, w) float16 from 0 to 1.

    Args:
        model: with a `backbone` whose `outputs` name maps; of another one nothing is known.
        pairs: of images.
        transform: of test images.
        device: where the model is.
        notes: gets a line where nothing can be said, and why.
        decode: reads the images.
    """
    specs = getattr(getattr(model, 'backbone', None), 'outputs', None)
    stages = [name for name, spec in specs.items() if spec.kind == 'map'] if isinstance(specs, Mapping) else []
    if not stages:
        notes.append(f'no maps of where the model looked: {type(model).__name__} has no backbone with stages')
        return {}
    told = names_argument(transform, 'modality')
    try:
        images = [
            [transform(decode(s.path), **({'modality': s.modality} if told else {})) for s in both]
            for both in ((p.query, p.gallery) for p in pairs)
        ]
    except VireidError as error:
        notes.append(f'no maps of where the model looked: {error.given}')
        return {}
    made: dict[str, list[list[np.ndarray]]] = {}
    try:
        for pair, (query, gallery) in zip(pairs, images, strict=True):
            sides = [(query, pair.query.modality), (gallery, pair.gallery.modality)]
            for stage, maps in look(model, sides, stages, device).items():
                made.setdefault(stage, []).append(maps)
        return {key: np.array(values, dtype=np.float16) for key, values in made.items()}
    except Exception as error:  # a model of anyone's, whose embedding may have no gradient
        notes.append(f'no maps of where the model looked: {type(error).__name__}: {error}')
        return {}


def look(
    model: Any, sides: Sequence[tuple[Tensor, Modality]], stages: Sequence[str], device: Any
) -> dict[str, list[np.ndarray]]:
    """Returns the maps of two images by `cam STAGE` and `features STAGE`, each scaled to a largest value of 1.

    Args:
        model: in evaluation mode; no gradient of its parameters changes.
        sides: the (3, H, W) images and their modalities.
        stages: outputs of its backbone.
        device: where the model is.
    """
    recorded: list[dict[str, Tensor]] = []
    embeddings: list[Tensor] = []
    model.eval()
    for image, modality in sides:
        seen: dict[str, Tensor] = {}

        def keep(module: Any, given: Any, made: Any, seen: dict = seen, modality: Modality = modality) -> None:
            for name in stages:
                seen[name] = made[name][modality] if isinstance(made[name], Mapping) else made[name]

        hook = model.backbone.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                batch = image[None].to(device).requires_grad_()  # frozen weights alone would leave no graph
                embeddings.append(F.normalize(model.embed(batch, modality).float(), dim=1))
        finally:
            hook.remove()
        recorded.append(seen)
    if not all(recorded):
        raise ValueError(f'the embedding of {type(model).__name__} does not come from its backbone')
    maps: dict[str, list[np.ndarray]] = {}
    for own, seen in enumerate(recorded):
        similarity = (embeddings[own] * embeddings[1 - own].detach()).sum()
        names = list(seen)
        gradients = torch.autograd.grad(similarity, [seen[n] for n in names], retain_graph=True, allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            features = seen[name].detach()[0].float()  # (C, h, w)
            maps.setdefault(f'features {name}', []).append(scaled(features.abs().mean(0)))
            if gradient is not None:  # a stage that the embedding does not use has none
                maps.setdefault(f'cam {name}', []).append(scaled(grad_cam(features, gradient[0].float())))
    return maps


def grad_cam(features: Tensor, gradient: Tensor) -> Tensor:
    """Returns the (h, w) map of (C, h, w) features and the gradient of what is explained with respect to them."""
    weights = gradient.mean(dim=(1, 2))  # (C,)
    return torch.relu((weights[:, None, None] * features).sum(0))


def scaled(found: Tensor) -> np.ndarray:
    """Returns a map of values from 0 as an array whose largest value is 1; one of zeros stays."""
    top = float(found.max())
    return (found / top if top > 0 else found).cpu().numpy()
