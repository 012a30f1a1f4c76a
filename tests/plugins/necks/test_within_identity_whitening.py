"""WithinIdentityWhitening: the closed form, by hand and with a literal loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch, TooFew
from vireid.plugins.necks.within_identity_whitening import WithinIdentityWhitening


def context(identities: list[int]) -> Context:
    return Context({'visible': len(identities)}, torch.tensor(identities))


def test_by_hand() -> None:
    # two identities; within each, images differ by 4 along the first axis and by 2 along the second
    vectors = torch.tensor([[0.0, 0.0], [4.0, 2.0], [10.0, 7.0], [14.0, 5.0]])
    neck = WithinIdentityWhitening([FeatureSpec(2)], shrinkage=0.5)
    neck.fit(vectors, context([5, 5, 9, 9]))
    # W = diag(4, 1), as the signs cancel; tr(W) / 2 = 2.5; S = diag(3.25, 1.75)
    torch.testing.assert_close(neck.matrix, torch.diag(torch.tensor([3.25, 1.75]) ** -0.5))
    made = neck(torch.tensor([[1.0, 1.0]]), context=context([5]))
    torch.testing.assert_close(made, torch.tensor([[3.25**-0.5, 1.75**-0.5]]))


def test_pieces_share_the_covariance_of_all_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(12, 6, dtype=torch.float64, generator=generator) @ torch.randn(
        6, 6, dtype=torch.float64, generator=generator
    )
    identities = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3]
    neck = WithinIdentityWhitening([FeatureSpec(6)], groups=2, shrinkage=0.2).double()
    neck.fit(vectors, context(identities))
    within = np.zeros((3, 3))
    for piece in (slice(0, 3), slice(3, 6)):
        for image, identity in enumerate(identities):
            own = [vectors[i, piece].numpy() for i in range(12) if identities[i] == identity]
            apart = vectors[image, piece].numpy() - np.mean(own, axis=0)
            within += np.outer(apart, apart) / 24
    shrunk = 0.8 * within + 0.2 * np.trace(within) / 3 * np.eye(3)
    matrix = neck.matrix.numpy()
    np.testing.assert_allclose(matrix @ matrix.T, np.linalg.inv(shrunk), rtol=1e-10)
    made = neck(vectors, context=context(identities)).numpy()
    for image in range(12):
        for piece in (slice(0, 3), slice(3, 6)):
            np.testing.assert_allclose(made[image, piece], vectors[image, piece].numpy() @ matrix, rtol=1e-10)


def test_without_shrinkage_images_of_a_person_scatter_alike() -> None:
    vectors = (
        torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        @ torch.diag(torch.tensor([9.0, 3.0, 1.0, 0.1])).double()
    )
    identities = [i // 10 for i in range(200)]
    neck = WithinIdentityWhitening([FeatureSpec(4)], shrinkage=1e-9).double()
    neck.fit(vectors, context(identities))
    made = neck(vectors, context=context(identities)).unflatten(0, (20, 10))
    apart = (made - made.mean(dim=1, keepdim=True)).flatten(0, 1)
    torch.testing.assert_close(apart.T @ apart / 200, torch.eye(4, dtype=torch.float64), rtol=1e-5, atol=1e-5)


def test_nothing_changes_before_it_is_fitted_or_where_nothing_varies() -> None:
    neck = WithinIdentityWhitening([FeatureSpec(2)])
    vectors = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert torch.equal(neck(vectors, context=context([1, 1])), vectors)
    neck.fit(vectors, context([1, 1]))
    assert torch.equal(neck(vectors, context=context([1, 1])), vectors)


def test_what_it_does_not_take() -> None:
    with pytest.raises(Mismatch, match=r'groups is 3, .* 4 channels'):
        WithinIdentityWhitening([FeatureSpec(4)], groups=3)
    with pytest.raises(Mismatch, match=r'WithinIdentityWhitening .*map'):
        WithinIdentityWhitening([FeatureSpec(4, 'map')])
    neck = WithinIdentityWhitening([FeatureSpec(2)])
    with pytest.raises(TooFew, match='WithinIdentityWhitening'):
        neck.fit(torch.eye(2), context([1, 2]))
    with pytest.raises(Mismatch, match=r'WithinIdentityWhitening .*identities'):
        neck.fit(torch.eye(2), Context({'visible': 2}))
