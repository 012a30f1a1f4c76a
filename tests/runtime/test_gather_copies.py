"""Features with several rows per image are gathered by modality."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE
from vireid.runtime.gather import gather_feature


@pytest.mark.parametrize('copies', [1, 3])
def test_the_rows_of_a_modality_include_its_copies(copies):
    rows = torch.arange(3 * copies)
    assert torch.equal(gather_feature(rows, {VISIBLE: 2, INFRARED: 1}), rows)
