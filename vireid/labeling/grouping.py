"""Proposes groups of tracks that show one person, from their features alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vireid.core.types import MODALITIES
from vireid.errors import UnsafeFile
from vireid.labeling.tracks import Track

DISTANCE = 0.35  # 1 - mean cosine similarity of two groups up to which they are one: few wrong, some people in parts
NEVER = 1e9  # a mean of distances with one of these is larger than any sum of others
MAX_TRACKS = 20_000  # tracks of a modality; their distances take memory


def propose_groups(tracks: Sequence[Track], features: np.ndarray, impossible: np.ndarray) -> np.ndarray:
    """Groups the tracks of each modality by agglomerative clustering with average linkage.

    Args:
        tracks: T tracks.
        features: (T, D) float32 of norm 1.
        impossible: (T, T) bool, pairs that are never in one group.

    Returns:
        (T,) int64, the group of each track, from 0.

    Raises:
        UnsafeFile: if a modality has too many tracks.
    """
    from sklearn.cluster import AgglomerativeClustering

    groups = np.zeros(len(tracks), dtype=np.int64)
    used = 0
    for modality in MODALITIES:
        rows = np.array([row for row, track in enumerate(tracks) if track.modality == modality], dtype=np.int64)
        if len(rows) > MAX_TRACKS:
            raise UnsafeFile(
                f'there are {len(rows):,} {modality} tracks', allowed=f'at most {MAX_TRACKS:,}',
                todo='put the images of each walk into a separate folder, as `vireid crops` does',
            )  # fmt: skip
        if len(rows) < 2:
            groups[rows] = used
        else:
            distances = 1 - features[rows] @ features[rows].T
            distances[impossible[np.ix_(rows, rows)]] = NEVER
            np.fill_diagonal(distances, 0)
            clustering = AgglomerativeClustering(
                n_clusters=None, metric='precomputed', linkage='average', distance_threshold=DISTANCE
            )
            groups[rows] = used + clustering.fit_predict(np.maximum(distances, 0))
        used = int(groups[rows].max(initial=used - 1)) + 1
    return groups
