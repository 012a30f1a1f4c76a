"""A sequence of transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vireid.core.epochs import Epochs, is_active
from vireid.core.registry.signature import named_arguments
from vireid.core.types import Modality, Progress

if TYPE_CHECKING:
    from torch import Tensor


class TransformChain:
    """Applies transforms in sequence; those that name `modality` or `progress` receive them.

    Args:
        transforms: functions from image to image.
        where: config path of the list of transforms.
        epochs: the epochs in which each transform is applied; None means always.
    """

    def __init__(
        self, transforms: Sequence[Callable[..., Tensor]], where: str = '', epochs: Sequence[Epochs | None] = ()
    ) -> None:
        self.transforms, self.where = transforms, where
        self._epochs = list(epochs) or [None] * len(transforms)
        self._takes = [named_arguments(transform, 'modality', 'progress') for transform in transforms]

    def __call__(self, image: Tensor, modality: Modality | None = None, progress: Progress | None = None) -> Tensor:
        for position in range(len(self.transforms)):
            if is_active(self._epochs[position], progress):
                image = self.apply(position, image, modality, progress)
        return image

    def apply(
        self, position: int, image: Tensor, modality: Modality | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Applies the transform at one position to an image, whatever its `epochs`."""
        known: dict[str, Any] = {'modality': modality, 'progress': progress}
        return self.transforms[position](image, **{name: known[name] for name in self._takes[position]})
