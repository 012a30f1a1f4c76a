"""Embeddings that are equal are counted, and said."""

from __future__ import annotations

import numpy as np
import pytest

from vireid.statistics.identical import identical_embeddings, identical_note

TURN = np.linspace(0, 3, 200)
DIFFERENT = np.stack([np.cos(TURN), np.sin(TURN)], axis=1).astype(np.float32)  # 200 unit vectors
TRIALS = [[range(100), range(100, 200)]]


def test_different_embeddings_are_not_told() -> None:
    assert identical_embeddings(DIFFERENT, TRIALS) is None
    assert identical_embeddings(DIFFERENT, []) is None


@pytest.mark.parametrize('noise', [0.0, 1e-7])
def test_a_constant_model_is_told_though_its_last_bits_differ(noise: float) -> None:
    features = np.tile(DIFFERENT[:1], (200, 1)) + noise * DIFFERENT
    found = identical_embeddings(features.astype(np.float32), TRIALS)
    assert found == {'images': 200, 'equal': 200, 'distinct': 1, 'queries': 100, 'found': 100}
    assert identical_note(found) == 'all 200 images have the same embedding, so these metrics mean nothing'


def test_a_gallery_that_was_saved_as_the_queries_too_is_told() -> None:
    features = np.concatenate([DIFFERENT[:100], DIFFERENT[:100]])
    found = identical_embeddings(features, TRIALS)
    assert found == {'images': 200, 'equal': 200, 'distinct': 100, 'queries': 100, 'found': 100}
    assert identical_note(found) == (
        '200 of 200 images share their embedding with another image, and 100 of 100 queries with a gallery image, '
        'which ranks first'
    )


def test_images_of_a_gallery_that_are_alike_are_told_from_one_in_a_hundred_on() -> None:
    features = DIFFERENT.copy()
    features[100] = features[101]  # 2 of 200 images
    found = identical_embeddings(features, TRIALS)
    assert found is not None
    assert identical_note(found) == '2 of 200 images share their embedding with another image'
    more = np.concatenate([features, -DIFFERENT[1:-1]])
    assert identical_embeddings(more, [[range(100), range(100, 398)]]) is None  # 2 of 398


def test_images_that_no_trial_has_do_not_count() -> None:
    features = np.concatenate([DIFFERENT, DIFFERENT[:1]])
    assert identical_embeddings(features, [[[1, 2], [3, 4]]]) is None
