"""The LLCM protocol with the directions as named."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import numpy as np

from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import Mismatch
from vireid.interfaces import Dataset
from vireid.plugins.protocols.choices import Trials, require_choices

Direction = Literal['visible to infrared', 'infrared to visible']
DIRECTIONS: dict[str, tuple[str, str]] = {
    'visible to infrared': (VISIBLE, INFRARED),
    'infrared to visible': (INFRARED, VISIBLE),
}


class LLCMProtocol:
    """LLCM (Zhang and Wang, CVPR 2023, arXiv 2303.14481), with queries of one modality and a gallery of the other.

    Queries are all test images of the direction's first modality. The gallery of trial t has one image of the second
    modality per identity and camera, drawn with `random.Random(t)` in ascending order of identities, then cameras.
    Gallery images with the query's identity and camera number are ignored. The CMC counts identities.

    Args:
        directions: directions to score, one result row each.
        trials: number of random galleries to average over, starting with trial 0.

    Raises:
        WrongValue: if `directions` is empty or has a duplicate.
    """

    name = 'llcm'

    def __init__(
        self,
        directions: Sequence[Direction] = ('visible to infrared', 'infrared to visible'),
        trials: Trials = 10,
    ) -> None:
        require_choices(directions=directions)
        self.directions, self.count = tuple(directions), trials

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns the trials of all directions.

        Raises:
            Mismatch: if no camera number has both modalities.
        """
        samples = dataset.split('test')
        visible, infrared = ({s.camera for s in samples if s.modality == m} for m in (VISIBLE, INFRARED))
        if not visible & infrared:
            raise Mismatch(
                'the LLCM protocols do not fit these images: no camera number has both modalities',
                allowed='camera numbers with images of both modalities, as in LLCM',
                todo="use the protocol of the dataset, or protocol.type='cross'",
            )
        trials = []
        for direction in self.directions:
            query, gallery = DIRECTIONS[direction]
            everything = tuple(s for s in samples if s.modality == query)
            trials += [
                self.trial(direction, index, everything, draw(samples, gallery, index)) for index in range(self.count)
            ]
        return trials

    def trial(self, direction: str, index: int, query: tuple[Sample, ...], gallery: tuple[Sample, ...]) -> Trial:
        """Returns one trial; `llcm-released` overrides it.

        Args:
            direction: name of the direction.
            index: number of the trial.
            query: the query images.
            gallery: the gallery images.
        """
        return Trial(direction, index, query, gallery, 'identity', drop_same_camera)


def draw(samples: Sequence[Sample], modality: str, index: int) -> tuple[Sample, ...]:
    """Draws the gallery of a trial: one image per identity and camera.

    Args:
        samples: the images.
        modality: modality of the gallery.
        index: number of the trial, which seeds the draw.
    """
    cells: dict[tuple[int, int], list[Sample]] = {}
    for sample in samples:
        if sample.modality == modality:
            cells.setdefault((sample.identity, sample.camera), []).append(sample)
    stream = random.Random(index)  # does not touch the global generator
    return tuple(stream.choice(sorted(cells[cell], key=lambda s: s.path)) for cell in sorted(cells))


def drop_same_camera(
    query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """Drops gallery images with the query's identity and camera number; see `DropRule` for shapes."""
    return (query_ids == gallery_ids) & (query_cameras == gallery_cameras)
