"""PartHead: stripes are slices of the map, each with its own reduction and classifier (DMCF Eq. 4-7)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.stripes import stripes


def head(*inputs: FeatureSpec, identities: int = 5, **arguments: Any) -> Any:
    return create_manager().components.build(
        'heads', {'type': 'PartHead', **arguments}, where='model.heads.high', inputs=inputs, num_identities=identities
    )


# by hand: 18 rows in 3 parts; 7 rows in 3 and in 2 parts, which do not divide evenly
SLICES = [
    (18, 3, [slice(0, 6), slice(6, 12), slice(12, 18)]),
    (18, 2, [slice(0, 9), slice(9, 18)]),
    (7, 3, [slice(0, 2), slice(2, 4), slice(4, 7)]),
    (7, 2, [slice(0, 3), slice(3, 7)]),
    (3, 3, [slice(0, 1), slice(1, 2), slice(2, 3)]),
]


@pytest.mark.parametrize(('height', 'parts', 'slices'), SLICES)
def test_parts_are_slices_of_the_map(height, parts, slices):
    made = head(FeatureSpec(4, 'map', size=(height, 2)), parts=parts, channels=None)
    feature = torch.randn(3, 4, height, 2)
    found = made(feature)
    assert torch.equal(found['global'].feature, feature.amax(dim=(2, 3)))
    assert found['parts'].feature.shape == (3, parts, 4)
    for part, rows in enumerate(slices):
        assert torch.equal(found['parts'].feature[:, part], feature[:, :, rows].amax(dim=(2, 3)))


@given(height=st.integers(1, 60), parts=st.integers(1, 60))
def test_stripes_cover_every_row_once_and_differ_by_at_most_a_row(height, parts):
    if parts > height:
        with pytest.raises(Mismatch, match=f'parts is {parts}, .* {height} row'):
            stripes(height, parts)
        return
    cut = stripes(height, parts)
    assert [row for first, last in cut for row in range(first, last)] == list(range(height))
    heights = {last - first for first, last in cut}
    assert max(heights) - min(heights) <= 1


def test_overlap_reaches_into_the_neighbors_and_not_beyond_the_map():
    # parts of 6 rows, a third of 6 is 2 rows either side
    assert stripes(18, 3, overlap=1 / 3) == [(0, 8), (4, 14), (10, 18)]
    made = head(FeatureSpec(2, 'map', size=(18, 1)), parts=3, overlap=1 / 3, channels=None)
    feature = torch.randn(1, 2, 18, 1)
    assert torch.equal(made(feature)['parts'].feature[:, 1], feature[:, :, 4:14].amax(dim=(2, 3)))


def test_each_vector_has_a_reduction_and_a_classifier_of_its_own():
    made = head(FeatureSpec(6, 'map', size=(4, 2)), parts=2, channels=3)
    feature = torch.randn(2, 6, 4, 2)
    found = made(feature)
    pooled = [feature.amax(dim=(2, 3)), feature[:, :, :2].amax(dim=(2, 3)), feature[:, :, 2:].amax(dim=(2, 3))]
    branches = [made.whole, *made.parts]
    reduced = [vector @ branch.reduction.weight.T for vector, branch in zip(pooled, branches, strict=True)]
    logits = [vector @ branch.classifier.weight.T for vector, branch in zip(reduced, branches, strict=True)]
    assert torch.allclose(found['global'].feature, reduced[0])
    assert torch.allclose(found['global'].logits, logits[0])
    assert torch.allclose(found['parts'].feature, torch.stack(reduced[1:], dim=1))
    assert torch.allclose(found['parts'].logits, torch.stack(logits[1:], dim=1))
    assert torch.allclose(made.embed(feature), torch.cat(reduced, dim=1))
    assert made.embedding_dim == 9


def test_the_bnneck_is_between_vector_and_classifier_and_in_the_embedding():
    made = head(FeatureSpec(2, 'map', size=(2, 1)), parts=1, channels=None, bnneck=True).eval()
    for branch in (made.whole, *made.parts):
        branch.bnneck.running_var.fill_(4.0)
    feature = torch.tensor([[[[1.0], [3.0]], [[5.0], [2.0]]]])
    assert made(feature)['global'].feature.tolist() == [[3.0, 5.0]]
    assert made.embed(feature).tolist() == [pytest.approx([1.5, 2.5, 1.5, 2.5], rel=1e-4)]


def test_without_parts_there_is_one_vector_and_no_output_for_parts():
    made = head(FeatureSpec(6, 'map', size=(4, 2)), parts=0, channels=3)
    assert made.outputs == {'global': 0}
    assert list(made(torch.randn(2, 6, 4, 2))) == ['global']
    assert made.embedding_dim == 3


def test_parts_alone():
    made = head(FeatureSpec(6, 'map', size=(6, 2)), parts=6, whole=False, channels=3)
    assert made.outputs == {'parts': 6}
    assert made.embed(torch.randn(2, 6, 6, 2)).shape == (2, 18)


@pytest.mark.parametrize(
    ('arguments', 'spec', 'error', 'fact'),
    [
        ({'parts': 5}, FeatureSpec(4, 'map', size=(4, 2)), Mismatch, 'parts is 5, .* 4 rows'),
        ({'parts': -1}, FeatureSpec(4, 'map'), WrongValue, 'parts is -1'),
        ({'parts': 0, 'whole': False}, FeatureSpec(4, 'map'), WrongValue, 'whole is False'),
        ({'overlap': -0.1, 'parts': 2}, FeatureSpec(4, 'map'), WrongValue, 'overlap is -0.1'),
        ({'overlap': 0.5}, FeatureSpec(4, 'map'), WrongValue, 'overlap is 0.5 and parts is 0'),
        ({'overlap': 1.0, 'parts': 2}, FeatureSpec(4, 'map'), WrongValue, 'overlap is 1.0'),
        ({'overlap': 0.16, 'parts': 3}, FeatureSpec(4, 'map', size=(9, 5)), Mismatch, 'overlap is 0.16 .* 3 rows'),
        ({'channels': 0}, FeatureSpec(4, 'map'), WrongValue, 'channels is 0'),
        ({}, FeatureSpec(4), Mismatch, 'PartHead .*vector of 4'),
        ({'pool': 3}, FeatureSpec(4, 'map'), WrongValue, r'high\.pool .*3'),
    ],
)
def test_refuses_maps_that_cannot_be_cut(arguments, spec, error, fact):
    with pytest.raises(error, match=fact) as caught:
        head(spec, **arguments)
    assert caught.value.path.startswith('model.heads.high')


def test_too_many_parts_for_a_map_of_unknown_size_are_found_at_the_first_image():
    made = head(FeatureSpec(4, 'map'), parts=5)
    with pytest.raises(Mismatch, match=r'parts is 5, .* 4 rows'):
        made(torch.randn(2, 4, 4, 2))


def test_a_learnt_pooling_is_shared_by_the_map_and_its_stripes_and_learns():
    made = head(FeatureSpec(4, 'map', size=(6, 2)), parts=3, pool='GeM')
    found = made(torch.rand(2, 4, 6, 2))
    (found['global'].logits.sum() + found['parts'].feature.sum()).backward()
    assert made.pool.p.grad is not None
