"""Checkpoints: atomic, plain, and never half trusted."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import re
import resource
import signal
from pathlib import Path

import pytest
import torch

from vireid.boundary import checkpoint
from vireid.errors import DamagedFile, Mismatch, MissingFile, UnsafeFile, UnsupportedFile, VireidError, WriteFailed
from vireid.launch.weights import newest

CONTENT = {'model': {'w': torch.arange(3.0)}, 'config': {'seed': 1, 'size': (2, 3)}, 'note': None}


def test_what_is_saved_comes_back(tmp_path):
    checkpoint.save(tmp_path / 'runs' / 'a.pt', CONTENT)
    content = checkpoint.load(tmp_path / 'runs' / 'a.pt')
    assert torch.equal(content['model']['w'], CONTENT['model']['w'])
    assert content['config'] == CONTENT['config']
    assert os.listdir(tmp_path / 'runs') == ['a.pt']  # no temporary file stays


def save_on_a_full_disk(path: Path, told: int) -> None:
    torch.set_num_threads(1)  # the others are not in a forked process
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        checkpoint.save(path, {'model': {'w': torch.randn(100_000)}, 'config': {}})
    except WriteFailed as error:
        os.write(told, str(error).encode())


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path):
    """The operating system refuses to write past a size, as a full disk does, in a real process."""
    path = tmp_path / 'a.pt'
    checkpoint.save(path, CONTENT)
    before = path.read_bytes()
    reads, writes = os.pipe()
    process = multiprocessing.get_context('fork').Process(target=save_on_a_full_disk, args=(path, writes))
    process.start()
    os.close(writes)
    with os.fdopen(reads) as lines:
        told = lines.read()
    process.join()
    assert process.exitcode == 0
    assert told.count(str(path)) == 2  # the new one, and the previous one
    assert '--resume' in told
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['a.pt']


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(WriteFailed, match=r'file/a\.pt'):
        checkpoint.save(tmp_path / 'file' / 'a.pt', CONTENT)


class Evil:
    def __reduce__(self):
        return os.system, ('echo executed > executed.txt',)


def test_loading_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = {'model': {}, 'config': Evil()}
    torch.save(evil, tmp_path / 'torch.pt')
    with pytest.raises(UnsafeFile, match=r'torch\.pt .*\bposix\.system\b'):
        checkpoint.load(tmp_path / 'torch.pt')
    (tmp_path / 'pickle.pt').write_bytes(pickle.dumps(evil))
    with pytest.raises(DamagedFile, match=r'pickle\.pt'):
        checkpoint.load(tmp_path / 'pickle.pt')
    assert not (tmp_path / 'executed.txt').exists()


@pytest.mark.parametrize('keep', [0, 1, 100, -1])
def test_a_torn_file_is_refused(tmp_path, keep):
    path = tmp_path / 'a.pt'
    checkpoint.save(path, CONTENT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedFile, match=r'a\.pt'):
        checkpoint.load(path)


def test_missing_foreign_and_newer_files(tmp_path):
    with pytest.raises(MissingFile, match=r'nothing\.pt'):
        checkpoint.load(tmp_path / 'nothing.pt')
    torch.save({'state_dict': {}}, tmp_path / 'foreign.pt')
    with pytest.raises(UnsupportedFile, match=r'(?s)foreign\.pt.*--init'):
        checkpoint.load(tmp_path / 'foreign.pt')
    torch.save({**CONTENT, 'format': 99}, tmp_path / 'newer.pt')
    with pytest.raises(UnsupportedFile, match=r'newer\.pt.*\b99\b.*\b2\b'):
        checkpoint.load(tmp_path / 'newer.pt')


def test_the_folder_of_a_run_is_not_its_checkpoint(tmp_path):
    last = tmp_path / 'run/checkpoints/last.pt'
    checkpoint.save(last, CONTENT)
    for folder, told in ((tmp_path / 'run', [str(last)]), (tmp_path, [])):
        with pytest.raises(UnsupportedFile, match=re.escape(f'{folder} is')) as refused:
            checkpoint.load(folder)
        assert re.findall(r'\S+last\.pt', str(refused.value)) == told


def test_weights_have_to_fit_completely():
    module = torch.nn.Linear(2, 3)
    good = {k: torch.ones_like(v) for k, v in module.state_dict().items()}
    checkpoint.load_weights(module, good, 'a.pt')
    assert module.weight.sum().item() == 6
    for weights, text in (
        ({'weight': good['weight']}, r'a\.pt.*\b1 of 2 .*\(bias\)'),
        ({**good, 'extra': torch.ones(1)}, r'a\.pt.*\b2 of 2 .*\(extra\)'),
        (
            {**good, 'bias': torch.ones(4)},
            r'a\.pt.*\b1 of 2 .*\(bias .*\(4,\).*\(3,\)',
        ),
    ):
        with pytest.raises(Mismatch, match=text):
            checkpoint.load_weights(module, weights, 'a.pt')


class TestDamage:
    """A file that is not what was written is noticed, and the one before it is used."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for step in (1, 2, 3, 4):
            content = {'model': {'w': torch.full((1000,), float(step))}, 'config': {}, 'progress': {'step': step}}
            checkpoint.save(tmp_path / 'last.pt', content, keep=3)
        return tmp_path

    def step(self, path: Path) -> int:
        return checkpoint.load(path)['progress']['step']

    def test_the_newest_ones_are_kept_and_older_ones_are_not(self, folder):
        assert sorted(p.name for p in folder.iterdir()) == ['last-1.pt', 'last-2.pt', 'last.pt']
        assert [self.step(folder / name) for name in ('last.pt', 'last-1.pt', 'last-2.pt')] == [4, 3, 2]

    def test_one_bit_is_enough_wherever_it_is(self, folder):
        whole = (folder / 'last.pt').read_bytes()
        rng = random.Random(0)
        for _ in range(200):
            torn = bytearray(whole)
            torn[rng.randrange(len(torn))] ^= 1 << rng.randrange(8)
            (folder / 'last.pt').write_bytes(torn)
            try:
                found = checkpoint.load(folder / 'last.pt')
            except VireidError:
                continue
            assert torch.equal(found['model']['w'], torch.full((1000,), 4.0))  # a bit that means nothing
            assert found['progress'] == {'step': 4}

    @pytest.mark.parametrize('content', [b'', b'PK', b'text', None], ids=['empty', 'begun', 'foreign', 'cut'])
    def test_the_one_before_is_used_and_that_is_said(self, folder, content):
        whole = (folder / 'last.pt').read_bytes()
        (folder / 'last.pt').write_bytes(whole[: len(whole) // 2] if content is None else content)
        told: list[str] = []
        assert newest(folder / 'last.pt', told.append) == folder / 'last-1.pt'
        assert 'last.pt is not a checkpoint of vireid or is damaged' in told[0]
        assert told[1] == f'resuming from {folder / "last-1.pt"}'

    def test_a_damaged_one_never_takes_the_place_of_a_sound_one(self, folder):
        (folder / 'last.pt').write_bytes(b'torn')
        newest(folder / 'last.pt', lambda line: None)
        assert (folder / 'last.damaged').read_bytes() == b'torn'
        content = {'model': {'w': torch.zeros(1)}, 'config': {}, 'progress': {'step': 5}}
        checkpoint.save(folder / 'last.pt', content, keep=2)
        assert [self.step(folder / name) for name in ('last.pt', 'last-1.pt')] == [5, 3]

    def test_killed_between_two_renames_there_is_one(self, folder):
        (folder / 'last.pt').unlink()
        assert newest(folder / 'last.pt', lambda line: None) == folder / 'last-1.pt'

    def test_if_all_are_damaged_that_is_an_error_and_if_there_is_none_it_is_none(self, folder):
        for path in folder.iterdir():
            path.write_bytes(b'')
        with pytest.raises(DamagedFile):
            newest(folder / 'last.pt', lambda line: None)
        assert newest(folder / 'elsewhere' / 'last.pt', lambda line: None) is None


@pytest.mark.parametrize(
    'odd',
    [
        {'config': None},
        {'config': {'model': 3}},
        {'model': [1]},
        {'model': {'w': 3}},
        {'model': {1: torch.zeros(1)}},
        {'progress': None},
        {'progress': {'step': 3, 'steps_per_epoch': 0}},
        {'progress': {'step': 'three'}},
        {'versions': None},
        {'format': 'abc'},
        {'best': {'step': 1}},
        {'processes': '2'},
        {'step': []},
    ],
    ids=str,
)
def test_a_sound_file_of_another_shape_is_refused(tmp_path, odd):
    checkpoint.save(tmp_path / 'a.pt', CONTENT)
    checkpoint.load(tmp_path / 'a.pt')
    torch.save({'format': checkpoint.FORMAT, **CONTENT, **odd}, tmp_path / 'a.pt')
    with pytest.raises(UnsupportedFile, match=r'(?s)a\.pt.*--init'):
        checkpoint.load(tmp_path / 'a.pt')
