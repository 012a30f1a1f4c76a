"""`vireid convert`: a released file becomes a checkpoint that the commands it prints can score."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vireid
from vireid.cli import main
from vireid.synth import synthesize

sys.path.insert(0, str(Path(__file__).parents[1] / 'fixtures'))
import released_layout

SMALL = ['--cfg-options', 'model.backbone.depth=18', 'images.size=[48,16]', 'images.workers=0', 'protocol.trials=1']
SMALL += ['loggers=[]']


@pytest.mark.parametrize('system', ['agw', 'ddag'])
def test_what_it_prints_scores_the_new_checkpoint_by_both_protocols(people, system, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({'net': getattr(released_layout, system)(7, depth=18), 'epoch': 60}, 'released.t')
    assert main(['convert', system, 'released.t', '-o', 'new.pt', *SMALL]) == 0
    out = capsys.readouterr().out
    assert 'released.t converted to new.pt' in out
    assert 'identities   7\n' in out
    assert "tensors from the file, taken from 'net'\nleft out     " in out
    assert 'weights      converted from released.t' in out
    commands = [line.strip() for line in out.splitlines() if line.startswith('  vireid test ')]
    assert [command.partition('--work-dir ')[2] for command in commands] == [
        'scored',
        'official --protocol sysu/official',
    ]
    for command, folder in zip(commands, ('scored', 'official'), strict=True):
        arguments = shlex.split(command.replace(' DIR ', f' {people} '))[1:]
        assert main(arguments) == 0
        assert 'converted from released.t' in (Path(folder) / 'result.json').read_text()
    assert type(vireid.load('new.pt').model).__name__ == 'CrossModalModel'
    assert main(['checkpoint', 'show', 'new.pt']) == 0
    assert 'images unknown to the released file' in capsys.readouterr().out
    assert main(['export', 'weights', 'new.pt', 'release']) == 0
    assert 'weights: converted from released.t' in Path('release/README.md').read_text()


def test_a_config_of_regdb_holds_the_checkpoint_to_its_split(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('regdb.py').write_text(
        "_base_ = 'vireid::systems/agw.py'\n"
        "dataset = dict(_delete_=True, type='RegDB', root=None, split=1)\n"
        "protocol = dict(_delete_=True, type='regdb/agw')\n"
        'model = dict(backbone=dict(depth=18, inserts=dict(non_local=dict(channels=1))))\n'
        'images = dict(size=(64, 32), workers=0)\n'
        'loggers = []\n'
    )
    torch.save(released_layout.agw(7, depth=18), 'released.t')
    assert main(['convert', 'agw', 'released.t', '-o', 'new.pt', '--config', 'regdb.py', '--split', 'split 2']) == 0
    assert 'vireid test regdb.py new.pt --data-root DIR --work-dir scored' in capsys.readouterr().out
    synthesize(tmp_path / 'regdb', layout='regdb', ids=4, seed=0, images=1, workers=1)
    assert main(['test', 'regdb.py', 'new.pt', '--data-root', 'regdb', '--work-dir', 'one']) == 2
    assert 'was trained on split 2, but the test is split 1' in capsys.readouterr().err
    assert main(['test', 'regdb.py', 'new.pt', '--data-root', 'regdb', '--split', '2', '--work-dir', 'two']) == 0


def test_what_is_wrong_is_said_in_one_error(tmp_path, capsys):
    (tmp_path / 'page.t').write_text('<html>not found</html>')
    assert main(['convert', 'agw', str(tmp_path / 'page.t'), '-o', str(tmp_path / 'new.pt')]) == 2
    assert "page.t' cannot be read: it is a web page" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['convert', 'tffn', 'released.t', '-o', 'new.pt'])
    assert 'agw' in capsys.readouterr().err


def test_its_help_loads_no_torch(tmp_path):
    code = (
        'import sys\nfrom vireid.cli import main\n'
        'try:\n    main(["convert", "--help"])\nexcept SystemExit:\n    pass\n'
        'assert "torch" not in sys.modules'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'nothing in it is executed' in ' '.join(done.stdout.split())
