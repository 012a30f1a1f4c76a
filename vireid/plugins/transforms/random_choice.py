"""RandomChoice: one of several transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from vireid.core.errors import VireidError
from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import named_arguments, signature_of
from vireid.core.types import Progress


class RandomChoice:
    """Applies one of several transforms, all equally likely.

    Args:
        build_part: builds the transforms.
        size: (H, W) passed to transforms that have a `size` argument.
        transforms: configs of the transforms, at least one.

    Raises:
        VireidError: if there are no transforms.
    """

    def __init__(
        self,
        build_part: BuildPart,
        size: Sequence[int],
        transforms: Sequence[Annotated[dict, Component('transforms')]],
    ) -> None:
        if not transforms:
            raise VireidError('RandomChoice has no transforms', allowed='one or more configs of transforms')

        def build(config: dict[str, Any], key: str) -> Any:
            target = build_part.components.get('transforms', config['type'], where=f'{build_part.where}.{key}')
            sized = {'size': tuple(size), **config} if 'size' in signature_of(target).parameters else config
            return build_part('transforms', sized, key)

        self.transforms = [build(config, f'transforms.{i}') for i, config in enumerate(transforms)]

    def __call__(self, image: Tensor, modality: str | None = None, progress: Progress | None = None) -> Tensor:
        known = {'modality': modality, 'progress': progress}
        chosen = self.transforms[int(torch.randint(len(self.transforms), ()))]
        return chosen(image, **{name: known[name] for name in named_arguments(chosen, *known)})
