"""Orthogonality against its definition, pair by pair."""

from __future__ import annotations

import itertools

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.orthogonality import Orthogonality


def loss_of(copies: torch.Tensor, **settings) -> torch.Tensor:
    context = Context({'visible': len(copies)}, torch.zeros(len(copies)).long()).copied(copies.shape[1])
    return Orthogonality(**settings)(HeadOutput(copies.flatten(0, 1)), context.identities, context)


@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize(('original', 'first'), [(False, 1), (True, 0)])
def test_equals_the_literal_loop_with_gradients(original, first, normalize):
    torch.manual_seed(0)
    copies = torch.randn(5, 4, 6, dtype=torch.float64, requires_grad=True)
    wanted = torch.zeros((), dtype=torch.float64)
    for image in copies:
        for m, n in itertools.combinations(range(first, 4), 2):
            scale = image[m].norm() * image[n].norm() if normalize else 1
            wanted = wanted + (image[m] * image[n]).sum() / scale
    wanted = wanted / 20
    found = loss_of(copies, original=original, normalize=normalize)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-10)
    one, other = (torch.autograd.grad(value, copies)[0] for value in (found, wanted))
    assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_by_hand():
    copies = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 1.0]], [[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]]])
    assert loss_of(copies).item() == pytest.approx((5 + 0) / 6)


@pytest.mark.parametrize(('copies', 'original', 'least'), [(1, False, 3), (2, False, 3), (1, True, 2)])
def test_too_few_copies_are_refused(copies, original, least):
    with pytest.raises(Mismatch, match=rf' {copies} per .*\n  allowed: .* {least}\b'):
        loss_of(torch.ones(2, copies, 3), original=original)


def test_it_is_lowered_by_turning_the_vectors_apart():
    copies = (1 + 0.1 * torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    optimizer = torch.optim.Adam([copies], lr=0.05)
    for _ in range(60):
        loss = loss_of(copies.relu(), normalize=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05  # 1/3 for equal directions
