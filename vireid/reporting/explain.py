"""Explains where a model looks: Grad-CAM of the similarity of two images, and feature maps; and what it generates.

Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391) of the cosine similarity s of two embeddings: with the map A
(C, H, W) of a stage,

    w_c = mean over positions of ds / dA_c,   CAM = ReLU(sum over c of w_c A_c).

The embedding of the other image is held fixed, so each image has its own map. TFFN shows such maps in Fig. 5; DMCF
shows, in its Fig. 5, the mean absolute value over channels of each stage.
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
from vireid.core.registry.signature import names_argument
from vireid.core.types import Modality, Sample
from vireid.errors import VireidError
from vireid.interfaces import Model
from vireid.reporting.swaps import swap_grid
from vireid.reporting.translate import translations


@dataclass(frozen=True)
class ImagePair:
    """A query and a gallery image: their similarity according to the model, and whether they show one identity."""

    query: Sample
    gallery: Sample
    similarity: float
    right: bool


def explain(
    model: Any, pairs: Sequence[ImagePair], transform: Any, device: Any, notes: list[str], decode: Decoder
) -> dict[str, np.ndarray]:
    """Returns maps of pairs, by `cam STAGE` and `features STAGE`: (P, 2, h, w) float16 in 0..1.

    Also returns what translators generate from the images, as `translations NAME`: (P, 2, h, w, 3); and, if the model
    has a swap grid, `swaps`, see `vireid.reporting.swaps`.

    Args:
        model: a model with a `backbone` whose `outputs` declare maps; other models get no maps.
        pairs: the pairs of images.
        transform: transform of test images.
        device: the model's device.
        notes: receives a line if there are no maps, with the reason.
        decode: reads the images.
    """
    specs = getattr(Model.backbone(model), 'outputs', None)
    stages = [name for name, spec in specs.items() if spec.kind == 'map'] if isinstance(specs, Mapping) else []
    if not stages:
        notes.append(f'no maps of where the model looks: {type(model).__name__} has no backbone with stages')
        if not Model.swap_grid(model):
            return {}
    by_modality = names_argument(transform, 'modality')

    def transformed(image: Tensor, modality: Modality) -> Tensor:
        return transform(image, **({'modality': modality} if by_modality else {}))

    try:
        decoded = [[(decode(s.path), s.modality) for s in (p.query, p.gallery)] for p in pairs]
        images = [[(transformed(image, modality), modality) for image, modality in both] for both in decoded]
    except VireidError as error:
        notes.append(f'no maps of where the model looks: {error.given}')
        return {}
    stacked: dict[str, list[list[np.ndarray]]] = {}
    try:
        for given, sides in zip(decoded, images, strict=True):
            limits = [transformed(torch.full_like(given[0][0], value), given[0][1]) for value in (0, 255)]
            generated = translations(model, sides, (limits[0], limits[1]), device)
            looks = look(model, sides, stages, device) if stages else {}
            for name, maps in {**looks, **generated}.items():
                stacked.setdefault(name, []).append(maps)
        arrays = {key: np.array(values, dtype=np.float16) for key, values in stacked.items()}
        if (grid := Model.swap_grid(model)) and images:
            every = {s.path: side for p, both in zip(pairs, images, strict=True)
                     for s, side in zip((p.query, p.gallery), both, strict=True)}  # fmt: skip
            arrays['swaps'] = swap_grid(grid, list(every.values()), (limits[0], limits[1]), device)
        return arrays
    except Exception as error:  # a third party's model may have an embedding without gradient
        notes.append(f'no maps of where the model looks: {type(error).__name__}: {error}')
        return {}


def look(
    model: Any, sides: Sequence[tuple[Tensor, Modality]], stages: Sequence[str], device: Any
) -> dict[str, list[np.ndarray]]:
    """Returns the maps of two images by `cam STAGE` and `features STAGE`, each scaled to a maximum of 1.

    Args:
        model: the model; it is set to evaluation mode, and the gradients of its parameters do not change.
        sides: the (3, H, W) images and their modalities.
        stages: outputs of its backbone.
        device: the model's device.

    Raises:
        ValueError: if the embedding does not come from the backbone.
    """
    recorded: list[dict[str, Tensor]] = []
    embeddings: list[Tensor] = []
    model.eval()
    for image, modality in sides:
        seen: dict[str, Tensor] = {}

        def keep(module: Any, args: Any, output: Any, seen: dict = seen, modality: Modality = modality) -> None:
            for name in stages:
                seen[name] = output[name][modality] if isinstance(output[name], Mapping) else output[name]

        hook = model.backbone.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                batch = image[None].to(device).requires_grad_()  # with frozen weights only, there would be no graph
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
            if gradient is not None:  # None if the embedding does not use the stage
                maps.setdefault(f'cam {name}', []).append(scaled(grad_cam(features, gradient[0].float())))
    return maps


def grad_cam(features: Tensor, gradient: Tensor) -> Tensor:
    """Returns the (h, w) Grad-CAM of (C, h, w) features, given the gradient of the explained value."""
    weights = gradient.mean(dim=(1, 2))  # (C,)
    return torch.relu((weights[:, None, None] * features).sum(0))


def scaled(heat: Tensor) -> np.ndarray:
    """Returns a nonnegative map as an array with maximum 1; a map of zeros stays as it is."""
    top = float(heat.max())
    return (heat / top if top > 0 else heat).cpu().numpy()
