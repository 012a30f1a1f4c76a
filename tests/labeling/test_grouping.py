"""Groups are proposed within a modality, and never against the times."""

from __future__ import annotations

import numpy as np

from vireid.labeling.grouping import propose_groups
from vireid.labeling.tracks import overlapping


def test_similar_tracks_of_a_modality_are_a_group(make_track):
    tracks = [make_track(f'{m} {i}', m) for m in ('visible', 'infrared') for i in range(3)]
    one, other = np.eye(4, dtype=np.float32)[:2]
    groups = propose_groups(tracks, np.stack([one, one, other, one, other, other]), overlapping(tracks))
    assert groups[0] == groups[1]
    assert groups[4] == groups[5]
    assert len(set(groups.tolist())) == 4  # a visible group and an infrared one are never the same


def test_tracks_that_overlap_in_time_are_never_in_one_group_however_similar(make_track):
    tracks = [make_track(f'{i}', at=i, images=5) for i in range(3)] + [make_track('later', at=100)]
    features = np.tile(np.eye(4, dtype=np.float32)[0], (4, 1))
    groups = propose_groups(tracks, features, overlapping(tracks))
    assert len(set(groups[:3].tolist())) == 3
    assert groups[3] in groups[:3]


def test_one_track_and_one_modality(make_track):
    features = np.eye(4, dtype=np.float32)
    assert propose_groups([make_track('a')], features[:1], np.zeros((1, 1), dtype=bool)).tolist() == [0]
    tracks = [make_track('a', 'infrared'), make_track('b', 'infrared')]
    assert len(set(propose_groups(tracks, features[:2], overlapping(tracks)).tolist())) == 2
