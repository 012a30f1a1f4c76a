"""StripeEmbedding: the vectors of the stripes, and invalid numbers of parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch, VireidError
from vireid.plugin_manager.manager import create_manager

CONTEXT = Context({'visible': 2})


def build(spec: FeatureSpec, **arguments: Any) -> Any:
    config = {'type': 'StripeEmbedding', **arguments}
    return create_manager().components.build('necks', config, where='necks.s', inputs=(spec,))


def test_each_stripe_is_averaged_and_brought_to_unit_length() -> None:
    # two channels, four rows, one column: the upper stripe's means are (3, 4), the lower one's (0, 2)
    map_ = torch.tensor([[[2.0, 4.0, 0.0, 0.0], [4.0, 4.0, 1.0, 3.0]]]).unsqueeze(-1)  # (1, 2, 4, 1)
    neck = build(FeatureSpec(2, 'map', size=(4, 1)), parts=2)
    assert neck.output == FeatureSpec(4)
    torch.testing.assert_close(neck(map_, context=CONTEXT), torch.tensor([[0.6, 0.8, 0.0, 1.0]]))


def test_equals_a_literal_loop_also_where_parts_do_not_divide_the_rows() -> None:
    map_ = torch.randn(3, 5, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    neck = build(FeatureSpec(5, 'map', size=(7, 2)), parts=3, pool='Max')
    made = neck(map_, context=CONTEXT)
    for image in range(3):
        expected = []
        for first, last in ((0, 2), (2, 4), (4, 7)):
            vector = torch.tensor([map_[image, c, first:last].max() for c in range(5)], dtype=torch.float64)
            expected.append(vector / vector.norm())
        torch.testing.assert_close(made[image], torch.cat(expected))
    assert not list(neck.parameters())


@pytest.mark.parametrize(
    ('spec', 'parts', 'error', 'fact'),
    [
        (FeatureSpec(4, 'map', size=(3, 2)), 4, Mismatch, 'parts is 4, .* 3 rows'),
        (FeatureSpec(4), 2, Mismatch, 'StripeEmbedding .*vector'),
    ],
)
def test_maps_that_cannot_be_cut_are_refused(
    spec: FeatureSpec, parts: int, error: type[VireidError], fact: str
) -> None:
    with pytest.raises(error, match=fact):
        build(spec, parts=parts)
