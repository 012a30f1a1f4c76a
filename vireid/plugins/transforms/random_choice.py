"""RandomChoice: one of several transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Progress
from vireid.errors import WrongValue
from vireid.plugins.transforms.nested import apply_nested, build_nested


class RandomChoice:
    """Applies one of several transforms, all equally likely.

    Args:
        build_part: builds the transforms.
        size: (H, W) passed to transforms that have a `size` argument.
        transforms: configs of the transforms, at least one.

    Raises:
        WrongValue: if there are no transforms.
    """

    def __init__(
        self,
        build_part: BuildPart,
        size: Sequence[int],
        transforms: Sequence[Annotated[dict, Component('transforms')]],
    ) -> None:
        if not transforms:
            raise WrongValue('RandomChoice has no transforms', allowed='one or more configs of transforms')
        self.transforms = build_nested(build_part, size, transforms, 'transforms')

    def __call__(self, image: Tensor, modality: str | None = None, progress: Progress | None = None) -> Tensor:
        chosen = self.transforms[int(torch.randint(len(self.transforms), ()))]
        return apply_nested(chosen, image, modality, progress)
