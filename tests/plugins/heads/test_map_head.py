"""MapHead gives losses a map, or the difference of two."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.map_head import MapHead

SPEC = FeatureSpec(2, 'map', 'paired')


def test_one_map_or_the_difference_of_two_visible_rows_first():
    first = {INFRARED: torch.full((1, 2, 2, 1), 5.0), VISIBLE: torch.full((2, 2, 2, 1), 3.0)}
    second = {INFRARED: torch.full((1, 2, 2, 1), 1.0), VISIBLE: torch.full((2, 2, 2, 1), 2.0)}
    assert MapHead((SPEC,))(first).feature.tolist() == [[3] * 4, [3] * 4, [5] * 4]
    assert MapHead((SPEC, SPEC))(first, second).feature.tolist() == [[1] * 4, [1] * 4, [4] * 4]


@pytest.mark.parametrize('specs', [(SPEC, FeatureSpec(3, 'map', 'paired')), (SPEC,) * 3])
def test_what_it_refuses(specs):
    with pytest.raises(Mismatch, match=rf'MapHead .*{len(specs)} maps'):
        MapHead(specs)
