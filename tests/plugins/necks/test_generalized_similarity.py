"""GeneralizedSimilarity against the quadratic form of GSM, entry by entry."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.generalized_similarity import GeneralizedSimilarity, generalized_similarity

CHANNELS = {'visible': 3, 'infrared': 3}


def learned(r: int) -> GeneralizedSimilarity:
    torch.manual_seed(0)
    neck = GeneralizedSimilarity([FeatureSpec(r)], CHANNELS).double()
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter)
    return neck


def quadratic_form(neck: GeneralizedSimilarity, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[a b 1] [[A, C, d], [C^T, B, e], [d^T, e^T, f]] [a b 1]^T, with A = L_A^T L_A, C = -L_Cx^T L_Cy."""
    r = len(a)
    of_a, of_b = neck.layers['visible'].weight, neck.layers['infrared'].weight
    a_a, a_c, d = of_a[:r], of_a[r : 2 * r], of_a[2 * r]
    b_b, b_c, e = of_b[:r], of_b[r : 2 * r], of_b[2 * r]
    blocks = [
        [a_a.T @ a_a, -a_c.T @ b_c, d[:, None]],
        [-b_c.T @ a_c, b_b.T @ b_b, e[:, None]],
        [d[None], e[None], neck.constant[None, None]],
    ]
    matrix = torch.cat([torch.cat(row, dim=1) for row in blocks])
    joined = torch.cat([a, b, a.new_ones(1)])
    total = a.new_zeros(())
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            total = total + joined[i] * matrix[i, j] * joined[j]
    return total


def test_pairs_are_those_of_the_quadratic_form_with_gradients():
    neck = learned(3)
    vectors = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    rows = neck(vectors, Context({'visible': 4, 'infrared': 3}))
    found = generalized_similarity(rows[:4], rows[4:])
    deviation = ((vectors - vectors.mean(dim=0)) ** 2).mean(dim=0) + 1e-5
    normal = (vectors - vectors.mean(dim=0)) / deviation.sqrt() / 3**0.5
    wanted = torch.stack([torch.stack([quadratic_form(neck, a, b) for b in normal[4:]]) for a in normal[:4]])
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    factors = torch.randn(4, 3, dtype=torch.float64)
    inputs = [vectors, *neck.parameters()]
    for own, other in zip(
        torch.autograd.grad((found * factors).sum(), inputs),
        torch.autograd.grad((wanted * factors).sum(), inputs),
        strict=True,
    ):
        assert torch.allclose(own, other, rtol=0, atol=1e-10)


def test_at_first_it_is_the_squared_distance_less_two():
    torch.manual_seed(0)
    neck = GeneralizedSimilarity([FeatureSpec(50)], CHANNELS)
    rows = neck(torch.randn(400, 50) * 9 + 5, Context({'visible': 200, 'infrared': 200}))
    values = rows[:, :50]
    assert torch.allclose(
        generalized_similarity(rows[:200], rows[200:]), torch.cdist(values[:200], values[200:]) ** 2 - 2, atol=1e-4
    )
    assert generalized_similarity(rows[:200], rows[200:]).mean().item() == pytest.approx(0, abs=0.05)


def test_exchanged_modalities_transpose_it_and_factors_do_not_matter():
    rows = learned(3)(torch.randn(7, 3, dtype=torch.float64), Context({'visible': 4, 'infrared': 3}))
    one, other = generalized_similarity(rows[:4], rows[4:]), generalized_similarity(3 * rows[4:], 0.1 * rows[:4])
    assert torch.allclose(one, other.T, rtol=0, atol=1e-10)


def test_an_image_is_projected_by_its_modality():
    neck, vector = learned(3).eval(), torch.randn(2, 3, dtype=torch.float64)
    both = neck(torch.cat([vector, vector]), Context({'visible': 2, 'infrared': 2}))
    for modality, rows in (('visible', both[:2]), ('infrared', both[2:])):
        assert torch.equal(neck(vector, Context({modality: 2})), rows)
    assert not torch.allclose(both[:2], both[2:])


def test_parameters():
    neck = GeneralizedSimilarity([FeatureSpec(400)], CHANNELS)
    assert sum(p.numel() for p in neck.parameters()) == 2 * 801 * 400 + 1
    assert neck.output.channels == 802


def test_what_does_not_fit_is_refused():
    with pytest.raises(Mismatch, match=r'GeneralizedSimilarity .*map'):
        GeneralizedSimilarity([FeatureSpec(4, 'map')], CHANNELS)
    with pytest.raises(Mismatch, match=r'GeneralizedSimilarity .* 2'):
        GeneralizedSimilarity([FeatureSpec(4)] * 2, CHANNELS)
    with pytest.raises(Mismatch, match=r'GeneralizedSimilarity .* x\n'):
        GeneralizedSimilarity([FeatureSpec(4)], {**CHANNELS, 'x': 3})
