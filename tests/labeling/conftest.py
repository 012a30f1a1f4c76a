"""Tracks of people whose features are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import pytest

from vireid.labeling.grouping import propose_groups
from vireid.labeling.people import People
from vireid.labeling.tracks import Track, overlapping
from vireid.search.entries import Entry

START = datetime(2026, 11, 29, 8)
Make = Callable[..., Track]


@pytest.fixture
def make_track() -> Make:
    """Makes a track of images a second apart, the first `at` seconds after eight; without `at`, no time is known."""
    numbers = iter(range(10_000))

    def make(name: str, modality: str = 'visible', camera: str = '1', at: int | None = None, images: int = 3) -> Track:
        def one(place: int) -> Entry:
            time = '' if at is None else str(START + timedelta(seconds=at + place))
            row, path = next(numbers), f'{modality}/cam{camera}/{name}/{place}.jpg'
            return Entry(row, path, modality, False, camera, time, 'name' if time else '', 9, 9, b'%d' % row)

        return Track(name, modality, camera, tuple(one(place) for place in range(images)))

    return make


@pytest.fixture
def make_people() -> Callable[..., People]:
    """Makes the state before any answer; each track is a group, unless there are features."""

    def make(tracks: Sequence[Track], features: np.ndarray | None = None) -> People:
        apart = overlapping(tracks)
        groups = np.arange(len(tracks)) if features is None else propose_groups(tracks, features, apart)
        return People(tracks, groups, apart)

    return make
