"""Selecting the weights that a network needs from the content of a file."""

from __future__ import annotations

import pytest
import torch

from vireid.errors import Mismatch, NotFinite
from vireid.plugins.backbones.weights import fitting

STATE = {'first.weight': torch.arange(6.0).view(2, 3), 'first.bias': torch.ones(2)}


def fit(content, wanted=STATE, given='w.pth'):
    return fitting(content, wanted, given, 'Net', 'give others')


def test_more_than_is_wanted_is_left_out_and_said(capsys):
    content = {'state_dict': {f'module.{name}': t for name, t in {**STATE, 'fc.weight': torch.ones(9)}.items()}}
    found = fit(content)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)
    assert capsys.readouterr().out == (
        "weights w.pth: 2 of 2 tensors, taken from 'state_dict' without the prefix 'module.'; left out: fc.weight\n"
    )


def test_nothing_is_said_of_published_weights_and_of_networks_that_are_built_for_nothing(capsys):
    fit(STATE, given='imagenet')
    fit(STATE, given='pretrained')
    with torch.device('meta'):
        fit(STATE)
    assert capsys.readouterr().out == ''


def test_counters_of_batches_may_be_missing_but_not_be_others():
    wanted = {**STATE, 'norm.num_batches_tracked': torch.tensor(0)}
    assert fit(STATE, wanted).keys() == STATE.keys()
    with pytest.raises(Mismatch, match=r' 2 of 2 .* norm\.num_batches_tracked .* 2 '):
        fit({**STATE, 'norm.num_batches_tracked': torch.ones(2)}, wanted)


@pytest.mark.parametrize(
    ('content', 'facts'),
    [
        ({'first.bias': torch.ones(2)}, ('1 of 2', 'first.weight')),
        (
            {**STATE, 'first.weight': torch.ones(2, 3, dtype=torch.int8)},
            ('1 of 2', 'first.weight', 'torch.int8', 'torch.float32'),
        ),
        ([torch.ones(2)], ('0 of 2', 'first.bias', ' list ', ' 1 ')),
        ({'net': {'module.first.bias': torch.ones(2)}}, ('1 of 2', "'net'", "'module.'", 'first.weight')),
        ({**STATE, 'first.weight': torch.ones(4, 3)}, ('1 of 2', 'first.weight', '4 x 3', '2 x 3')),
        ({'stem.0.weight': torch.ones(4, 3)}, ('0 of 2', 'first.bias', "'stem.0.weight'")),
        ({'first.weight': 3}, ('0 of 2', 'first.bias')),
        ([1, 2], ('0 of 2', 'first.bias')),
        (
            {'format': 2, 'config': {}, 'model': {'backbone.stem.weight': torch.ones(1)}},
            ('0 of 2', "'model'", 'first.bias', '--init'),
        ),
    ],
)
def test_what_does_not_fit_is_counted_and_named(content, facts):
    with pytest.raises(Mismatch, match=r"'w\.pth' .* Net") as caught:
        fit(content)
    for fact in facts:
        assert fact in caught.value.given
    assert caught.value.todo == 'give others'  # as given


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(NotFinite, match=r"'w\.pth': 1 of 2 .* first\.bias .* NaN "):
        fit({**STATE, 'first.bias': torch.tensor([1, float('nan')])})
