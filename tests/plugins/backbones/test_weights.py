"""Reading a state dict from a file, and comparing it with what a network needs."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import save_file

from vireid.core.errors import VireidError
from vireid.plugins.backbones.weights import fitting, read_weights

STATE = {'first.weight': torch.arange(6.0).view(2, 3), 'first.bias': torch.ones(2)}


def refusal(path) -> str:
    with pytest.raises(VireidError) as caught:
        read_weights(path, 'a file', 'get another')
    assert caught.value.allowed == 'a file'
    assert caught.value.todo == 'get another'
    return caught.value.given.partition('cannot be read: ')[2]


@pytest.mark.parametrize('name', ['w.pth', 'w.pt', 'w.safetensors'])
def test_a_file_gives_back_what_was_saved(tmp_path, name):
    path = tmp_path / name
    save_file(STATE, path) if path.suffix == '.safetensors' else torch.save(STATE, path)
    found = read_weights(path, '')
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize('around', ['state_dict', 'model'])
def test_a_state_dict_within_a_checkpoint_is_found(tmp_path, around):
    torch.save({'epoch': 3, around: STATE}, tmp_path / 'w.pth')
    assert read_weights(tmp_path / 'w.pth', '').keys() == STATE.keys()


def test_a_tensor_called_model_is_no_wrapper(tmp_path):
    torch.save({'model': torch.ones(1)}, tmp_path / 'w.pth')
    assert read_weights(tmp_path / 'w.pth', '').keys() == {'model'}


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_what_is_wrong_with_a_file_is_said(tmp_path, name):
    path = tmp_path / name
    assert refusal(path) == 'No such file or directory'
    save_file(STATE, path) if path.suffix == '.safetensors' else torch.save(STATE, path)
    whole = path.read_bytes()
    for content, said in (
        (b'', 'it is empty'),
        (b'<!DOCTYPE html>', 'it is a web page'),
        (whole[:-8], 'its end is missing, as of a download that broke off'),
        (b'not weights', 'it holds no tensors'),
    ):
        path.write_bytes(content)
        assert refusal(path) == said


def test_safetensors_that_is_not_installed_is_named(tmp_path, monkeypatch):
    save_file(STATE, tmp_path / 'w.safetensors')
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(VireidError, match='safetensors is not installed') as caught:
        read_weights(tmp_path / 'w.safetensors', '')
    assert "pip install 'vireid[timm]'" in caught.value.todo


def fit(state, wanted):
    return fitting(state, wanted, 'w.pth', 'Net', 'give others')


def test_more_than_is_wanted_is_left_out():
    assert fit({**STATE, 'fc.weight': torch.ones(9)}, STATE).keys() == STATE.keys()


def test_counters_of_batches_may_be_missing_but_not_be_others():
    wanted = {**STATE, 'norm.num_batches_tracked': torch.tensor(0)}
    assert fit(STATE, wanted).keys() == STATE.keys()
    with pytest.raises(VireidError, match='2 of 3 tensors fit'):
        fit({**STATE, 'norm.num_batches_tracked': torch.ones(2)}, wanted)


@pytest.mark.parametrize(
    ('state', 'said'),
    [
        ({'first.bias': torch.ones(2)}, '1 of 2 tensors fit; first.weight does not'),
        (
            {**STATE, 'first.weight': torch.ones(4, 3)},
            '1 of 2 tensors fit; first.weight does not, it is 4 x 3 and not 2 x 3; '
            'they look like those of a network of this kind and another size',
        ),
        (
            {'stem.0.weight': torch.ones(4, 3)},
            '0 of 2 tensors fit; first.bias does not; they look like those of another network, '
            "with names like 'stem.0.weight'",
        ),
        ({'first.weight': 3}, '0 of 2 tensors fit; first.bias does not; it holds no tensors'),
        ([1, 2], '0 of 2 tensors fit; first.bias does not; it holds no tensors'),
    ],
)
def test_what_does_not_fit_is_counted_and_named(state, said):
    with pytest.raises(VireidError) as caught:
        fit(state, STATE)
    assert caught.value.given == f"backbone weights 'w.pth' do not fit Net: {said}"
