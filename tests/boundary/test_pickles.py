"""Pickles that ask for more memory or time than weights need: refused before torch unpickles them."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch

from vireid.boundary import pickles
from vireid.boundary.malformed import BeyondLimit
from vireid.boundary.tensors import load_tensors

PRIME = 2**61 - 1  # the hash of its multiples is 0


def function(module: str, name: str) -> bytes:
    return b'\x80\x02c' + f'{module}\n{name}\n'.encode() + b'q\x00'


def integer(value: int) -> bytes:
    text = pickle.encode_long(value)
    return b'\x8a' + bytes([len(text)]) + text


def write(path: Path, pickled: bytes, new: bool = True) -> None:
    """Writes a file of torch with another pickle in it."""
    whole = io.BytesIO()
    torch.save({'w': torch.zeros(2)}, whole, _use_new_zipfile_serialization=new)
    if not new:
        start = whole.getvalue().index(b'}q\x00X\x01\x00\x00\x00w') - 2
        path.write_bytes(whole.getvalue()[:start] + pickled)
        return
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, 'w') as other:
        for name in source.namelist():
            other.writestr(name, pickled if name.endswith('data.pkl') else source.read(name))


MANY = b']q\x01(' + b'K\x01' * 100_000 + b'e\x85q\x02'
HOSTILE = {
    'a bytearray of three billion bytes': (
        function('builtins', 'bytearray') + integer(3 * 10**9) + b'\x85R.',
        'bytearray',
    ),
    'the same in Python 2': (function('__builtin__', 'bytearray') + integer(3 * 10**9) + b'\x85R.', 'bytearray'),
    'lists': (b'\x80\x02' + b']' * 1_000_000 + b'.', '900'),
    'keys of one hash': (
        b'\x80\x02}(' + b''.join(integer(PRIME * (k + 9)) + b'N' for k in range(2000)) + b'u.',
        '1,000',
    ),
    'pairs as keys': (b'\x80\x02}(' + b'K\x01K\x02\x86N' * 2000 + b'u.', '1,000'),
    'a set of pairs': (function('builtins', 'set') + b'](' + b'K\x01K\x02\x86' * 2000 + b'e\x85R.', '1,000'),
    'a dict of pairs': (
        function('collections', 'OrderedDict') + b'](' + b'](K\x01K\x02\x86Ne' * 2000 + b'e\x85R.',
        '1,000',
    ),
    'computed keys': (function('builtins', 'complex') + b'}(' + b'h\x00K\x01\x85RN' * 2000 + b'u.', '1,000'),
    'one list copied often': (function('torch', 'Size') + MANY + b'h\x00h\x02R' * 60 + b'.', 'copied'),
    'one text copied often': (
        function('_codecs', 'encode') + b'X' + struct.pack('<I', 10**6) + b'a' * 10**6 + b'X\6\0\0\0latin1\x86q\2'
        + b'h\x00h\x02R' * 30 + b'.',
        'copied',
    ),
    'text in another code': (function('_codecs', 'encode') + b'X\1\0\0\0aX\3\0\0\0hex\x86R.', '_codecs.encode'),
    'a tensor of one list': (function('torch', 'FloatTensor') + MANY + b'R.', 'tensor'),
    'a call in a call': (
        function('torch._tensor', '_rebuild_from_type_v2') + b'(ctorch\nSize\nctorch\nTensor\n)NtR.',
        '_rebuild_from_type_v2'
    ),
}  # fmt: skip


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
@pytest.mark.parametrize('case', HOSTILE)
def test_what_takes_memory_or_time_is_refused(tmp_path, monkeypatch, case, new):
    pickled, text = HOSTILE[case]
    if case == 'lists':
        monkeypatch.setattr(pickles, 'STEPS', 900)
    write(tmp_path / 'a.pt', pickled, new)
    with pytest.raises(BeyondLimit, match=text):
        load_tensors(tmp_path / 'a.pt', beside=True)


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
def test_what_scripts_save_is_read(tmp_path, new):
    content = {
        'w': torch.ones(2),
        'p': torch.nn.Parameter(torch.ones(2)),
        'milestones': Counter({20: 1, 40: 1}),
        'shape': torch.Size([2, 3]),
        'bytes': b'\x00\xff' * 500,
        'seed': 2**127,
        'ids': {2**40 + k: k for k in range(3000)},  # of the parameters, in optimizers of old
        'images': [(f'{k}.jpg', k) for k in range(3000)],
        'set': {(1, 2), 'a'},
        'ordered': OrderedDict(a=1.5),
    }
    torch.save(content, tmp_path / 'a.pt', _use_new_zipfile_serialization=new)
    found = load_tensors(tmp_path / 'a.pt')
    assert torch.equal(found.pop('w'), content.pop('w'))
    assert torch.equal(found.pop('p'), content.pop('p'))
    assert found == content
