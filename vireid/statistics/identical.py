"""Embeddings that are equal: what they find says nothing about the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

TOLD = 0.01  # share of the images, or of the queries, from which on it is told
ROUNDING = 1e-5  # of an entry of a vector of length 1: below it, similarities differ by rounding alone


def identical_embeddings(features: np.ndarray, trials: Sequence[Sequence[Sequence[int]]]) -> dict[str, int] | None:
    """Counts the images of trials whose embedding another image has too.

    Args:
        features: (N, D) vectors of length 1.
        trials: of each, the indices of its queries and those of its gallery.

    Returns:
        `images` of all trials, how many of them are `equal` to another one, and how many embeddings are `distinct`;
        `queries`, and how many of these are `found`: an image of their gallery has the very same embedding. None if
        fewer than 1% of the images are equal to another one, and of the queries found.
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
    found: set[int] = set()
    for query, gallery in trials:
        there = {same[index] for index in gallery}
        found |= {index for index in query if same[index] in there}
    queries = {index for query, _ in trials for index in query}
    equal = sum(count for count in counts.values() if count > 1)
    if equal < TOLD * len(used) and len(found) < TOLD * len(queries):
        return None
    return {
        'images': len(used),
        'equal': equal,
        'distinct': len(counts),
        'queries': len(queries),
        'found': len(found),
    }


def identical_note(found: Mapping[str, int]) -> str:
    """Says what `identical_embeddings` counted."""
    if found['distinct'] == 1:
        return f'all {found["images"]:,} images have the same embedding: these numbers say nothing about a model'
    text = f'{found["equal"]:,} of {found["images"]:,} images have exactly the embedding of another one'
    if not found['found']:
        return text
    return f'{text}, and {found["found"]:,} of {found["queries"]:,} queries that of a gallery image, which ranks first'
