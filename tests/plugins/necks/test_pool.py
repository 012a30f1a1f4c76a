"""Pool: the pooling alone."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugin_manager.manager import create_manager

MAPS = torch.tensor([[1.0, 3.0], [5.0, 9.0]]).view(1, 2, 1, 2)


@pytest.mark.parametrize(('pool', 'wanted'), [('Average', [2.0, 7.0]), ('Max', [3.0, 9.0])])
def test_pools_and_has_no_parameters(pool, wanted):
    inputs = (FeatureSpec(2, 'map'),)
    made = create_manager().components.build('necks', {'type': 'Pool', 'pool': pool}, where='pool', inputs=inputs)
    assert made(MAPS, None)[0].tolist() == wanted
    assert (made.output, len(list(made.parameters()))) == (FeatureSpec(2), 0)


def test_a_vector_is_refused():
    with pytest.raises(Mismatch, match=r'Pool .*vector of 2'):
        create_manager().components.build('necks', {'type': 'Pool'}, where='pool', inputs=(FeatureSpec(2),))
