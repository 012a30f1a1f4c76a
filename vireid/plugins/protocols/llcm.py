"""LLCM in its declared directions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.interfaces import Dataset
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.plugins.protocols.choices import require_choices, require_trials

Direction = Literal['visible to infrared', 'infrared to visible']
DIRECTIONS: dict[str, tuple[str, str]] = {
    'visible to infrared': (VISIBLE, INFRARED),
    'infrared to visible': (INFRARED, VISIBLE),
}


class LLCMProtocol:
    """LLCM (Zhang and Wang, 2023), queries of one modality against a gallery of the other.

    Queries are all test images of the direction's first modality. The gallery of trial t has one image of the
    second for each identity and camera, drawn with `random.Random(t)`, identities ascending, then cameras. For a query,
    gallery images of the same person by the camera of the same number are dropped. CMC counts identities.

    Args:
        directions: which rows to score.
        trials: how many draws are averaged, from trial 0.
    """

    name = 'llcm'

    def __init__(
        self,
        directions: Sequence[Direction] = ('visible to infrared', 'infrared to visible'),
        trials: int = 10,
    ) -> None:
        require_choices(directions=directions)
        require_trials(trials)
        self.directions, self.count = tuple(directions), trials

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns the trials of every direction."""
        samples = dataset.split('test')
        visible, infrared = ({s.camera for s in samples if s.modality == m} for m in (VISIBLE, INFRARED))
        if not visible & infrared:
            raise VireidError(
                "LLCM's protocols do not fit these images: no camera number has both modalities",
                allowed='cameras that see both, as those of LLCM do',
                todo="choose the dataset's own protocol, or protocol.type='cross'",
            )
        found = []
        for direction in self.directions:
            query, gallery = DIRECTIONS[direction]
            everything = tuple(s for s in samples if s.modality == query)
            found += [
                self.trial(direction, index, everything, draw(samples, gallery, index)) for index in range(self.count)
            ]
        return found

    def trial(self, direction: str, index: int, query: tuple[Sample, ...], gallery: tuple[Sample, ...]) -> Trial:
        """Returns one trial; where another family differs."""
        return Trial(direction, index, query, gallery, 'identity', drop_same_camera)


def draw(samples: Sequence[Sample], modality: str, index: int) -> tuple[Sample, ...]:
    """Draws one image of each identity and camera of a modality for trial `index`."""
    cells: dict[tuple[int, int], list[Sample]] = {}
    for sample in samples:
        if sample.modality == modality:
            cells.setdefault((sample.identity, sample.camera), []).append(sample)
    stream = random.Random(index)  # its own: the global one is not touched
    return tuple(stream.choice(sorted(cells[cell], key=lambda s: s.path)) for cell in sorted(cells))


def drop_same_camera(
    query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """A query does not count images of its own person by the camera of its own number."""
    return (query_ids == gallery_ids) & (query_cameras == gallery_cameras)
