"""Embeddings of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vireid.boundary.reading import duplicate
from vireid.core.types import Sample
from vireid.errors import NotReady, WrongContent


@dataclass(frozen=True)
class Embeddings:
    """L2-normalized embeddings of samples.

    Attributes:
        samples: N samples, sorted by modality.
        features: (N, D) float32.
        flipped: (N, D) float32, the normalized sum of the embeddings of image and mirror image; None if not computed.
    """

    samples: tuple[Sample, ...]
    features: np.ndarray
    flipped: np.ndarray | None = None
    _index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index = {s.path: i for i, s in enumerate(self.samples)}
        if len(index) < len(self.samples):
            twice = duplicate(s.path for s in self.samples)
            raise WrongContent(
                f'the image path {twice} appears twice, so its two embeddings cannot be told apart',
                todo='give each image a unique path',
            )
        object.__setattr__(self, '_index', index)

    def of(self, samples: Sequence[Sample], flipped: bool = False) -> np.ndarray:
        """Returns the (n, D) embeddings of `samples`, in order; averaged with their mirror images if `flipped`.

        Raises:
            NotReady: if a sample was not embedded, or there are no flipped embeddings.
        """
        features = self.flipped if flipped else self.features
        if features is None:
            raise NotReady('these embeddings were computed without flipping', todo='embed the images with flip')
        missing = next((s.path for s in samples if s.path not in self._index), None)
        if missing is not None:
            raise NotReady(f'image {missing} was not embedded', todo='embed it, or choose another protocol')
        return features[[self._index[s.path] for s in samples]]
