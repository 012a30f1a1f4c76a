"""The folder of a run, and the checkpoint that it resumes from."""

from __future__ import annotations

import os

import pytest

from vireid.boundary import checkpoint
from vireid.core.errors import VireidError
from vireid.launch.run_folder import newest_checkpoint


def test_the_newest_run_that_can_be_resumed_is(tmp_path, capsys):
    for age, name in enumerate(('damaged', 'sound', 'older')):
        (tmp_path / name / 'checkpoints').mkdir(parents=True)
        last = tmp_path / name / 'checkpoints' / 'last.pt'
        checkpoint.save(last, {'model': {}, 'config': {}})
        if name == 'damaged':
            last.write_bytes(last.read_bytes()[:100])
        os.utime(last, (1_000_000 - age, 1_000_000 - age))
    folders = [tmp_path / name for name in ('damaged', 'sound', 'older')]
    assert newest_checkpoint(folders) == folders[1] / 'checkpoints' / 'last.pt'
    assert 'is damaged' in capsys.readouterr().err
    with pytest.raises(VireidError, match='is damaged'):
        newest_checkpoint(folders[:1])
