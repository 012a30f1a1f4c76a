"""PerModality: different transforms for each modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import INFRARED, VISIBLE, Progress
from vireid.errors import UnknownName
from vireid.plugins.transforms.nested import apply_nested, build_nested

Transforms = Sequence[Annotated[dict, Component('transforms')]]


class PerModality:
    """Applies different transforms to visible and infrared images.

    Args:
        build_part: builds the transforms.
        size: (H, W) passed to transforms that have a `size` argument.
        visible: configs of the transforms of visible images, in order.
        infrared: configs of the transforms of infrared images, in order.

    Raises:
        VireidError: if a transform is invalid, or, when called, if the modality is neither visible nor infrared.
    """

    def __init__(
        self, build_part: BuildPart, size: Sequence[int], visible: Transforms = (), infrared: Transforms = ()
    ) -> None:
        lists = {VISIBLE: visible, INFRARED: infrared}
        self.transforms = {m: build_nested(build_part, size, configs, m) for m, configs in lists.items()}

    def __call__(self, image: Tensor, modality: str | None = None, progress: Progress | None = None) -> Tensor:
        if modality not in self.transforms:
            raise UnknownName(
                f'PerModality got an image of modality {modality!r}',
                allowed=', '.join(self.transforms),
                todo="pass the modality: transform(image, modality='visible')",
            )
        for transform in self.transforms[modality]:
            image = apply_nested(transform, image, modality, progress)
        return image
