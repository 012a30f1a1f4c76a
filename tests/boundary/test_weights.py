"""Weights as training scripts leave them: where they are in a file is found, and said."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vireid.boundary.weights import (
    Weights,
    find_weights,
    fits,
    is_checkpoint,
    read_weights,
    require_finite,
    without_names,
)
from vireid.errors import DamagedFile, MissingFile, MissingPackage, NotFinite, UnsafeFile, VireidError

# a stem, a BatchNorm and a block; in every file with a classifier of its own
STATE = {
    'conv.weight': torch.arange(12.0).view(4, 3),
    'bn.weight': torch.ones(4),
    'bn.num_batches_tracked': torch.tensor(7),
    'layer1.0.conv.weight': torch.zeros(4, 4),
}
WANTED = {name: tuple(tensor.shape) for name, tensor in STATE.items()}
FILE = {**STATE, 'fc.weight': torch.ones(9, 4)}


def renamed(prefix: str, state: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in (state or FILE).items()}


def compiled(name: str) -> str:
    return name.replace('layer1.0', 'layer1._orig_mod.0')


MOCO = {**renamed('module.encoder_q.'), **renamed('module.encoder_k.'), 'module.queue': torch.ones(2, 5)}
LIGHTNING = {'state_dict': {**renamed('backbone.'), 'loss.centers': torch.ones(2)}, 'hyper_parameters': {'lr': 0.1}}
DINO = {'student': renamed('module.backbone.'), 'teacher': renamed('backbone.'), 'epoch': 3, 'args': Namespace(lr=1)}
OPTIMIZER = {'state': {0: {'exp_avg': torch.ones(4)}}, 'param_groups': [{'lr': 0.1}]}


@pytest.mark.parametrize(
    ('content', 'place'),
    [
        (FILE, ''),
        (OrderedDict(FILE), ''),
        ({name: nn.Parameter(t, requires_grad=t.is_floating_point()) for name, t in FILE.items() if t.dim()}, ''),
        *[
            ({key: FILE, 'epoch': 3, 'optimizer': OPTIMIZER}, f"taken from '{key}'")
            for key in ('state_dict', 'model_state_dict', 'model', 'net', 'teacher', 'state_dict_ema', 'weights')
        ],
        ({'model': {'state_dict': FILE}}, "taken from 'model.state_dict'"),
        (renamed('module.'), "without the prefix 'module.'"),
        ({'state_dict': renamed('module.')}, "taken from 'state_dict' without the prefix 'module.'"),
        ({'state_dict': MOCO}, "taken from 'state_dict' without the prefix 'module.encoder_q.'"),
        (LIGHTNING, "taken from 'state_dict' without the prefix 'backbone.'"),
        (DINO, "taken from 'teacher' without the prefix 'backbone.'"),
        (renamed('module._orig_mod.'), "without the prefix 'module._orig_mod.'"),
        ({compiled(name): tensor for name, tensor in FILE.items()}, ''),
        ({'model': FILE, 'model_ema': FILE}, "taken from 'model_ema'"),
        ({**renamed('student.'), **renamed('teacher.')}, "without the prefix 'teacher.'"),
        ({'a': FILE, 'b': FILE}, "taken from 'a'"),  # else the first
    ],
    ids=str,
)
def test_the_place_where_most_tensors_fit_is_found(content, place):
    found = find_weights(content, WANTED)
    assert found.place == place
    assert (found.fits, found.expected) == (3, 3)  # the counter is no evidence
    for name in ('conv.weight', 'bn.weight', 'layer1.0.conv.weight'):
        assert torch.equal(found.tensors[name], STATE[name])
    assert 'fc.weight' in found.tensors
    assert not any(tensor.requires_grad for tensor in found.tensors.values())


def test_what_fits_by_name_alone_counts_less_than_what_fits_by_shape():
    other = {name: torch.ones(5, 5) for name in STATE}
    assert find_weights({'teacher': other, 'net': FILE}, WANTED).key == 'net'
    found = find_weights({'optimizer': {'first': torch.ones(1)}, 'net': other}, WANTED)
    assert (found.key, found.fits, found.expected, found.tensors.keys()) == ('net', 0, 3, other.keys())


def test_counters_alone_are_no_evidence():
    counters = {f'norm{i}.num_batches_tracked': torch.tensor(0) for i in range(20)}
    wanted = {**WANTED, **dict.fromkeys(counters, ())}
    found = find_weights({'a': counters, 'b': {'conv.weight': STATE['conv.weight']}}, wanted)
    assert (found.key, found.fits, found.expected) == ('b', 1, 3)


def test_a_shape_of_none_takes_any():
    found = find_weights({'x.w': torch.ones(2), 'y.w': torch.ones(3), 'y.v': torch.ones(1)}, {'w': None, 'v': (1,)})
    assert (found.prefix, found.fits) == ('y.', 2)


@pytest.mark.parametrize('content', [None, [1, 2], {}, {'a': 1}, {1: torch.ones(1)}, {'net': {'epoch': 3}}], ids=str)
def test_a_file_without_tensors_by_name_gives_none(content):
    assert find_weights(content, WANTED) == Weights({}, expected=3)


def test_where_nothing_fits_the_most_tensors_are_shown():
    held = {'a': torch.ones(1), 'b': torch.ones(1)}
    assert find_weights({'ema': {'c': torch.ones(1)}, 'net': held}, WANTED).tensors == held


def test_a_line_says_what_was_taken_and_what_was_left():
    found = find_weights({'state_dict': MOCO}, WANTED)
    assert len(found.apart) == 6  # encoder_k and the queue
    assert found.text('moco.pth', ['fc.weight']) == (
        "weights moco.pth: 3 of 3 tensors, taken from 'state_dict' without the prefix 'module.encoder_q.'; left out: "
        'fc.weight, module.encoder_k.conv.weight, module.encoder_k.bn.weight, module.encoder_k.bn.num_batches_tracked '
        "and 3 more; the tensors taken from 'state_dict' without the prefix 'module.encoder_k.' would fit as well"
    )
    assert find_weights(STATE, WANTED).text('w.pth', []) == 'weights w.pth: 3 of 3 tensors'
    both = find_weights({'model': STATE, 'model_ema': STATE}, WANTED)
    assert both.text('w.pth', []).endswith("taken from 'model_ema'; the tensors taken from 'model' would fit as well")
    spoilt = find_weights({'\x1b[2J\n': STATE}, WANTED)
    assert "taken from '\\\\x1b[2J '" in spoilt.text('w.pth', [])
    assert len(found.text('w.pth', ['y' * 9999])) < 600


def test_a_name_of_thousands_of_parts_is_no_work():
    found = find_weights({'a.' * 100_000 + 'conv.weight': torch.ones(4, 3), **STATE}, WANTED)
    assert found.fits == 3


def refusal(path: Path, kind: type[VireidError]) -> VireidError:
    with pytest.raises(kind, match=re.escape(repr(str(path)))) as caught:
        read_weights(path, 'a file', 'get another')
    return caught.value


def said(path: Path, kind: type[VireidError] = DamagedFile) -> str:
    error = refusal(path, kind)
    assert (error.allowed, error.todo) == ('a file', 'get another')
    return error.given.partition(repr(str(path)))[2]


@pytest.mark.parametrize('name', ['w.pth', 'w.pth.tar', 'w.safetensors'])
def test_a_file_gives_back_what_was_saved(tmp_path, name):
    path = tmp_path / name
    save_file(FILE, path) if path.suffix == '.safetensors' else torch.save(FILE, path)
    found = read_weights(path)
    assert found.keys() == FILE.keys()
    assert all(torch.equal(found[key], FILE[key]) for key in FILE)


@pytest.mark.parametrize('today', [True, False])
def test_what_a_script_keeps_beside_the_weights_is_passed_over(tmp_path, today):
    beside = {'args': Namespace(lr=0.1, out=tmp_path), 'acc': np.float64(0.5), 'cmc': np.linspace(0, 1, 5)}
    torch.save({'model': FILE, **beside}, tmp_path / 'w.pth', _use_new_zipfile_serialization=today)
    assert find_weights(read_weights(tmp_path / 'w.pth'), WANTED).place == "taken from 'model'"


def test_a_file_of_a_gpu_is_read_to_the_cpu(tmp_path):
    path = tmp_path / 'w.pth'
    torch.save({'w': torch.ones(1)}, path, _use_new_zipfile_serialization=False)
    texts = [b'X' + len(text).to_bytes(4, 'little') + text for text in (b'cpu', b'cuda:0')]  # as pickles have them
    assert texts[0] in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(*texts))
    assert read_weights(path)['w'].device.type == 'cpu'


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_what_is_wrong_with_a_file_is_said(tmp_path, name):
    path = tmp_path / name
    said(path, MissingFile)
    save_file(FILE, path) if path.suffix == '.safetensors' else torch.save(FILE, path)
    whole = path.read_bytes()
    texts = set()
    for content in (b'', b'<!DOCTYPE html>', whole[:-8], b'not weights'):
        path.write_bytes(content)
        texts.add(said(path))
    assert len(texts) == 4  # each is something else


@pytest.mark.parametrize(
    ('save', 'name'),
    [
        (lambda path: torch.save(nn.Linear(2, 2), path), 'torch.nn.modules.linear.Linear'),
        (lambda path: torch.save({'net': nn.Linear(2, 2)}, path), 'torch.nn.modules.linear.Linear'),
        (
            lambda path: torch.save(nn.DataParallel(nn.Linear(2, 2)), path, _use_new_zipfile_serialization=False),
            'torch.nn.parallel.data_parallel.DataParallel',
        ),
        # how torch itself knows TorchScript, which is slow to write
        (lambda path: ZipFile(path, 'w').writestr('net/constants.pkl', b''), 'torch.jit.ScriptModule'),
    ],
)
def test_a_whole_module_is_refused_by_its_name(tmp_path, save, name):
    save(tmp_path / 'w.pth')
    error = refusal(tmp_path / 'w.pth', UnsafeFile)
    assert f' {name},' in error.given
    assert 'model.state_dict()' in error.allowed
    assert "torch.save(model.state_dict(), 'weights.pth')" in error.todo


class Code:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_code_beside_the_weights_is_refused_and_not_run(tmp_path):
    torch.save({'net': FILE, 'x': Code(tmp_path / 'mark')}, tmp_path / 'w.pth')
    error = refusal(tmp_path / 'w.pth', UnsafeFile)
    assert "torch.save(what_you_loaded['state_dict'], 'weights.pth')" in error.todo
    assert not (tmp_path / 'mark').exists()


def test_safetensors_that_is_not_installed_is_named(tmp_path, monkeypatch):
    save_file(FILE, tmp_path / 'w.safetensors')
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(MissingPackage, match='safetensors') as caught:
        read_weights(tmp_path / 'w.safetensors')
    assert 'vireid[timm]' in caught.value.todo


def test_a_checkpoint_of_vireid_is_told_from_other_files():
    assert is_checkpoint({'format': 2, 'model': {}, 'config': {}, 'step': {}})
    assert not is_checkpoint({'model': {}, 'config': {}})
    assert not is_checkpoint([1])


@pytest.mark.parametrize('dtype', [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_only_numbers_of_the_same_kind_fit(dtype):
    spoilt = {name: tensor.to(dtype) for name, tensor in STATE.items()}
    found = find_weights({'a': spoilt, 'b': STATE}, STATE)
    assert (found.key, found.fits) == ('b', 3)
    assert find_weights(spoilt, STATE).fits == 0
    assert not fits(spoilt['bn.weight'], STATE['bn.weight'])
    assert fits(torch.ones(4, dtype=torch.float16), STATE['bn.weight'])
    assert fits(torch.tensor(7.5), STATE['bn.num_batches_tracked'])  # an average


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_weights_that_are_not_finite_are_refused_by_name(value, dtype):
    spoilt = {**STATE, 'bn.weight': torch.tensor([1, value, 1, value]).to(dtype)}
    with pytest.raises(NotFinite, match=r"'w\.pth': 2 of 4 .*\bbn\.weight\b"):
        require_finite(spoilt, 'w.pth', STATE)
    require_finite(spoilt, 'w.pth', {'conv.weight'})  # what a network does not use may be anything
    require_finite(STATE, 'w.pth', STATE)


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (list(FILE.values()), 'it is a list that contains 5 tensors, not a dict of tensors by name'),
        (tuple(FILE.values()), 'it is a tuple that contains 5 tensors, not a dict of tensors by name'),
        ([FILE], 'it is a list that contains 5 tensors, not a dict of tensors by name'),
        ({1: torch.ones(1)}, 'it is a dict that contains 1 tensor, not a dict of tensors by name'),
        (torch.ones(1), 'it is a tensor without a name, not a dict of tensors by name'),
        ({'net': {'w': np.ones(3)}}, 'it contains NumPy arrays or numbers, and no tensors'),
        ({'epoch': 3}, 'it contains no tensors'),
    ],
    ids=str,
)
def test_what_a_file_without_names_is_is_said(tmp_path, content, text):
    torch.save(content, tmp_path / 'w.pth')
    assert without_names(read_weights(tmp_path / 'w.pth')) == text


def test_a_safetensors_file_is_known_by_its_content(tmp_path):
    save_file(FILE, tmp_path / 'w.pth')
    torch.save(FILE, tmp_path / 'w.safetensors')
    for name in ('w.pth', 'w.safetensors'):
        assert read_weights(tmp_path / name).keys() == FILE.keys()


def test_a_header_of_many_entries_is_refused(tmp_path):
    entries = ','.join(f'"{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for k in range(60_000))
    header = f'{{{entries}}}'.encode()
    (tmp_path / 'w.safetensors').write_bytes(len(header).to_bytes(8, 'little') + header)
    assert re.search(r'\b60,001\b.*\b50,000\b', said(tmp_path / 'w.safetensors', UnsafeFile))
    (tmp_path / 'w.safetensors').write_bytes((10**9).to_bytes(8, 'little') + header)
    assert re.search(r'\b1,000,000,000\b.*\b16,777,216\b', said(tmp_path / 'w.safetensors', UnsafeFile))


@pytest.mark.filterwarnings('ignore:torch.quantize_per_tensor')
def test_a_numpy_file_or_a_quantized_one_is_named(tmp_path):
    path = tmp_path / 'w.pth'
    with path.open('wb') as file:
        np.savez(file, w=np.ones(3))
    archive = said(path)
    with path.open('wb') as file:
        np.save(file, np.ones(3))
    assert said(path) != archive
    assert 'NumPy' in said(path)
    assert 'NumPy' in archive
    with ZipFile(path, 'w') as other:
        other.writestr('a.txt', 'a')
    assert 'ZIP' in said(path)
    torch.save({'w': torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, path)
    assert 'torch.qint8' in said(path)
