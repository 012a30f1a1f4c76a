"""Distances of L2-normalized vectors."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.unit_distances import distances, squared_distances, unit_feature


def test_rows_have_length_one_and_half_precision_is_promoted():
    found = unit_feature('It', HeadOutput(torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=torch.bfloat16)))
    assert found.dtype == torch.float32
    assert torch.allclose(found, torch.tensor([[0.6, 0.8], [0.0, 1.0]]), atol=1e-6)
    assert unit_feature('It', HeadOutput(torch.ones(1, 2, dtype=torch.float64))).dtype == torch.float64


def test_parts_are_refused():
    with pytest.raises(Mismatch, match=r'It .*parts'):
        unit_feature('It', HeadOutput(torch.zeros(2, 3, 4)))


def test_distances_by_hand():
    rows, columns = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[-1.0, 0.0]])
    assert squared_distances(rows, columns).tolist() == [[4.0], [2.0]]
    assert torch.allclose(distances(rows, columns), torch.tensor([[2.0], [2**0.5]]))


def test_equal_vectors_have_a_finite_gradient():
    rows = torch.ones(2, 3, requires_grad=True)
    distances(rows, rows).sum().backward()
    assert rows.grad.abs().max() == 0


def test_full_precision_under_autocast():
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(1 + 0.01 * torch.randn(6, 64), dim=1)  # nearly equal vectors
    with torch.autocast('cpu', torch.bfloat16):
        found = distances(rows[:3], rows[3:])
    assert torch.equal(found, distances(rows[:3], rows[3:]))
