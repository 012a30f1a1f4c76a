"""The common part of the two SYSU-MM01 protocols: modes, shots, queries and ignored gallery images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import Mismatch
from vireid.interfaces import Dataset

Mode = Literal['all', 'indoor']
Shots = Literal['single', 'multi']
CAMERAS = {VISIBLE: (1, 2, 4, 5), INFRARED: (3, 6)}
GALLERY_CAMERAS = {'all': (1, 2, 4, 5), 'indoor': (1, 2)}
IMAGES = {'single': 1, 'multi': 10}  # per identity and camera

# (identity, camera), its images sorted by path, number of images to draw -> the gallery images of one trial
Draw = Callable[[tuple[int, int], list[Sample], int], Sequence[Sample]]


def sysu_trials(
    dataset: Dataset, modes: Sequence[Mode], shots: Sequence[Shots], draws: Callable[[], Iterator[Draw]]
) -> list[Trial]:
    """Returns the trials of all modes and shots, named `all single-shot` and so on.

    Args:
        dataset: the dataset, whose test split is used. Queries are all infrared images, in both modes.
        modes: search modes, which define the cameras of the gallery.
        shots: `single` or `multi`, which define the number of gallery images per identity and camera.
        draws: called once per mode and shot; yields the functions that draw the gallery of trial 0, 1, ...

    Raises:
        Mismatch: if there are images of other cameras.
    """
    samples = dataset.split('test')
    strange = sorted({(s.modality, s.camera) for s in samples if s.camera not in CAMERAS.get(s.modality, ())})
    if strange:
        modality, camera = strange[0]
        raise Mismatch(
            f'the SYSU-MM01 protocols do not fit these images: there are {modality} images of camera {camera}',
            allowed='visible images of cameras 1, 2, 4, 5 and infrared images of cameras 3, 6',
            todo="use the protocol of the dataset, or protocol.type='cross'",
        )
    query = tuple(s for s in samples if s.modality == INFRARED)
    trials = []
    for mode in modes:
        cells: dict[tuple[int, int], list[Sample]] = {}
        for sample in samples:
            if sample.modality == VISIBLE and sample.camera in GALLERY_CAMERAS[mode]:
                cells.setdefault((sample.identity, sample.camera), []).append(sample)
        ordered = [(cell, sorted(cells[cell], key=lambda s: s.path)) for cell in sorted(cells)]
        for shot in shots:
            for index, draw in enumerate(draws()):
                gallery = tuple(s for cell, images in ordered for s in draw(cell, images, IMAGES[shot]))
                trials.append(Trial(f'{mode} {shot}-shot', index, query, gallery, 'identity', drop_same_place))
    return trials


def drop_same_place(
    query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """Drops gallery images of camera 2 for queries of camera 3, as both cameras are at the same place.

    See `DropRule` for shapes.
    """
    return (query_cameras == 3) & (gallery_cameras == 2)
