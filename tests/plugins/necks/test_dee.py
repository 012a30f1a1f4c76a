"""DEE against its definition, branch by branch, and its copies in a network."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.dee import DEE


def dee(channels: int = 8, **settings) -> DEE:
    return DEE((FeatureSpec(channels, 'map', size=(5, 4)),), **settings)


def literal(made: DEE, cells: torch.Tensor, branches: int, divisor: float) -> torch.Tensor:
    """Rows in the order: image, then copy; each convolution cell by cell."""
    inner, (height, width) = cells.shape[1] // 4, cells.shape[2:]
    rows = []
    for image in cells:
        rows.append(image)
        for b in range(branches):
            channels = slice(b * inner, (b + 1) * inner)
            out = torch.zeros(cells.shape[1], height, width, dtype=cells.dtype)
            expand, shift = (p.chunk(branches)[b] for p in (made.expand.weight[:, :, 0, 0], made.expand.bias))
            for y in range(height):
                for x in range(width):
                    total = torch.zeros(inner, dtype=cells.dtype)
                    for dilation, layer in zip((1, 2, 3), made.dilated, strict=True):
                        total = total + (layer.bias[channels] if layer.bias is not None else 0)
                        for i in (-1, 0, 1):
                            for j in (-1, 0, 1):
                                at = y + i * dilation, x + j * dilation
                                if 0 <= at[0] < height and 0 <= at[1] < width:
                                    total = total + layer.weight[channels, :, i + 1, j + 1] @ image[:, at[0], at[1]]
                    out[:, y, x] = expand @ (total / divisor).relu() + shift
            rows.append(out)
    return torch.stack(rows)


@pytest.mark.parametrize(
    ('branches', 'combine', 'bias', 'divisor'), [(2, 'mean', False, 3.0), (3, 'sum', True, 1.0), (1, 'mean', True, 3.0)]
)
def test_equals_the_literal_loop_with_gradients(branches, combine, bias, divisor):
    torch.manual_seed(branches)
    made = dee(branches=branches, combine=combine, bias=bias).double().eval()
    cells = torch.randn(2, 8, 5, 4, dtype=torch.float64, requires_grad=True)
    found, wanted = made(cells, None), literal(made, cells, branches, divisor)
    assert made.output == FeatureSpec(8, 'map', size=(5, 4), copies=branches + 1)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    direction = torch.randn_like(found)
    leaves = [cells, *made.parameters()]
    pairs = (torch.autograd.grad((value * direction).sum(), leaves) for value in (found, wanted))
    for one, other in zip(*pairs, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_dropout_is_drawn_for_all_copies_in_training_alone():
    torch.manual_seed(0)
    made = dee(dropout=0.5)
    cells = torch.ones(64, 8, 5, 4)
    assert (made(cells, None)[::3] == 0).double().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(made.eval()(cells, None)[::3], cells)


def test_its_parameters_by_hand():
    # a branch: three 3x3 convolutions from 8 to 2 channels, one 1x1 convolution to 8 channels with a bias
    assert sum(p.numel() for p in dee().parameters()) == 2 * (3 * 8 * 2 * 9 + 2 * 8 + 8) == 912
    assert sum(p.numel() for p in dee(branches=3, bias=True).parameters()) == 3 * (3 * (8 * 2 * 9 + 2) + 2 * 8 + 8)
    made = dee(64)
    # each branch is drawn for its own fan-in: 9 C for the 3x3, C / 4 for the 1x1 convolution
    assert made.dilated[0].weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)
    assert made.expand.weight.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.1)


def test_too_few_channels_and_vectors_are_refused():
    with pytest.raises(Mismatch, match=r'DEE .* 3 channels\n  allowed: .* 4'):
        dee(3)
    with pytest.raises(Mismatch, match=r'DEE .*vector of 8'):
        DEE((FeatureSpec(8),))
