"""Embeddings in the plane are the same each time, and what is far apart stays so."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from vireid.reporting.projection import principal_components, tsne


def test_principal_components_by_hand():
    """Points on a line of slope 2 through the origin: all variance lies on (1, 2) / sqrt 5."""
    found, shares = principal_components(np.array([[-1.0, -2.0], [0.0, 0.0], [1.0, 2.0]]))
    np.testing.assert_allclose(found, [[-(5**0.5), 0], [0, 0], [5**0.5, 0]], atol=1e-12)
    np.testing.assert_allclose(shares, [1, 0], atol=1e-12)


def test_the_sign_of_a_component_does_not_depend_on_the_order_of_the_points():
    features = np.random.default_rng(0).normal(size=(20, 5))
    order = np.random.default_rng(1).permutation(20)
    np.testing.assert_allclose(principal_components(features)[0][order], principal_components(features[order])[0])


@pytest.mark.parametrize('features', [np.ones((1, 4)), np.ones((3, 4)), np.ones((5, 1))])
def test_points_without_variance(features):
    found, shares = principal_components(features)
    assert found.tolist() == [[0.0, 0.0]] * len(features)
    assert shares.tolist() == [0.0, 0.0]


def test_tsne_is_deterministic_and_keeps_groups_together():
    pytest.importorskip('sklearn')
    rng = np.random.default_rng(0)
    centers = np.eye(3, 8)
    features = np.concatenate([center + 0.02 * rng.normal(size=(8, 8)) for center in centers])
    found = tsne(features)
    assert np.array_equal(found, tsne(features))
    groups = found.reshape(3, 8, 2)
    within = np.linalg.norm(groups - groups.mean(1, keepdims=True), axis=2).max()
    means = groups.mean(1)
    assert within < min(np.linalg.norm(means[a] - means[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_tsne_of_too_few_points_is_nothing_and_without_scikit_learn_an_import_error(monkeypatch):
    pytest.importorskip('sklearn')
    assert tsne(np.ones((2, 4))).shape == (0, 2)
    assert tsne(np.ones((9, 4))).shape == (0, 2)  # all at one place
    assert np.isfinite(tsne(np.eye(3))).all()
    assert np.isfinite(tsne(np.repeat(np.eye(3), 5, axis=0))).all()  # many at few places
    monkeypatch.setitem(sys.modules, 'sklearn.manifold', None)
    with pytest.raises(ImportError):
        tsne(np.eye(3))
