"""Detects identical embeddings, whose ranking says nothing about the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

MIN_IDENTICAL_SHARE = 0.01  # report from this share of the images, or of the queries
ROUNDING = 1e-5  # of an entry of a unit vector: below it, similarities differ by rounding only


def identical_embeddings(features: np.ndarray, trials: Sequence[Sequence[Sequence[int]]]) -> dict[str, int] | None:
    """Counts the images of trials that share their embedding with another image.

    Args:
        features: (N, D) unit vectors.
        trials: for each trial, the indices of its queries and of its gallery.

    Returns:
        `images` of all trials, how many of them are `equal` to another, and the number of `distinct` embeddings;
        `queries`, and how many of them are `found`: an image of their gallery has the same embedding. None if fewer
        than 1% of the images are equal to another and fewer than 1% of the queries found.
    """
    if not trials:
        return None
    used = sorted({index for sides in trials for side in sides for index in side})
    number: dict[bytes, int] = {}
    if np.ptp(features[used], axis=0).max() < ROUNDING:
        same = dict.fromkeys(used, 0)
    else:
        same = {index: number.setdefault(features[index].tobytes(), len(number)) for index in used}
    counts = Counter(same.values())
    matched: set[int] = set()
    for query, gallery in trials:
        in_gallery = {same[index] for index in gallery}
        matched |= {index for index in query if same[index] in in_gallery}
    queries = {index for query, _ in trials for index in query}
    equal = sum(count for count in counts.values() if count > 1)
    if equal < MIN_IDENTICAL_SHARE * len(used) and len(matched) < MIN_IDENTICAL_SHARE * len(queries):
        return None
    return {
        'images': len(used),
        'equal': equal,
        'distinct': len(counts),
        'queries': len(queries),
        'found': len(matched),
    }


def identical_note(counts: Mapping[str, int]) -> str:
    """Describes the counts of `identical_embeddings`."""
    if counts['distinct'] == 1:
        return f'all {counts["images"]:,} images have the same embedding, so these metrics mean nothing'
    text = f'{counts["equal"]:,} of {counts["images"]:,} images share their embedding with another image'
    if not counts['found']:
        return text
    return f'{text}, and {counts["found"]:,} of {counts["queries"]:,} queries with a gallery image, which ranks first'
