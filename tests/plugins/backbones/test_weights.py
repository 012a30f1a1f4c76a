"""Selecting the weights that a network needs from the content of a file."""

from __future__ import annotations

import pytest
import torch

from vireid.errors import VireidError
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
    with pytest.raises(VireidError, match=r'2 of 2 .* fit; norm\.num_batches_tracked does not, it is 2 instead of'):
        fit({**STATE, 'norm.num_batches_tracked': torch.ones(2)}, wanted)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (
            {'first.bias': torch.ones(2)},
            '1 of 2 tensors fit; first.weight does not; the file contains only a part of the network, such as its '
            'first layers',
        ),
        (
            {**STATE, 'first.weight': torch.ones(2, 3, dtype=torch.int8)},
            '1 of 2 tensors fit; first.weight does not, it is torch.int8 instead of torch.float32',
        ),
        (
            [torch.ones(2)],
            '0 of 2 tensors fit; first.bias does not; it is a list that contains 1 tensor, not a dict of tensors by '
            'name',
        ),
        (
            {'net': {'module.first.bias': torch.ones(2)}},
            "1 of 2 tensors fit (taken from 'net' without the prefix 'module.'); first.weight does not; the file "
            'contains only a part of the network, such as its first layers',
        ),
        (
            {**STATE, 'first.weight': torch.ones(4, 3)},
            '1 of 2 tensors fit; first.weight does not, it is 4 x 3 instead of 2 x 3; '
            'they seem to be of the same network in another size',
        ),
        (
            {'stem.0.weight': torch.ones(4, 3)},
            '0 of 2 tensors fit; first.bias does not; they seem to be of another network, '
            "with names like 'stem.0.weight'",
        ),
        ({'first.weight': 3}, '0 of 2 tensors fit; first.bias does not; it contains no tensors'),
        ([1, 2], '0 of 2 tensors fit; first.bias does not; it contains no tensors'),
        (
            {'format': 2, 'config': {}, 'model': {'backbone.stem.weight': torch.ones(1)}},
            "0 of 2 tensors fit (taken from 'model'); first.bias does not; it is a vireid checkpoint of a whole "
            'model, use it with --init',
        ),
    ],
)
def test_what_does_not_fit_is_counted_and_named(content, said):
    with pytest.raises(VireidError) as caught:
        fit(content)
    assert caught.value.given == f"backbone weights 'w.pth' do not fit Net: {said}"
    assert caught.value.todo == 'give others'


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(VireidError, match=r"weights 'w\.pth': 1 of 2 values in first\.bias are NaN or infinite"):
        fit({**STATE, 'first.bias': torch.tensor([1, float('nan')])})
