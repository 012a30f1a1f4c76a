"""SYSU-MM01 scored as AGW, DDAG and most later code do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Dataset, Sample, Trial

GALLERY_CAMERAS = {'all': (1, 2, 4, 5), 'indoor': (1, 2)}


class SYSUAgw:
    """Single-shot SYSU-MM01, the `agw` family.

    Queries are all infrared test pictures (cameras 3 and 6) in both modes. The gallery of trial t has one visible
    picture of each identity and camera, drawn with `random.Random(t)`, identities ascending, then cameras. Queries
    of camera 3 drop all pictures of camera 2, which stands at the same place. CMC counts persons.

    Args:
        modes: `all` searches cameras 1, 2, 4, 5; `indoor` cameras 1, 2.
        trials: how many draws are averaged, from trial 0.
    """

    name = 'sysu/agw single-shot'

    def __init__(self, modes: Sequence[Literal['all', 'indoor']] = ('all', 'indoor'), trials: int = 10) -> None:
        if not modes or trials < 1:
            raise VireidError(f'modes is {modes}, trials is {trials}', allowed='at least one mode and one trial')
        self.modes, self.count = tuple(modes), trials

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns the trials of every mode."""
        samples = dataset.split('test')
        query = tuple(s for s in samples if s.modality == INFRARED)
        found = []
        for mode in self.modes:
            cells: dict[tuple[int, int], list[Sample]] = {}
            for sample in samples:
                if sample.modality == VISIBLE and sample.camera in GALLERY_CAMERAS[mode]:
                    cells.setdefault((sample.identity, sample.camera), []).append(sample)
            ordered = [sorted(cells[cell], key=lambda s: s.path) for cell in sorted(cells)]
            for index in range(self.count):
                draw = random.Random(index)  # its own stream: the global one is not touched
                gallery = tuple(draw.choice(pictures) for pictures in ordered)
                found.append(Trial(mode, index, query, gallery, 'identity', drop_same_place))
        return found


def drop_same_place(
    query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """Cameras 2 and 3 stand at the same place: a query of camera 3 does not count pictures of camera 2."""
    return (query_cameras == 3) & (gallery_cameras == 2)
