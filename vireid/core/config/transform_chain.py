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
        first: position of the first transform in the list of the config.
    """

    def __init__(
        self,
        transforms: Sequence[Callable[..., Tensor]],
        where: str = '',
        epochs: Sequence[Epochs | None] = (),
        first: int = 0,
    ) -> None:
        self.transforms, self.where, self.first = transforms, where, first
        self._epochs = list(epochs) or [None] * len(transforms)
        self._takes = [named_arguments(transform, 'modality', 'progress') for transform in transforms]

    def __call__(self, image: Tensor, modality: Modality | None = None, progress: Progress | None = None) -> Tensor:
        for position in self.active(progress):
            image = self.apply(position, image, modality, progress)
        return image

    def active(self, progress: Progress | None) -> list[int]:
        """Returns the positions of the transforms that are applied at this point of a run."""
        return [position for position, epochs in enumerate(self._epochs) if is_active(epochs, progress)]

    def part(self, start: int, stop: int | None = None) -> TransformChain:
        """Returns the transforms from one position to another."""
        chosen = slice(start, stop)
        return TransformChain(self.transforms[chosen], self.where, self._epochs[chosen], self.first + start)

    def apply(
        self, position: int, image: Tensor, modality: Modality | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Applies the transform at one position to an image, whatever its `epochs`."""
        known: dict[str, Any] = {'modality': modality, 'progress': progress}
        return self.transforms[position](image, **{name: known[name] for name in self._takes[position]})
