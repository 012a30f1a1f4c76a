"""What SYSU-MM01's two protocol families share: modes, shots, queries, and which gallery images do not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.interfaces import Dataset
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial

Mode = Literal['all', 'indoor']
Shots = Literal['single', 'multi']
CAMERAS = {VISIBLE: (1, 2, 4, 5), INFRARED: (3, 6)}
GALLERY_CAMERAS = {'all': (1, 2, 4, 5), 'indoor': (1, 2)}
PICTURES = {'single': 1, 'multi': 10}  # of each identity and camera

# (identity, camera), its images sorted by path, how many are wanted -> those of one trial
Draw = Callable[[tuple[int, int], list[Sample], int], Sequence[Sample]]


def sysu_trials(
    dataset: Dataset, modes: Sequence[Mode], shots: Sequence[Shots], draws: Callable[[], Iterator[Draw]]
) -> list[Trial]:
    """Lays out every mode, number of shots and trial.

    Args:
        dataset: its test split has the images; queries are all infrared ones, in both modes.
        modes: which cameras the gallery has.
        shots: how many images of each identity and camera.
        draws: called for each mode and number of shots; yields what draws the gallery of trial 0, 1, ...

    Returns:
        Trials named `all single-shot` and so on.
    """
    samples = dataset.split('test')
    strange = sorted({(s.modality, s.camera) for s in samples if s.camera not in CAMERAS.get(s.modality, ())})
    if strange:
        modality, camera = strange[0]
        raise VireidError(
            f"SYSU-MM01's protocols do not fit these images: there are {modality} ones by camera {camera}",
            allowed='visible images by cameras 1, 2, 4, 5 and infrared ones by 3, 6',
            todo="choose the dataset's own protocol, or protocol.type='cross'",
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
                gallery = tuple(s for cell, images in ordered for s in draw(cell, images, PICTURES[shot]))
                trials.append(Trial(f'{mode} {shot}-shot', index, query, gallery, 'identity', drop_same_place))
    return trials


def drop_same_place(
    query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """Cameras 2 and 3 stand at the same place: a query of camera 3 does not count images of camera 2."""
    return (query_cameras == 3) & (gallery_cameras == 2)
