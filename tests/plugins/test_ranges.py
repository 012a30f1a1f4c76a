"""Numbers out of range are refused where a config is checked, before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from vireid.core.registry.schema import check
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager

COMPONENTS = create_manager().components

RANGES: list[tuple[str, str, str, list[Any], list[Any]]] = [
    ('heads', 'BottleneckHead', 'dropout', [-0.1, 1.0], [0, 0.9]),
    ('heads', 'CameraHead', 'cameras', [1], [2]),
    ('heads', 'CorrelationHead', 'channels', [0], [1]),
    ('heads', 'CorrelationHead', 'grid', [[0, 3], [6, 0]], [[1, 1]]),
    ('heads', 'CorrelationHead', 'kernels', [0], [1]),
    ('heads', 'GraphHead', 'dropout', [-0.1, 1.0], [0, 0.9]),
    ('heads', 'IWPAHead', 'parts', [0], [1]),
    ('heads', 'StripeHead', 'channels', [0], [1]),
    ('heads', 'StripeHead', 'parts', [0], [1]),
    ('losses', 'BatchHardTriplet', 'margin', [-1], [0, None]),
    ('losses', 'BiDirectionalRanking', 'intra_margin', [-1], [0]),
    ('losses', 'BiDirectionalRanking', 'intra_weight', [-1], [0]),
    ('losses', 'BiDirectionalRanking', 'margin', [-1], [0]),
    ('losses', 'CenterConstrainedRanking', 'margin', [-1], [0]),
    ('losses', 'CosineTriplet', 'margin', [-1], [0]),
    ('losses', 'CosineTriplet', 'pull', [-0.5], [0]),
    ('losses', 'CrossEntropy', 'label_smoothing', [-0.1, 1.0], [0, 0.9]),
    ('losses', 'CrossModalContrastive', 'margin', [0, -1, 2.5], [0.1, 2]),
    ('losses', 'CrossModalTriplet', 'margin', [-1], [0]),
    ('losses', 'CrossModalityGap', 'margin', [-1], [0]),
    ('losses', 'HeteroCenterTriplet', 'margin', [-1], [0]),
    ('losses', 'PairCrossEntropy', 'scale', [0.0], [0.1]),
    ('necks', 'DEE', 'dropout', [-0.1, 1.0], [0, 0.9]),
    ('necks', 'GLFM', 'num_heads', [0], [1]),
    ('necks', 'GraphAttention', 'channels', [0], [1]),
    ('necks', 'GraphAttention', 'dropout', [-0.1, 1.0], [0, 0.9]),
    ('necks', 'GraphAttention', 'num_heads', [0], [1]),
    ('necks', 'StageEmbedding', 'channels', [0], [1]),
    ('necks', 'StripeEmbedding', 'parts', [0], [1]),
    ('necks', 'WithinIdentityWhitening', 'shrinkage', [0.0, 1.1], [0.1, 1]),
    ('poolings', 'GeM', 'eps', [0], [1e-9]),
    ('poolings', 'GeM', 'p', [0.5, 65], [1, 64]),
    ('similarities', 'ContrastiveCorrelation', 'channels', [0], [1, None]),
    ('similarities', 'ContrastiveCorrelation', 'kernels', [0], [1, None]),
    ('similarities', 'GSM', 'channels', [0], [1, None]),
    ('similarities', 'HCML', 'decay', [0, 2], [0.1, 1]),
    ('similarities', 'HCML', 'dims', [0], [1, None]),
    ('similarities', 'HCML', 'iterations', [0], [1]),
    ('similarities', 'HCML', 'specific_weight', [-1], [0]),
    ('similarities', 'HCML', 'step', [0], [0.1]),
    ('similarities', 'HCML', 'tolerance', [-1], [0]),
    ('similarities', 'MLAPG', 'dims', [0], [1, None]),
    ('similarities', 'MLAPG', 'iterations', [0], [1]),
    ('similarities', 'MLAPG', 'max_pairs', [0], [1]),
    ('similarities', 'MLAPG', 'seed', [-1], [0]),
    ('similarities', 'MLAPG', 'tolerance', [-1], [0]),
    ('steps', 'SingleOptimizer', 'accumulate', [0], [1]),
    ('steps', 'SingleOptimizer', 'ema', [0, 1.0], [0.9, None]),
    ('steps', 'SingleOptimizer', 'skip_nonfinite', [-1], [0]),
    ('weighters', 'WarmUp', 'epochs', [0, -1], [0.5]),
]


@pytest.mark.parametrize(('kind', 'name', 'argument', 'refused', 'taken'), RANGES)
def test_numbers_out_of_range_are_refused(kind, name, argument, refused, taken):
    for value in (*refused, *taken):
        found = {
            error.path: error
            for error in check(COMPONENTS.get(kind, name), {argument: value}, where='it')
            if error.path.startswith(f'it.{argument}')
        }
        if value in taken:
            assert not found
        else:
            assert type(found[f'it.{argument}']) is WrongValue
            assert f' {value} ' in found[f'it.{argument}'].given
