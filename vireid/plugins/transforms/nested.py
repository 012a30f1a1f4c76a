"""Transforms inside other transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from vireid.core.registry.components import BuildPart
from vireid.core.registry.signature import named_arguments, signature_of
from vireid.core.types import Modality, Progress


def build_nested(
    build_part: BuildPart, size: Sequence[int], configs: Sequence[Mapping[str, Any]], key: str
) -> list[Callable[..., Tensor]]:
    """Builds a list of transforms; those with a `size` argument get `size`, (H, W), unless their config sets it.

    Args:
        build_part: builds a transform.
        size: (H, W) of the images.
        configs: their configs.
        key: key of the list in the config of the outer transform.
    """
    built = []
    for i, config in enumerate(configs):
        place = f'{key}.{i}'
        target = build_part.components.get('transforms', config['type'], where=f'{build_part.where}.{place}')
        sized = {'size': tuple(size), **config} if 'size' in signature_of(target).parameters else config
        built.append(build_part('transforms', sized, place))
    return built


def apply_nested(
    transform: Callable[..., Tensor], image: Tensor, modality: Modality | None, progress: Progress | None
) -> Tensor:
    """Applies a transform, with `modality` and `progress` if it names them.

    Args:
        transform: the transform.
        image: (C, H, W) image.
        modality: its modality, if known.
        progress: position in the run; None outside training.
    """
    known = {'modality': modality, 'progress': progress}
    return transform(image, **{name: known[name] for name in named_arguments(transform, *known)})
